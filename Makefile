# Two commands: `make run` shows the whole story on real data, `make test` proves it.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: run test horovod check fix unit slow bench clean

run: .venv/installed
	@$(BIN)/python jobs/flights/ladder.py

test: .venv/installed horovod check unit slow

.venv/installed: constraints.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -qq "$$(grep '^torch==' constraints.txt)"
	$(BIN)/pip install -qq -c constraints.txt -e '.[dev,postgres]'
	@touch $@

# The backend horovod, built from its source package: minutes once, seconds after that.
horovod: .venv/installed
	tools/horovod.sh .venv

check:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fix:
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# One thread each: two processes share the cores, and threads that wait for one another spin.
unit:
	OMP_NUM_THREADS=1 $(BIN)/pytest tests/unit -n 2

slow:
	OMP_NUM_THREADS=1 $(BIN)/pytest tests/contract tests/e2e tests/docs -n 2 --dist loadfile
	OMP_NUM_THREADS=1 $(BIN)/pytest tests/faults tests/ray -n 2 --dist loadfile

bench:
	$(BIN)/python benchmarks/laptop.py
	$(BIN)/python benchmarks/prepare.py
	$(BIN)/python benchmarks/ddp.py
	$(BIN)/python benchmarks/backends.py
	$(BIN)/python benchmarks/recovery.py
	$(BIN)/python benchmarks/reproduce.py
	$(BIN)/python benchmarks/streaming.py
	$(BIN)/python benchmarks/tradeoff.py
	$(BIN)/python benchmarks/batch.py
	$(BIN)/python benchmarks/serve.py
	$(BIN)/python benchmarks/upgrade.py
	$(BIN)/python benchmarks/images.py
	$(BIN)/python benchmarks/text.py
	$(BIN)/python benchmarks/transfer.py
	$(BIN)/python benchmarks/quality.py

clean:
	rm -rf .venv build dist
