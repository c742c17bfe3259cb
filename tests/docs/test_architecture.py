"""The shape of the house, as far as import-linter does not see to it (``lint-imports``, by tox)."""

from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "nodebench"


def test_no_file_is_long():
    long = {file.name: n for file in PACKAGE.rglob("*.py") if (n := len(file.read_text().splitlines())) > 400}
    assert long == {}
