"""The notebooks, executed from an empty folder."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[2] / "docs" / "notebooks").glob("*.ipynb"))


def shown(cell) -> set[str]:
    """The kinds of what a cell shows: tables and figures, without progress bars."""
    kinds = {kind for output in cell.get("outputs", ()) for kind in output.get("data", {})}
    return kinds & {"text/html", "image/png"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_shows_what_is_stored_in_it(path, tmp_path):
    notebook = nbformat.read(path, as_version=4)
    before = [shown(cell) for cell in notebook.cells]
    assert {"text/html", "image/png"} == set().union(*before)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    for cell, stored in zip(notebook.cells, before, strict=True):
        assert stored <= shown(cell), cell.source
    errors = notebook.cells[3].outputs[-1].data["text/plain"]
    assert errors.count("direct") == errors.count("adjoint") == 2
