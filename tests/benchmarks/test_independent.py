"""Numbers behind five verdicts, computed again by scripts that do not use nodebench: ``pytest -m slow``, minutes."""

import ast
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks" / "independent"
SCRIPTS = sorted(path for path in FOLDER.glob("*.py") if path.name != "compare.py")

# Largest relative difference that is allowed. Where both sides take the same steps, their counts are equal, and a ratio
# of counts differs by the rounding of a division alone.
EQUAL = 1e-14
ALLOWED = {
    "batching-free": EQUAL,
    "torchode-batching": EQUAL,
    "backward-half": EQUAL,
    # The profiler also sees the eight bytes of each Python number that becomes an operand and that the graph keeps:
    # 7 of 4,169 bytes an evaluation.
    "memory-constant": 0.01,
    # The adjoint's gradients are equal; the float64 references take other steps, at tolerance 1e-11.
    "anode-memory-gradient": 1e-8,
}
CONDITIONS = {
    "batching-free": ["mu 2", "mu 10", "mu 25"],
    "torchode-batching": ["mu 10", "mu 25", "mu 50"],
    "backward-half": ["points 2", "points 5", "points 10", "points 30", "points 100"],
    "memory-constant": ["direct", "adjoint / direct"],
    "anode-memory-gradient": ["gradient error"],
}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_does_not_import_nodebench(script):
    nodes = list(ast.walk(ast.parse(script.read_text())))
    imported = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    assert not {name for name in imported if name.partition(".")[0] == "nodebench"}


@pytest.mark.parametrize("claim", ALLOWED)
def test_a_check_names_a_part_of_its_claim(claim):
    """Otherwise a renamed part is found only by the slow test."""
    compare = importlib.util.module_from_spec(importlib.util.spec_from_file_location("compare", FOLDER / "compare.py"))
    sys.modules["compare"] = compare  # its dataclass looks itself up
    compare.__spec__.loader.exec_module(compare)
    check = compare.CHECKS[claim]
    (declared,) = [one for one in compare.CLAIMS if one.name == check.claim]
    assert (check.arm, check.label) in {(part.arm.name, part.label) for part in declared.every_part}


@pytest.mark.slow
@pytest.mark.parametrize("claim", ALLOWED)
def test_a_script_gives_the_number_behind_a_verdict(claim):
    command = [sys.executable, FOLDER / "compare.py", claim, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["condition"] for row in rows] == CONDITIONS[claim]
    for row in rows:
        assert row["difference"] is not None, row
        assert row["difference"] <= ALLOWED[claim], row
