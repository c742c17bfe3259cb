"""Set up the process of the fork server, which imports this module first."""

import os
import sys
import warnings
from types import TracebackType

from nodebench.trial.descriptors import reserve_standard_descriptors
from nodebench.trial.fork_server import SAFE_PATH
from nodebench.trial.process_tree import adopt_orphans


def _print_error(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print an error that ends the server, or a trial before its first line, without a traceback."""
    print(f"nodebench: fork server: {kind.__name__}: {error}", file=sys.stderr)


if os.environ.get("PYTHONSAFEPATH") == SAFE_PATH:
    del os.environ["PYTHONSAFEPATH"]  # it would change the import path of programs that a trial starts
reserve_standard_descriptors()
adopt_orphans()
warnings.filterwarnings("ignore", message="forkserver: waitpid")  # the end of an orphan is no error
sys.excepthook = _print_error
