"""Imports flow one way: each layer imports only the layers above it."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "nodebench"
LAYERS = ["errors", "plugins", "spec", "instruments", "solvers", "models", "tasks", "run", "analysis", "report", "cli"]
WITHOUT = {"spec": {"torch", "pandas"}, "analysis": {"torch"}, "report": {"torch"}, "cli": {"torch"}}


def imports(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def files(layer: str) -> list[Path]:
    return [PACKAGE / f"{layer}.py"] if (PACKAGE / f"{layer}.py").exists() else sorted((PACKAGE / layer).rglob("*.py"))


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_imports_only_what_stands_above_it(layer):
    allowed = LAYERS[: LAYERS.index(layer) + 1]
    for file in files(layer):
        for name in imports(file):
            parts = name.split(".")
            if parts[0] == "nodebench" and len(parts) > 1:
                assert parts[1] in allowed, f"{file.name} imports {name}"
            assert parts[0] not in WITHOUT.get(layer, set()), f"{file.name} imports {name}"


def test_every_layer_is_listed():
    assert {p.stem for p in PACKAGE.iterdir() if p.name[0] not in "_." and p.name != "studies"} == set(LAYERS)


def test_no_file_is_long():
    long = {file.name: n for file in PACKAGE.rglob("*.py") if (n := len(file.read_text().splitlines())) > 400}
    assert long == {}
