"""The notebooks, executed from an empty folder."""

import ast
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[2] / "docs" / "notebooks").glob("*.ipynb"))


def shown(cell) -> set[str]:
    """The kinds of what a cell shows: tables and figures, without progress bars."""
    kinds = {kind for output in cell.get("outputs", ()) for kind in output.get("data", {})}
    return kinds & {"text/html", "image/png"}


def in_a_kernel(notebook, folder: Path):
    """Execute the cells in a kernel; for each the kinds of what it shows, and its last text."""
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(folder)}}).execute()
    for cell in notebook.cells:
        outputs = cell.get("outputs")
        yield shown(cell), outputs[-1].get("data", {}).get("text/plain", "") if outputs else ""


def in_this_process(notebook, folder: Path):
    """The same without a kernel, whose start and imports take longer than the cells."""
    plt.close("all")
    plt.switch_backend("agg")
    names = {"__name__": "__main__"}
    for cell in notebook.cells:
        value = None
        if cell.cell_type == "code":
            program = ast.parse(cell.source)
            last = program.body.pop() if isinstance(program.body[-1], ast.Expr) else None
            exec(compile(program, "a cell", "exec"), names)
            value = eval(compile(ast.Expression(last.value), "a cell", "eval"), names) if last else None
        kinds = {"text/html"} if getattr(value, "_repr_html_", lambda: None)() else set()
        yield kinds | ({"image/png"} if plt.get_fignums() else set()), repr(value)
        plt.close("all")


@pytest.mark.parametrize("execute", [in_this_process, pytest.param(in_a_kernel, marks=pytest.mark.slow)])
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_shows_what_is_stored_in_it(path, execute, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    notebook = nbformat.read(path, as_version=4)
    before = [shown(cell) for cell in notebook.cells]
    assert {"text/html", "image/png"} == set().union(*before)
    found = list(execute(notebook, tmp_path))
    for cell, stored, (kinds, _) in zip(notebook.cells, before, found, strict=True):
        assert stored <= kinds, cell.source
    errors = found[3][1]
    assert errors.count("direct") == errors.count("adjoint") == 2
