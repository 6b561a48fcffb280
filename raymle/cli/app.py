"""All verbs in one command, and what becomes of their answers and errors."""

import errno
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer
from typer.main import get_command

from raymle.cli import compare, data, export, init, judge, later, make, review, serving, use
from raymle.cli.answer import Answer
from raymle.errors import RaymleError, ResourceError, SetupError, WorkError

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    help="""From raw data to a served, watched, reproducible model.

    \b
      raymle init churn.csv --target churned     write a spec for your data
      raymle train                               prepare, train, evaluate, record
      raymle score last                          open the sealed test rows, once
      raymle promote last                        make it champion, or say why not

    SPEC is a YAML file (./raymle.yaml); key=value after it overrides it.
    RUN is an id, the start of one, or `last`. MODEL is a RUN, models:/NAME@champion or a bundle folder.
    """,
)
init.register(app)
make.register(app)
compare.register(app)
data.register(app)
judge.register(app)
use.register(app)
serving.register(app)
export.register(app)
review.register(app)
later.register(app)


@app.callback()
def options(
    _version: Annotated[bool, typer.Option("--version", is_eager=True, help="Print the version.")] = False,
    _debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks; works after a verb too.")] = False,
) -> None:
    """Take what belongs to no verb; ``run`` has looked at both already."""


def main() -> NoReturn:
    """Run the command line and leave with its exit code."""
    for number in SIGNALS:  # a shell starts background jobs with SIGINT ignored
        signal.signal(number, _terminated)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # the caller has closed it
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115  for as long as the process lives
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except OSError:
        _forget_stdout()
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; nothing is raised."""
    debug = "--debug" in arguments
    try:
        answer = _invoke([word for word in arguments if word != "--debug"])
        return _show(answer) if isinstance(answer, Answer) else int(answer or 0)
    except KeyboardInterrupt as stopped:
        print("stopped", file=sys.stderr)
        return int(stopped.args[0]) if stopped.args else 130
    except RaymleError as error:
        return _fail(error, str(error), error.hint, error.exit_code, debug=debug)
    except SystemExit as error:
        message = f"code that was called left the process by sys.exit({error.code!r})"
        return _fail(error, message, "raise an exception there instead", WorkError.exit_code, debug=debug)
    except OSError as error:
        return _refused(error, debug=debug)
    except Exception as error:  # noqa: BLE001  the last boundary: a bug is told in one sentence too
        return _bug(error, debug=debug)


def _show(answer: Answer) -> int:
    try:
        return answer.show()
    except BrokenPipeError:  # the work is done; only its reader has gone
        _forget_stdout()
        return answer.code


def _refused(error: OSError, *, debug: bool) -> int:
    """Tell what the system refuses, whoever asks; anything else is a bug."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        message = f"{error.filename or 'the disk of the storage'} is full: {error.strerror}"
        return _fail(error, message, "make room, then type the same again", ResourceError.exit_code, debug=debug)
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        message = f"{error.filename or 'the output'} cannot be written: {error.strerror}"
        return _fail(error, message, "change its permissions, or name another place", SetupError.exit_code, debug=debug)
    return _bug(error, debug=debug)


def _bug(error: BaseException, *, debug: bool) -> int:
    message = f"this is a bug in raymle: {type(error).__name__}: {error}"
    return _fail(error, message, "--debug shows the traceback; please report it", 1, debug=debug)


def _invoke(arguments: list[str]) -> Any:
    from typer._click.exceptions import ClickException  # typer has no public name for it

    if arguments == ["--version"]:
        from raymle import __version__

        return Answer({"version": __version__}, f"raymle {__version__}")
    command = get_command(app)
    try:
        with command.make_context("raymle", arguments or ["--help"]) as context:
            return command.invoke(context)
    except typer.Exit as done:
        return done.exit_code
    except typer.Abort:
        raise KeyboardInterrupt from None
    except ClickException as error:
        help_path = getattr(getattr(error, "ctx", None), "command_path", "raymle")  # the verb, if one was found
        print(f"error: {error.format_message()}\n  hint: {help_path} --help", file=sys.stderr)
        return 2


def _fail(error: BaseException, message: str, hint: str, code: int, *, debug: bool) -> int:
    if debug:
        traceback.print_exception(error)
    from rich.console import Console
    from rich.text import Text

    told = Text.assemble(("error: ", "bold red"), message, ("\n  hint: " if hint else "", "bold"), hint)
    Console(stderr=True, soft_wrap=True, highlight=False).print(told)
    return code


def _terminated(number: int, _frame: FrameType | None) -> None:
    """Unwind, so that processes and drafts are cleaned up; the next signal ends the process at once."""
    for each in SIGNALS:
        signal.signal(each, _leave)
    raise KeyboardInterrupt(128 + number)


def _leave(number: int, _frame: FrameType | None) -> NoReturn:
    os._exit(128 + number)


def _forget_stdout() -> None:
    """Give Python somewhere to flush to: the reader, such as `head`, has gone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
