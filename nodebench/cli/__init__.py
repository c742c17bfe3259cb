"""The command line. Torch and pandas are imported by the commands that need them, so ``--help`` is instant."""

import signal
import sys
from itertools import pairwise

import typer

from nodebench.cli.app import app
from nodebench.cli.exit_codes import BAD_INPUT, INTERRUPTED, LATEST, OK, RUN_ABORTED, TRIAL_FAILED
from nodebench.cli.interrupt import leave_at_once
from nodebench.cli.notices import LONGEST, warnings_shown
from nodebench.cli.streams import FaultTolerantStream, tolerant_streams
from nodebench.errors import BadInput, RunAborted, nearest
from nodebench.escapes import for_terminal
from nodebench.trial.descriptors import require_descriptors, reserve_standard_descriptors

# Recent versions of Typer bundle click; their usage error is public only as this base class.
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]


def main() -> None:
    """Run the command line. Bad input prints one line and exits with code 2."""
    reserve_standard_descriptors()
    with tolerant_streams() as output:
        code = _run()
        output.flush()
        if output.error is not None:
            code = _explain(output, code)
    sys.exit(code)


def _run() -> int:
    """Run what was typed; return the exit code."""
    # Before trials run there is nothing to clean up, and KeyboardInterrupt during an import is not reliable.
    before = signal.signal(signal.SIGINT, leave_at_once)
    try:
        require_descriptors()
        with warnings_shown():
            code = app(args=_with_latest(sys.argv[1:]), prog_name="nodebench", standalone_mode=False) or OK
    except BadInput as error:
        code = _refuse(str(error))
    except RunAborted as error:
        _refuse(str(error))
        code = RUN_ABORTED
    except _UsageError as error:
        code = _refuse(_usage(error))
    except (typer.Abort, KeyboardInterrupt) as error:
        if isinstance(error.__cause__, EOFError):  # typer treats EOFError as Ctrl-D at a prompt, but there is no prompt
            raise error.__cause__ from None
        code = INTERRUPTED
    except OSError as error:  # invalid path, missing permission or full disk
        code = _refuse(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    finally:
        signal.signal(signal.SIGINT, before)
    return int(code)


def _explain(output: FaultTolerantStream, code: int) -> int:
    """Report lost output, unless the reader closed the pipe; return the exit code."""
    if isinstance(output.error, BrokenPipeError):
        return code or TRIAL_FAILED
    assert output.error is not None
    _refuse(f"cannot write to standard output: {output.error.strerror or output.error}")
    return code or RUN_ABORTED


def _with_latest(arguments: list[str]) -> list[str]:
    """Give ``--resume`` without a name the value ``latest``: Typer has no options with an optional value."""
    filled: list[str] = []
    for argument, following in pairwise([*arguments, "-"]):
        filled += [argument, LATEST] if argument == "--resume" and following.startswith("-") else [argument]
    return filled


def _refuse(message: str) -> int:
    if message:
        line = " ".join(message.split())
        print(for_terminal(f"nodebench: {line if len(line) <= LONGEST else line[:LONGEST] + '…'}"), file=sys.stderr)
    return BAD_INPUT


def _usage(error: Exception) -> str:
    """Return the parser's error message in one line, with the nearest option or command."""
    context, message = getattr(error, "ctx", None), error.format_message()  # type: ignore[attr-defined]
    if context is None or not message.strip():  # the help has been printed
        return str(message).strip()
    command = context.command_path
    if hasattr(error, "option_name"):
        options = [name for parameter in context.command.params for name in parameter.opts]
        near = nearest(error.option_name, options)
        if error.option_name not in options:
            message = f"no option named '{error.option_name}'" + (f"; did you mean {near}?" if near else ".")
    elif commands := getattr(context.command, "commands", None):
        words = [word for word in sys.argv[1:] if not word.startswith("-")]
        typed = next(iter(words[len(command.split()) - 1 :]), "")
        near = nearest(typed, commands)
        if typed and typed not in commands:
            message = f"no command named '{typed}'" + (f"; did you mean {near}?" if near else ".")
            message += f" Allowed: {', '.join(commands)}."
    return f"{message.rstrip('.')}. See '{command} --help'"
