"""Objects of files that belong to no package."""

import os
import sys

from nodebench.objects import load_object, module_name


def test_a_file_is_read_as_it_is_now(tmp_path, monkeypatch):
    """An edit within one second that keeps the size, where Python would take the bytecode of before."""
    file = tmp_path / "mine.py"
    for value in (1, 2):
        file.write_text(f"VALUE = {value}\n")
        os.utime(file, (1_000_000_000, 1_000_000_000))
        monkeypatch.delitem(sys.modules, module_name(str(file)), raising=False)
        assert load_object(f"{file}:VALUE") == value
    assert list(tmp_path.iterdir()) == [file]
