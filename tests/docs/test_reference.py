"""The reference of the commands lists every command with every option."""

import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "commands.md"


def options(text: str) -> dict[str, set[str]]:
    """The options and arguments of each command of a page."""
    parts = re.split(r"^#+ `(nodebench[^`]*)`$", text, flags=re.MULTILINE)
    return {
        name: set(re.findall(r"^\* `([^`]+)`:", body.partition("**Commands**")[0], re.MULTILINE))
        for name, body in zip(parts[1::2], parts[2::2], strict=True)
    }


def test_the_page_has_every_option_of_every_command(tmp_path):
    now = tmp_path / "commands.md"
    command = ["-m", "typer", "nodebench.cli.app", "utils", "docs", "--name", "nodebench", "--output"]
    subprocess.run([sys.executable, *command, now], check=True, capture_output=True)
    told = f"write it again: python {' '.join(command)} docs/reference/commands.md"
    assert options(PAGE.read_text()) == options(now.read_text()), told
    assert "--rtol X,…" in options(PAGE.read_text())["nodebench run"]
