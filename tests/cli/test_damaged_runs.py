"""Damaged runs, fed to every command that reads: one line for each damaged file, and nothing else happens."""

import json
import os
import re
import shutil
import signal
import sys
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from evidence import ENVIRONMENT, evidence
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from nodebench.cli import main
from nodebench.spec import Grid, Study
from nodebench.spec.calibration import Calibration
from nodebench.spec.trajectories import Trajectories
from nodebench.store.calibrations import keep
from nodebench.store.run_folder import RunFolder

LONGEST = 120  # seconds of a command: a guard against hanging, on a busy machine too
LINE = np.zeros((1, 5, 2))
FILM = {1: Trajectories(np.arange(5.0), LINE, LINE, np.zeros((1, 5)), LINE, (0.0, 2.0), "time", ("x", "y"))}
HISTORY = [{"epoch": 0.0, "loss": None}, {"epoch": 1.0, "loss": 0.5, "nfe_forward": 20.0}]
DAMAGED, GOOD = "damaged", "good"

CHEAP = {
    "list": ["results", "list"],
    "verify": ["results", "verify"],
    "prune": ["results", "prune"],
    "repair": ["results", "repair", DAMAGED],
    "merge": ["results", "merge", GOOD, DAMAGED],
    "show": ["show", DAMAGED],
    "show latest": ["show"],
    "csv": ["export", DAMAGED, "--out", "../out/a.csv"],
    "json": ["export", DAMAGED, "--format", "json", "--out", "../out/a.json"],
    "parquet": ["export", DAMAGED, "--format", "parquet", "--out", "../out/a.parquet"],
    "compare": ["compare", GOOD, DAMAGED],
    "recommend": ["recommend", "--task", "toy-spiral"],
    "plan": ["study", "plan", "tolerance", "--preset", "smoke", "--threads", "1"],
}
DEAR = {
    "claims check": ["claims", "check"],
    "claims show": ["claims", "show", "memory-constant"],
    "report": ["report", "--out", "../out/report", "--format", "md,csv"],
    "figures": ["show", DAMAGED, "--figures"],
}


