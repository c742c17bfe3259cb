"""What others have written into a run, a record, a study or a lock does no harm on the terminal or on disk."""

import csv
import io
import json
import re

import numpy as np
import pytest
from evidence import evidence

from nodebench.cli.progress import LiveDisplay
from nodebench.running.estimate import Costs
from nodebench.spec import Failure, Grid, Record, Status, Study, Trial
from nodebench.spec.record import Place
from nodebench.spec.trajectories import Trajectories
from nodebench.store.run_folder import RunFolder
from nodebench.trial.worker import Progress

# Valid names, with markup, mathematics and a formula in them.
NAMES = ["[/red]", "[bold]x", "$x_{$ $", "=1+1", "研究/流", ":smile:"]
MESSAGE = "[/red] \x1b[31mred\x1b]0;title\x07 \x9b2J \u202eoverride \\frac{$ <script>alert(1)</script>"
STYLES = re.compile(r"\x1b\[[0-9;]*m")
LINE = np.zeros((1, 3, 2))
LABELS = ("$\\frac{", "_x \x1b[31m")


def snapshots():
    return {
        e: Trajectories(np.arange(3.0), LINE, LINE, LINE[..., 0], LINE, (0.0, 1.0), "$t_{$ $", LABELS) for e in (0, 1)
    }


def make(results, study="[/red] $x$", message=MESSAGE, names=NAMES) -> RunFolder:
    groups = {name: Grid(task="toy/spiral", model=[name]) for name in NAMES}
    run = RunFolder.create(results, Study(name=study, groups=groups), {"cpu": message})
    for name in names:
        status = Status.OK if name != NAMES[0] else Status.ERROR
        trial = Trial(
            task=name, model=name, dataset=name, solver="dopri5", rtol=1e-3, atol=1e-3, overrides={name: name}
        )
        record = Record(
            id=trial.id,
            trial=trial,
            status=status,
            started="2026-01-01T00:00:00",
            duration_seconds=1.0,
            metrics={name: 1.0},
            options={name: message},
            environment={"cpu": message, "nodebench": message},
            history=[{"epoch": float(e), "loss": 1.0 / (e + 1)} for e in range(3)],
            failure=None if status is Status.OK else Failure(message=message),
            place=Place(study=study, groups=(name,)),
        )
        run.append(record, snapshots())
    return run


def harmless(text: str, colours: bool = False) -> bool:
    """Whether nothing in a text, but for colours where there are any, is a control or a format character."""
    return all(c.isprintable() or c in "\n\t" for c in (STYLES.sub("", text) if colours else text))


COMMANDS = [
    ("show",),
    ("export",),
    ("export", "--format", "json"),
    ("results", "list"),
    ("results", "verify"),
    ("claims", "check"),
    ("claims", "check", "--json"),
    ("report", "--format", "md"),
    ("recommend", "--task", "toy-spiral"),
]


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("colours", [False, True], ids=["plain", "colours"])
def test_a_command_that_reads_a_hostile_run_shows_its_text_and_nothing_else(
    nodebench, tmp_path, monkeypatch, arguments, colours
):
    if colours:
        monkeypatch.setenv("FORCE_COLOR", "1")
    run = make(tmp_path / "results")
    run.folder.rename(tmp_path / "results" / "2026-[red]\x1b[31m\u202e")
    code, out, err = nodebench(*arguments)
    assert code in (0, 1, 2), err
    assert "Traceback" not in err
    assert harmless(out + err, colours), repr(out + err)


def test_names_and_messages_are_shown_as_they_are(nodebench, tmp_path):
    make(tmp_path / "results")
    out = nodebench("show")[1]
    for name in NAMES:
        assert name in out
    assert "\\x1b[31mred" in out


def test_comparing_hostile_runs_shows_their_text(nodebench, tmp_path):
    first, second = make(tmp_path / "results"), make(tmp_path / "results", message="[red]\x1b[31m")
    for more in ((), ("--json",), ("--all",)):
        code, out, err = nodebench("compare", first.folder.name, second.folder.name, *more)
        assert (code, err) == (0, "")
        assert harmless(out), repr(out)
    merged, verified = (
        nodebench("results", *a) for a in (("merge", first.folder.name, second.folder.name), ("verify",))
    )
    assert merged[0] == verified[0] == 0
    assert harmless(merged[1] + verified[1])


def test_the_text_of_a_lock_is_shown_as_it_is(nodebench, tmp_path):
    run = make(tmp_path / "results")
    with run.writing():
        (run.folder / "lock").write_bytes(b"\x1b[31m[/red]\xff\xe2\x80\xae")
        code, out, _ = nodebench("results", "prune", "--yes")
    assert code == 0
    assert "\\x1b[31m[/red]" in out
    assert harmless(out)


