"""Run the asv suite on the code of this clone and store the results under its commit.

    python benchmarks/history.py [OPTIONS OF asv run]

With ``--python=same``, asv stores the results under the given commit without a check. This command refuses to run if
asv would import code from outside this clone, or if the clone has uncommitted changes.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONFIGURATION = ROOT / "benchmarks" / "asv.conf.json"
MEASURED = ("nodebench", "benchmarks/suite")  # what the results depend on


def git(*arguments: str) -> str:
    """The output of a git command in the clone."""
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def imported() -> Path:
    """Return the package folder that asv would import; asv replaces ``PYTHONPATH`` by ``ASV_PYTHONPATH``."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"PYTHONPATH": path} if (path := os.environ.get("ASV_PYTHONPATH")) else {}
    command = [sys.executable, "-P", "-c", "import nodebench; print(nodebench.__file__)"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return Path(done.stdout.strip()).resolve().parent


def refusal() -> str | None:
    """Return why results cannot be stored under the clone's commit; None if they can."""
    if (found := imported()) != ROOT / "nodebench":
        return f"asv would measure {found}, not this clone: install it with 'pip install -e {ROOT}'"
    if changed := git("status", "--porcelain", "--", *MEASURED):
        return f"uncommitted changes ({changed.splitlines()[0].strip()}): commit or stash them"
    return None


def published_branches() -> list[str]:
    """The branches that ``asv publish`` reads."""
    text = "\n".join(line for line in CONFIGURATION.read_text().splitlines() if not line.strip().startswith("//"))
    branches: list[str] = json.loads(text).get("branches", ["main"])
    return branches


def main() -> int:
    """Check, then run asv."""
    if why := refusal():
        print(f"history: {why}", file=sys.stderr)
        return 2
    commit = git("rev-parse", "HEAD")
    holding = git("branch", "--all", "--contains", commit, "--format=%(refname:short)").splitlines()
    branches = published_branches()
    if not set(branches) & {name.removeprefix("origin/") for name in holding}:
        message = f"commit {commit[:8]} is on none of the branches {', '.join(branches)}"
        print(f"history: {message}: 'asv publish' leaves it out unless {CONFIGURATION.name} names its branch")
    command = [sys.executable, "-m", "asv", "run", "--python=same", f"--set-commit-hash={commit}", *sys.argv[1:]]
    return subprocess.run(command, cwd=CONFIGURATION.parent, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
