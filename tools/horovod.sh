#!/usr/bin/env bash
# Build horovod from its source package against the torch of an environment, and install it there.
#
#   tools/horovod.sh [ENVIRONMENT]      default: .venv
#
# The wheel is kept by torch and Python, because it fits no other: a second build costs seconds. The sources ask for
# C++14, which torch's headers refuse, and no flag of theirs wins over it: a wrapper puts C++17 last.
set -euo pipefail
BIN=$(cd "${1:-.venv}/bin" && pwd)
KEY=$("$BIN/python" -c 'import sys, torch; print(f"torch-{torch.__version__}-{sys.implementation.cache_tag}")')
KEPT="${RAYMLE_CACHE:-$HOME/.cache/raymle}/wheels/$KEY"
VERSION=0.28.1

if ! ls "$KEPT"/horovod-*.whl >/dev/null 2>&1; then
    command -v g++ >/dev/null || { echo "horovod is built from its source, and there is no g++: install it" >&2; exit 1; }
    echo "building horovod $VERSION for $KEY: three to five minutes, once"
    SCRATCH=$(mktemp -d)
    trap 'rm -rf "$SCRATCH"' EXIT
    printf '#!/bin/sh\nexec g++ "$@" -std=c++17\n' >"$SCRATCH/cxx17"
    chmod +x "$SCRATCH/cxx17"
    "$BIN/pip" install -qq -c constraints.txt cmake wheel setuptools
    if ! PATH="$BIN:$PATH" CXX="$SCRATCH/cxx17" MAKEFLAGS="-j$(nproc)" CMAKE_POLICY_VERSION_MINIMUM=3.5 \
        HOROVOD_WITH_PYTORCH=1 HOROVOD_WITHOUT_TENSORFLOW=1 HOROVOD_WITHOUT_MXNET=1 \
        HOROVOD_WITH_GLOO=1 HOROVOD_WITHOUT_MPI=1 \
        "$BIN/pip" wheel -qq --no-cache-dir --no-build-isolation --no-deps -w "$SCRATCH" "horovod==$VERSION" \
        >"$SCRATCH/log" 2>&1; then
        tail -n 40 "$SCRATCH/log" >&2
        exit 1
    fi
    mkdir -p "$KEPT"
    mv "$SCRATCH"/horovod-*.whl "$KEPT"
fi
"$BIN/pip" install -qq -c constraints.txt "$KEPT"/horovod-*.whl
"$BIN/python" -c 'import horovod.torch as h; assert h.gloo_built(); print("horovod", __import__("horovod").__version__, "with gloo")'
