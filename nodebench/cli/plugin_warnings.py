"""Print warnings about plug-ins as one line each."""

import sys
import warnings
from contextlib import suppress
from typing import TextIO

from nodebench.plugins import PluginWarning


def show_plugin_warnings() -> None:
    """From now on print each ``PluginWarning`` to standard error without the place in our code that issued it."""
    usual = warnings.showwarning

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if not issubclass(category, PluginWarning):
            usual(message, category, filename, lineno, file, line)
            return
        with suppress(OSError, ValueError):  # standard error is full or closed
            print(f"nodebench: {message}", file=sys.stderr)

    warnings.showwarning = show
