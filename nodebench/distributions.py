"""Identify installed distributions: version, commit, and a hash of their files if the commit is unknown."""

import json
import subprocess
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cache
from hashlib import sha256
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path

DIGITS = 16  # hexadecimal digits of a hash of files


@dataclass(frozen=True)
class Installed:
    """One installed distribution.

    Attributes:
        package: its name, as the distribution declares it.
        version: its version string. Two installations with equal versions may hold different code.
        commit: the git commit that it was installed from; None if unknown.
        identity: ``git:COMMIT`` of a clean commit, else ``files:HASH`` of the installed code; None if both are
            unknown.
    """

    package: str
    version: str
    commit: str | None
    identity: str | None

    def __str__(self) -> str:
        return f"{self.package} {self.version}"

    def described(self) -> dict[str, str | None]:
        """Return version, commit and identity as a mapping."""
        return {name: value for name, value in asdict(self).items() if name != "package"}


@cache
def installed(package: str) -> Installed | None:
    """Return package, version, commit and identity of a distribution by its name; None if it is not installed."""
    try:
        return identify(distribution(package))
    except PackageNotFoundError:
        return None


def identify(found: Distribution) -> Installed:
    """Return version, commit and identity of a distribution.

    The commit comes from PEP 610's ``direct_url.json``. For code that is imported from a source folder (an editable
    installation, or a clone on ``PYTHONPATH``), the commit comes from the git checkout in that folder.
    """
    record = found.read_text("RECORD")
    folder = _source_folder(found, is_copied=record is not None)
    commit: str | None = None
    identity: str | None = None
    if folder is not None:
        state = git_state(folder)
        commit = state.commit if state else None
        identity = f"git:{commit}" if state and not state.dirty else _hash_of_sources(folder, _modules(found))
    elif commit := _commit_of_origin(found):
        identity = f"git:{commit}"
    elif record:
        identity = _hash_of_record(record)
    return Installed(found.name, found.version, commit, identity)


@dataclass(frozen=True)
class GitState:
    """Commit of a checkout, and whether its files differ from it."""

    commit: str
    dirty: bool


def git_state(folder: Path) -> GitState | None:
    """Return the state of the git checkout that tracks files in a folder; None if there is no such checkout.

    The result is also None for a folder that git ignores, such as a virtual environment inside another project.
    """

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", ".")
        return GitState(git("rev-parse", "HEAD"), bool(git("status", "--porcelain", "--", ".")))
    except (OSError, subprocess.SubprocessError):
        return None


def _commit_of_origin(found: Distribution) -> str | None:
    """The commit in ``direct_url.json``; None for an installation from a package index or a file."""
    try:
        commit = json.loads(found.read_text("direct_url.json") or "{}")["vcs_info"]["commit_id"]
    except (ValueError, KeyError, TypeError):
        return None
    return commit if isinstance(commit, str) else None


def _source_folder(found: Distribution, is_copied: bool) -> Path | None:
    """Return the folder that the code is imported from; None if it is the copy that an installer made."""
    home = Path(str(found.locate_file(""))).resolve()
    for module in _modules(found):
        root = _import_root(module)
        if root is not None and root != home:
            return root
    return None if is_copied else home


def _import_root(module: str) -> Path | None:
    """The folder on the import path that holds a top-level module; the module is not imported."""
    try:
        spec = find_spec(module)
    except (ImportError, ValueError):
        return None
    if spec is None or not spec.origin or not spec.has_location:
        return None
    file = Path(spec.origin).resolve()
    return file.parents[1] if spec.submodule_search_locations else file.parent


def _modules(found: Distribution) -> list[str]:
    """Names of the top-level modules of a distribution."""
    declared = (found.read_text("top_level.txt") or "").split()
    named = {entry.module.partition(".")[0] for entry in found.entry_points}
    return sorted({*declared, *named}) or [found.name.replace("-", "_")]


def _hash_of_record(record: str) -> str:
    """Hash the paths and hashes of ``RECORD``.

    Installer metadata, compiled bytecode and scripts are excluded, because they differ between equal installations.
    """
    lines = (line.rsplit(",", 2) for line in record.splitlines())
    code = [
        (path, digest)
        for path, digest, _ in (line for line in lines if len(line) == 3)
        if digest and not path.startswith(("../", "/")) and ".dist-info/" not in path
    ]
    return _hash(f"{path},{digest}".encode() for path, digest in sorted(code))


def _hash_of_sources(folder: Path, modules: Iterable[str]) -> str | None:
    """Hash the Python files of the modules in a folder; None if there are no files."""
    single = [path for name in modules if (path := folder / f"{name}.py").is_file()]
    files = sorted([*single, *(path for name in modules for path in (folder / name).rglob("*.py"))])
    return _hash(path.relative_to(folder).as_posix().encode() + path.read_bytes() for path in files) if files else None


def _hash(parts: Iterable[bytes]) -> str:
    digest = sha256()
    for part in parts:
        digest.update(sha256(part).digest())
    return f"files:{digest.hexdigest()[:DIGITS]}"
