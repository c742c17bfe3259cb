"""Entry point of the ``nodebench`` command and of ``python -m nodebench``."""

import os
import signal

INTERRUPTED = 130  # exit code; duplicated from ``cli.exit_codes``, because Ctrl-C may arrive before its import


def main() -> None:
    """Run the command line in this process.

    SIGINT is handled before the command line is imported, because the import takes tenths of a second. It is ignored
    after the command has ended. Therefore Ctrl-C gives no traceback during the imports or the interpreter's shutdown.
    """
    signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    from nodebench.cli import main as run_command_line

    try:
        run_command_line()
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


if __name__ == "__main__":
    main()
