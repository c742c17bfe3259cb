"""The shape of the house, as far as import-linter does not see to it (``lint-imports``, by tox)."""

import re
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "nodebench"


def test_no_file_is_long():
    long = {file.name: n for file in PACKAGE.rglob("*.py") if (n := len(file.read_text().splitlines())) > 400}
    assert long == {}


def test_commands_print_in_one_place():
    """What is printed elsewhere in ``cli`` would not be made safe for a terminal."""
    other = re.compile(r"(?<![\w.])(?:print|Console|typer\.echo)\(|sys\.std(?:out|err)\.write")
    allowed = {"terminal.py", "__init__.py", "app.py"}  # the place itself, the line of an error, the version
    files = [file for file in (PACKAGE / "cli").glob("*.py") if file.name not in allowed]
    assert [file.name for file in files if other.search(file.read_text())] == []
