"""Programs of ``benchmarks/``, which no other test imports, use names that nodebench has."""

import ast
from importlib import import_module
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
PROGRAMS = sorted(BENCHMARKS.rglob("*.py"))


@pytest.mark.parametrize("program", PROGRAMS, ids=[str(path.relative_to(BENCHMARKS)) for path in PROGRAMS])
def test_what_it_imports_exists(program):
    for node in ast.walk(ast.parse(program.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("nodebench"):
            module = import_module(node.module)
            assert [one.name for one in node.names if not hasattr(module, one.name)] == []
