"""Identities of installed distributions, laid out as installers leave them."""

import json
import subprocess
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest

from nodebench.distributions import git_state, identify, installed

COMMIT = "0123456789abcdef0123456789abcdef01234567"
RECORD = """solver/__init__.py,sha256={code},10
solver/data.npz,sha256=two,20
../../../bin/solver,sha256={script},30
solver-1.0.dist-info/INSTALLER,sha256={installer},4
solver-1.0.dist-info/RECORD,,
solver/__pycache__/__init__.cpython-311.pyc,,
"""


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    command = ["git", "-C", str(folder), *who, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def laid_out(folder: Path, record: str | None = None, origin: object = None) -> Distribution:
    """A distribution ``solver`` 1.0 in a folder, with one module."""
    info = folder / "solver-1.0.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: solver\nVersion: 1.0\n")
    (folder / "solver").mkdir(exist_ok=True)
    (folder / "solver" / "__init__.py").write_text("METHODS = 1\n")
    if record is not None:
        (info / "RECORD").write_text(record)
    if origin is not None:
        (info / "direct_url.json").write_text(origin if isinstance(origin, str) else json.dumps(origin))
    return Distribution.at(info)


def recorded(code="one", script="a", installer="b") -> str:
    return RECORD.format(code=code, script=script, installer=installer)


def test_the_commit_of_an_installation_from_git_is_its_identity(tmp_path):
    origin = {"url": "u", "vcs_info": {"vcs": "git", "commit_id": COMMIT}}
    found = identify(laid_out(tmp_path, recorded(), origin))
    assert (found.package, found.version, found.commit) == ("solver", "1.0", COMMIT)
    assert found.identity == f"git:{COMMIT}"


def test_other_files_of_one_version_are_another_identity_and_an_installers_own_files_are_not(tmp_path):
    first = identify(laid_out(tmp_path / "1", recorded()))
    same = identify(laid_out(tmp_path / "2", recorded(script="other", installer="other")))
    other = identify(laid_out(tmp_path / "3", recorded(code="other")))
    assert first.commit is None
    assert first.identity == same.identity != other.identity
    assert first.identity.startswith("files:")
    assert first.version == other.version


@pytest.mark.parametrize("origin", ["no json", "[]", {"vcs_info": None}, {"vcs_info": {"commit_id": 1}}])
def test_a_damaged_origin_leaves_the_hash_of_the_files(tmp_path, origin):
    assert identify(laid_out(tmp_path, recorded(), origin)).identity.startswith("files:")


def test_code_in_a_checkout_has_its_commit_until_it_is_changed(tmp_path):
    found = laid_out(tmp_path)
    plain = identify(found)
    assert (plain.commit, plain.identity[:6]) == (None, "files:")
    git(tmp_path, "init")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert (identify(found).commit, identify(found).identity) == (commit, f"git:{commit}")
    identities = {plain.identity}
    for text in ("METHODS = 2\n", "METHODS = 3\n"):
        (tmp_path / "solver" / "__init__.py").write_text(text)
        assert identify(found).commit == commit
        identities.add(identify(found).identity)
    assert len(identities) == 3


def test_a_clone_on_the_path_hides_the_installed_copy(tmp_path, monkeypatch):
    """``PYTHONPATH`` decides what is imported; the metadata alone would name the copy that is not."""
    copy, clone = laid_out(tmp_path / "site", recorded()), tmp_path / "clone"
    laid_out(clone)
    hidden = identify(copy).identity
    monkeypatch.syspath_prepend(str(clone))
    assert identify(copy).identity not in (hidden, None)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert identify(copy).identity == hidden


def test_a_folder_that_git_ignores_is_in_no_checkout(tmp_path):
    git(tmp_path, "init")
    (tmp_path / ".gitignore").write_text("venv\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    (tmp_path / "venv").mkdir()
    (tmp_path / "venv" / "module.py").write_text("")
    assert git_state(tmp_path / "venv") is None
    assert git_state(tmp_path).dirty is False


def test_what_is_installed_here_is_identified():
    found = installed("torchdiffeq")
    assert found.version == distribution("torchdiffeq").version
    assert found.identity is not None
    assert installed("no-such-package") is None