def test_a_hostile_study_file_is_shown_as_it_is(nodebench, tmp_path):
    path = tmp_path / "[bold]s.toml"
    path.write_text(
        'about = "[/bold]\\u001b[31m"\nsource = "\\u202e"\nclaims = ["[/red]"]\n'
        '[groups."[/x]"]\ntask = "toy/spiral"\nexclude = [{ reason = "[/y]\\u0007", model = "small" }]\n'
    )
    code, out, err = nodebench("study", "show", str(path))
    assert (code, err) == (0, "")
    assert "[bold]s" in out
    assert "[/bold]\\x1b[31m" in out
    assert "[/x]" in out
    assert harmless(out)


def test_what_was_typed_is_shown_as_it_is(nodebench):
    for arguments in (("run", "--task", "[/red]\x1b[31m"), ("show", "\x1b[31m\u202e"), ("\x1b[31m",)):
        code, out, err = nodebench(*arguments)
        assert code == 2
        assert harmless(out + err)


def test_a_live_display_shows_names_as_they_are(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    trials = [Trial(task=name, model=name, overrides={name: "\x1b[31m"}) for name in NAMES]
    event = Progress(phase="[/phase]\x07", epochs=1)
    with LiveDisplay(trials, Costs()) as display:
        for trial in trials:
            display.progress(trial, event)
        display.note("[/note]\x1b[31m")
        for trial in trials:
            display.finished(evidence(status=Status.ERROR).model_copy(update={"id": trial.id, "trial": trial}))
    shown = STYLES.sub("", capsys.readouterr().err)
    assert "[/note]\\x1b[31m" in shown
    assert "[/red]" in shown
    # What is left are the display's own movements of the cursor.
    assert not set(re.sub(r"\x1b\[[0-9?]*[A-Za-z]", "", shown)) & set("\x1b\x07\x9b")


def test_the_figures_of_a_hostile_run_stay_in_its_folder(nodebench, tmp_path):
    run = make(tmp_path / "results", names=["$x_{$ $"])
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    code, _, err = nodebench("show", "--animate")
    assert code == 0, err
    drawn = {path for path in tmp_path.rglob("*") if path.is_file()} - before
    assert {path.parent for path in drawn} == {run.folder / "figures"}
    assert len(drawn) == 7
    assert "$x_{$ $" in b"".join(path.read_bytes() for path in drawn if path.suffix == ".svg").decode()


@pytest.mark.parametrize("name", ["figures", "records.csv"])
def test_nothing_is_written_through_a_link_in_a_run(nodebench, tmp_path, name):
    run = make(tmp_path / "results")
    victim = tmp_path / "victim"
    victim.mkdir() if name == "figures" else victim.write_text("precious")
    (run.folder / name).symlink_to(victim)
    code, _, err = nodebench(*(("show", "--figures") if name == "figures" else ("export",)))
    assert (code, err.count("\n")) == (2, 1)
    assert "symbolic link" in err
    assert victim.read_text() == "precious" if victim.is_file() else not list(victim.iterdir())


def test_a_run_that_is_a_link_is_read_and_not_written(nodebench, tmp_path):
    run = make(tmp_path / "archive")
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "linked").symlink_to(run.folder)
    before = sorted(run.folder.rglob("*"))
    for arguments in (
        ("show",),
        ("results", "list"),
        ("claims", "check"),
        ("report",),
        ("export", "--out", "mine.csv"),
    ):
        code, out, err = nodebench(*arguments)
        assert code == 0, err
    assert "6 records" in out
    for arguments in (("export",), ("show", "--figures"), ("run", "--resume")):
        code, _, err = nodebench(*arguments)
        assert (code, err.count("\n")) == (2, 1)
        assert f"symbolic link, and nodebench does not write through links; use the folder itself: {run.folder}" in err
    assert nodebench("results", "prune", "--yes")[0] == 0
    assert sorted(run.folder.rglob("*")) == before


def test_an_export_has_no_formula_in_it(nodebench, tmp_path):
    make(tmp_path / "results", message='=HYPERLINK("http://evil","x")')
    assert nodebench("export", "--out", "mine.csv")[0] == 0
    rows = list(csv.reader(io.StringIO((tmp_path / "mine.csv").read_text())))
    cells = [cell for row in rows for cell in row]
    assert not [cell for cell in cells if cell[:1] in ("=", "+", "@")]
    assert "'=1+1" in cells
    assert '\'=HYPERLINK("http://evil","x")' in cells


@pytest.mark.parametrize(
    ("field", "value"),
    [("model", "/tmp/x"), ("model", "../../x"), ("task", "a\x1b[31m"), ("dataset", "..")],
)
def test_a_record_with_a_name_that_is_a_path_is_left_out_in_one_line(nodebench, tmp_path, field, value):
    run = make(tmp_path / "results", names=NAMES[1:2])
    content = json.loads(evidence().line())
    del content["checksum"]
    content["trial"][field] = value
    with (run.folder / "records.jsonl").open("a") as file:
        file.write(json.dumps(content) + "\n")
    before = set(tmp_path.rglob("*"))
    code, _, err = nodebench("show", "--figures")
    (warning,) = filter(None, err.splitlines())
    assert code == 0
    assert "not a name" in warning
    assert harmless(err)
    new = {path for path in tmp_path.rglob("*") if path not in before}
    assert all(path.is_relative_to(run.folder / "figures") for path in new)
