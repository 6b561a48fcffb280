"""Where data files are: paths, globs and folders, here or in an object store, and what went wrong there."""

import codecs
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from pathlib import Path

import pyarrow as pa
from pyarrow import fs as pafs

from raymle.data import formats
from raymle.errors import DataError, SetupError, UsageError
from raymle.loader import environment

KNOWN = "parquet (.parquet .pq), csv (.csv .tsv) and newline JSON (.json .jsonl .ndjson)"
IMAGES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif")
JUNK = {"thumbs.db", "desktop.ini"}
"""What systems leave beside images."""
SCHEMES = ("file", "s3", "gs", "abfs")
SAYINGS = (
    (r"Empty (JSON|CSV)|size is 0 bytes", "is empty", "was it written to the end?"),
    (r"straddl", "has a row of several megabytes", "is a quote left open?"),
    (r"unexpected field", "has a field that its first rows have not", "write null where it is absent"),
    (r"UTF8", "holds text that is not UTF-8", "write its text as UTF-8"),
    (
        r"Column\(/(.*?)\) changed from (\w+) to (\w+)",
        r"has a \3 in column '\1', which holds a \2 before",
        "write one type a column",
    ),
)
"""What Arrow says, what it means and what to do."""


def absolute(source: str, folder: str) -> str:
    """Return an absolute path or a URI of a scheme that raymle reads."""
    scheme, _, rest = source.rpartition("://")
    if not scheme:
        return os.path.abspath(Path(folder) / Path(source).expanduser())  # noqa: PTH100  keeps links as named
    if scheme not in SCHEMES:
        raise UsageError(
            f"data.source {source!r} has the scheme {scheme}, which raymle does not read",
            hint=f"it reads {', '.join(SCHEMES)}; download the file first",
        )
    return rest if scheme == "file" else source


def filesystem(uri: str, *, attempts: int = 10) -> pafs.FileSystem:
    """Open the file system of a path or URI; credentials and the endpoint come from the environment."""
    if "://" not in uri:
        return pafs.LocalFileSystem()
    if uri.startswith("s3://"):
        return pafs.S3FileSystem(
            endpoint_override=environment("AWS_ENDPOINT_URL_S3") or environment("AWS_ENDPOINT_URL"),
            connect_timeout=5,
            request_timeout=60,
            retry_strategy=pafs.AwsStandardS3RetryStrategy(max_attempts=attempts),
        )
    try:
        return pafs.FileSystem.from_uri(uri)[0]
    except (pa.ArrowException, OSError) as error:
        raise SetupError(f"{uri} cannot be opened: {_one_line(error)}") from error


def path_of(uri: str) -> str:
    """Return what a file system calls the file: the path, or bucket/key."""
    return uri.rpartition("://")[2]


def name_of(uri: str) -> str:
    """Return the last part of a path or URI."""
    return uri.rstrip("/").rpartition("/")[2]


def find(files: pafs.FileSystem, uri: str) -> list[str]:
    """Return the data files that a path, glob or folder means, sorted.

    Raises:
        DataError: there is none.
    """
    path = path_of(uri).rstrip("/")
    there = files.get_file_info(path)
    if there.type == pafs.FileType.File:
        found = [path]
    elif there.type == pafs.FileType.Directory:
        found = _in_folder(files, path)
    elif not re.search(r"[*?[]", path):
        raise FileNotFoundError(path)
    elif not (found := _matching(files, path)):
        raise DataError(f"no file matches {uri}", hint="relative paths start at the spec's folder")
    return [uri[: len(uri) - len(path_of(uri))] + each for each in found]


def _walk(files: pafs.FileSystem, base: str, *, deep: bool) -> list[str]:
    """Return the visible files under a folder; names that start with . or _ are other programs' notes."""
    selector = pafs.FileSelector(base, recursive=deep, allow_not_found=True)
    found = [info.path for info in files.get_file_info(selector) if info.type == pafs.FileType.File]
    return sorted(path for path in found if not re.search(r"/[._]", path[len(base.rstrip("/")) :]))