def make_run(results: Path, name: str, seeds: range, **changes) -> None:
    study = Study(groups={"typed": Grid(task="toy/spiral", seed=list(seeds))})
    run = RunFolder.create(results, study, ENVIRONMENT)
    for seed in seeds:
        costs = {
            "step_seconds": 0.1 + seed / 100,
            "nfe_forward": 20.0,
            "tensor_peak_bytes": 1000,
            "gradient_error": 1e-4,
        }
        record = evidence(seed, metrics={"trajectory_error": 0.1}, costs=costs, history=HISTORY, **changes)
        run.append(record, FILM)
    run.folder.rename(results / name)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A folder of results without damage."""
    results = tmp_path_factory.mktemp("whole") / "results"
    make_run(results, GOOD, range(3), study=None)
    make_run(results, DAMAGED, range(1, 4), study=None)
    rounds = {"toy": {"step_seconds": [[1.0, 1.1], [1.0, 1.2]]}}
    keep(results, Calibration(started="2026-01-01", environment=ENVIRONMENT, threads=1, rounds=rounds))
    return results


NASTY = [
    b"",
    b"\n",
    b"\r",
    b"\xff\xfe\x00",
    b"[" * 50_000,
    b'{"a":' * 40 + b"1" + b"}" * 40,
    b"9" * 5000,
    b'"\\ud800"',
    b"NaN",
    b"1e999",
    b"\x1b[31mred\x1b[0m\n",
    b"[bold]markup[/wrong]",
    b"nonsense\n",
    b"null\n",
    b"PK\x03\x04torn",
    b"a = " + b"[" * 5000,
    b'name = "../../x"\n',
]
VALUES = [
    None,
    True,
    -1,
    0,
    10**30,
    1e308,
    float("inf"),
    "",
    "\x1b[31mred",
    "[/wrong]",
    "$\\frac{",
    "../../../x",
    "/etc/passwd",
    "=1+1",
    "x" * 5000,
    "研究\u202e",
    [],
    {},
    [[[[]]]],
    {"a": {"b": [1]}},
    ["x"] * 50,
]
FILES = ["records.jsonl", "environment.json", "study.toml", "lock", "arrays", "../calibrations.jsonl"]


@st.composite
def damages(draw):
    """A damage as a description that can be printed: kind, file and how."""
    kind = draw(st.sampled_from(["bytes", "field", "field", "field", "array", "other"]))
    if kind == "field":
        keys = draw(st.lists(st.integers(0, 100), min_size=1, max_size=4))
        return kind, draw(st.sampled_from(FILES[:2])), (keys, draw(st.sampled_from(VALUES)))
    if kind == "array":
        shape = draw(st.lists(st.sampled_from([0, 1, 2, 5, 7, 100]), max_size=4))
        value = draw(st.sampled_from([0.0, 1e308, float("nan"), float("inf"), -1e35]))
        return kind, draw(st.sampled_from(sorted(np_fields()))), (tuple(shape), value)
    file = draw(st.sampled_from(FILES))
    if kind == "other":
        return kind, file, draw(st.sampled_from(["fifo", "folder", "loop", "zero", "absent", "proc"]))
    position, length = draw(st.floats(0, 1)), draw(st.sampled_from([0, 1, 20, 10**6]))
    return kind, file, (position, length, draw(st.sampled_from(NASTY) | st.binary(max_size=30)))


def np_fields() -> list[str]:
    return [*Trajectories.__dataclass_fields__, "epochs"]


def damage(results: Path, kind: str, file: str, how) -> None:
    run = results / DAMAGED
    if kind == "array":
        path = next((run / "arrays").iterdir())
        with np.load(path) as stored:
            arrays = dict(stored)
        shape, value = how
        arrays["epochs" if file == "epochs" else f"1/{file}"] = np.full(shape, value)
        np.savez(path, **arrays)
        return
    path = next((run / "arrays").iterdir()) if file == "arrays" else run / file
    path.touch()
    if kind == "bytes":
        position, length, new = how
        content = path.read_bytes()
        start = int(position * len(content))
        path.write_bytes(content[:start] + new + content[start + length :])
    elif kind == "field":
        edit_field(path, *how)
    else:
        path.unlink()
        {
            "fifo": lambda: os.mkfifo(path),
            "folder": path.mkdir,
            "loop": lambda: path.symlink_to(path),
            "zero": lambda: path.symlink_to("/dev/zero"),
            "proc": lambda: path.symlink_to("/proc/self/environ"),
            "absent": lambda: None,
        }[how]()


def edit_field(path: Path, keys: list[int], value) -> None:
    """Put a value somewhere into a JSON file; a record gets a checksum that fits."""
    first, *others = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
    content = json.loads(first)
    content.pop("checksum", None)
    place = content
    for number in keys[:-1]:
        below = [one for one in children(place) if isinstance(one, dict | list) and one]
        place = below[number % len(below)] if below else place
    if isinstance(place, dict):
        place[sorted(place)[keys[-1] % len(place)]] = value
    else:
        place[keys[-1] % len(place)] = value
    body = json.dumps(content, separators=(",", ":"))
    if path.suffix == ".jsonl":
        body = f'{body[:-1]},"checksum":"{sha256(body.encode()).hexdigest()[:16]}"}}'
    path.write_text("\n".join([body, *others]) + "\n")


def children(place) -> list:
    return [place[key] for key in sorted(place)] if isinstance(place, dict) else list(place)


@contextmanager
def guarded():
    """Fail, instead of hanging."""

    def fail(*_):
        raise TimeoutError("the command hangs")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(LONGEST)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def check(whole: Path, root: Path, capsys, monkeypatch, what: tuple, name: str) -> None:
    """Damage a copy of the results, run a command on it, and look at all that it left behind."""
    shutil.rmtree(root, ignore_errors=True)
    (root / "home").mkdir(parents=True)
    (root / "out").mkdir()
    (root / "victim.txt").write_text("precious")
    shutil.copytree(whole, root / "home" / "results")
    damage(root / "home" / "results", *what)
    monkeypatch.chdir(root / "home")
    monkeypatch.setattr(sys, "argv", ["nodebench", *(CHEAP | DEAR)[name]])
    capsys.readouterr()
    with guarded(), pytest.raises(SystemExit) as ended:
        main()
    out, err = capsys.readouterr()
    allowed = {0, 1, 2} if name == "verify" else {0, 2}
    assert ended.value.code in allowed, (ended.value.code, out, err)
    lines = [line for line in err.splitlines() if line]  # the progress of drawing ends with an empty one
    assert all(line.startswith("nodebench: ") for line in lines), err
    assert len([line for line in lines if "warning" not in line]) == (ended.value.code == 2), err
    assert len(lines) == len(set(lines)) <= 3, err
    assert all(len(line) < 2100 for line in lines), err
    for text in (out, err):
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f\x9b\u202e]", text), repr(text)
        assert "Traceback" not in text
    assert (root / "victim.txt").read_text() == "precious"
    assert {path.name for path in root.iterdir()} == {"home", "out", "victim.txt"}
    assert {path.name for path in (root / "home").iterdir()} == {"results"}
    assert tree(root / "home" / "results" / GOOD) | {"lock": b""} == tree(whole / GOOD) | {"lock": b""}


SETTINGS = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    "derandomize": True,  # what is found is found each time
}


@settings(max_examples=80, **SETTINGS)
@given(what=damages(), name=st.sampled_from(sorted(CHEAP)))
@example(what=("bytes", "environment.json", (0.0, 10**6, b"\xff")), name="plan")
@example(what=("bytes", "environment.json", (0.0, 10**6, b"[]")), name="list")
@example(what=("other", "environment.json", "fifo"), name="plan")
@example(what=("other", "records.jsonl", "zero"), name="list")
@example(what=("bytes", "lock", (0.0, 0, b"\xff\xfe")), name="merge")
@example(what=("bytes", "study.toml", (0.0, 10**6, b"a = " + b"[" * 5000)), name="list")
@example(what=("field", "records.jsonl", ([1, 0], 10**30)), name="parquet")
def test_a_damaged_run_is_one_line(whole, tmp_path, capsys, monkeypatch, what, name):
    check(whole, tmp_path / "case", capsys, monkeypatch, what, name)


@settings(max_examples=6, **SETTINGS)
@given(what=damages(), name=st.sampled_from(sorted(DEAR)))
def test_a_damaged_run_is_one_line_to_commands_that_judge_and_draw(whole, tmp_path, capsys, monkeypatch, what, name):
    check(whole, tmp_path / "case", capsys, monkeypatch, what, name)


@pytest.mark.slow
@settings(max_examples=1000, **(SETTINGS | {"derandomize": False}))
@given(what=damages(), name=st.sampled_from(sorted([*CHEAP, *CHEAP, *DEAR])))
def test_many_damaged_runs_are_one_line_each(whole, tmp_path, capsys, monkeypatch, what, name):
    check(whole, tmp_path / "case", capsys, monkeypatch, what, name)


def test_without_damage_every_cheap_command_reads_all(whole, tmp_path, capsys, monkeypatch):
    """So that the tests above look at what they should."""
    for name in sorted(CHEAP):
        check(whole, tmp_path / "case", capsys, monkeypatch, ("bytes", "lock", (0.0, 0, b"")), name)
    run = RunFolder(whole / DAMAGED)
    assert len(run.records()) == 3
    assert all(run.snapshots(record) for record in run.records())
