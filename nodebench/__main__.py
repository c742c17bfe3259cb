"""Entry point of the ``nodebench`` command and of ``python -m nodebench``."""

import os
import signal

INTERRUPTED = 130  # the exit code; repeated in ``cli.conventions``, whose import Ctrl-C may precede


def main() -> None:
    """Run the command line in this process.

    SIGINT is handled before the command line is imported, which takes tenths of a second, and ignored once the
    command has ended: neither the imports nor the interpreter's shutdown end in a traceback.
    """
    signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    from nodebench.cli import main as run_command_line

    try:
        run_command_line()
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


if __name__ == "__main__":
    main()