def _in_folder(files: pafs.FileSystem, path: str) -> list[str]:
    there = _walk(files, path, deep=True)
    found = [each for each in there if formats.of(each)]
    is_table = any("/" not in each[len(path) + 1 :] for each in found)
    if not is_table and any(each.lower().endswith(IMAGES) for each in there):
        return [each for each in there if name_of(each).lower() not in JUNK]
    if not found and (texts := [each for each in there if each.lower().endswith(".txt")]):
        return texts
    if not found:
        known = f"{KNOWN}, and folders of images or .txt"
        raise DataError(f"the folder {path} holds no data files", hint=f"raymle reads {known}")
    partition = next((hit for each in found if (hit := re.search(r"/([^/]+=[^/]*)/", each[len(path) :]))), None)
    if partition:
        raise UsageError(
            f"the folder {path} is split by column values ({partition[1]}), which come later as columns",
            hint="write the column into the files",
        )
    return found


def _matching(files: pafs.FileSystem, pattern: str) -> list[str]:
    base = re.split(r"[*?[]", pattern, maxsplit=1)[0].rpartition("/")[0] or "/"
    rest = pattern[len(base) :].strip("/")
    forms = {rest, rest.replace("**/", "")}  # ** is also no folder at all
    deep = "**" in rest
    return [
        path
        for path in _walk(files, base, deep="/" in rest or deep)
        if (deep or path.count("/") == pattern.count("/"))
        and any(fnmatchcase(path[len(base) :].strip("/"), form) for form in forms)
    ]


@contextmanager
def explained(uri: str, files: pafs.FileSystem) -> Iterator[None]:
    """Turn what a reader says about a file into one sentence."""
    try:
        yield
    except UnicodeDecodeError:
        raise _not_utf8(name_of(uri), _line_not_utf8(uri, files)) from None
    except FileNotFoundError:
        raise DataError(
            f"{uri} does not exist", hint="relative paths start at the spec's folder, or here where there is no spec"
        ) from None
    except PermissionError:
        raise SetupError(f"{uri} may not be read by this user", hint="change its permissions") from None
    except pa.ArrowException as error:
        raise _unreadable(uri, files, _one_line(error)) from error
    except OSError as error:
        raise _unreachable(uri, _one_line(error)) from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def _unreadable(uri: str, files: pafs.FileSystem, cause: str) -> DataError:
    name, kind = name_of(uri), formats.of(uri) or "csv"
    if kind != "parquet" and (line := _line_not_utf8(uri, files)):
        return _not_utf8(name, line)
    for pattern, sentence, hint in SAYINGS:
        if found := re.search(pattern, cause):
            return DataError(f"{name} {found.expand(sentence)}", hint=hint)
    ragged = formats.ragged_row(formats.File(files, path_of(uri), kind)) if "Expected" in cause else ""
    if ragged:
        return DataError(f"{name}: {ragged}", hint="quote values that hold a delimiter")
    return DataError(f"{name} is not a whole {kind} file: {cause}", hint="was it cut off, or is its name wrong?")


def _line_not_utf8(uri: str, files: pafs.FileSystem) -> int:
    """Return the number of the first line that is not UTF-8, or 0."""
    line, is_over = 1, False
    decoder = codecs.getincrementaldecoder("utf-8")()
    with files.open_input_stream(path_of(uri)) as stream, suppress(OSError):  # a damaged packed file just ends
        while not is_over:
            block = stream.read(1 << 20)
            is_over = not block
            try:
                decoder.decode(block, final=is_over)
            except UnicodeDecodeError as error:
                return line + error.object[: error.start].count(b"\n")
            line += block.count(b"\n")
    return 0


def _not_utf8(name: str, line: int) -> DataError:
    return DataError(
        f"{name} is not UTF-8 text at line {line}",
        hint="save it as UTF-8, e.g. `iconv -f latin1 -t utf-8 in.csv > out.csv`",
    )


def _unreachable(uri: str, cause: str) -> DataError | SetupError:
    if "://" not in uri:
        return DataError(f"{name_of(uri)} cannot be read: {cause}", hint="was it cut off?")
    if "NO_SUCH_BUCKET" in cause:
        return DataError(f"{uri} does not exist: there is no such bucket")
    hint = "check the credentials, AWS_REGION and AWS_ENDPOINT_URL in the environment"
    return SetupError(f"{uri} cannot be read: {cause}", hint=hint)
