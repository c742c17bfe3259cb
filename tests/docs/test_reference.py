"""The reference lists every option of every command, and every field of every public class."""

import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

from nodebench.spec.axis import Axis

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
PAGE = REFERENCE / "commands.md"


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


def axis_help(field) -> str:
    """What a field of a trial says about itself."""
    return "".join(one.help for one in field.metadata if isinstance(one, Axis))


def test_every_public_class_of_the_reference_describes_its_fields():
    pages = "\n".join(page.read_text() for page in REFERENCE.glob("*.md"))
    named = re.findall(r"^::: ([\w.]+)", pages, re.MULTILINE)
    modules = [name for name in named if not name.rpartition(".")[2][0].isupper()]
    missing = []
    for module in map(importlib.import_module, modules):
        for name, made in inspect.getmembers(module, inspect.isclass):
            if made.__module__ != module.__name__ or name.startswith("_"):
                continue
            inherited = {field for base in made.__bases__ for field in inspect.get_annotations(base)}
            inherited |= {
                field for base in getattr(made, "__orig_bases__", ()) for field in inspect.get_annotations(base)
            }
            fields = [one for one in inspect.get_annotations(made) if one not in inherited and not one.startswith("_")]
            told = made.__doc__ or ""
            declared = getattr(made, "model_fields", {}).items()
            fields = [one for one in fields if one not in {name for name, field in declared if axis_help(field)}]
            missing += [f"{name}.{field}" for field in fields if not re.search(rf"\b{field}\b[\w, ]*(:|`)", told)]
    assert len(modules) > 20
    assert not missing, ", ".join(missing)
