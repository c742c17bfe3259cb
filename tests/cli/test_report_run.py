"""``nodebench report --run``: the page of one run, opened or served."""

import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from evidence import evidence

from nodebench import load
from nodebench.spec import Grid, Study
from nodebench.store.run_folder import RunFolder


def costs(seconds: float) -> dict[str, float]:
    figures = {"nfe_forward": 100 * seconds, "solution_error": 1e-3, "gradient_error": 1e-4 / seconds}
    return figures | {"step_seconds": seconds, "tensor_peak_bytes": 1e6}


@pytest.fixture
def run(tmp_path) -> RunFolder:
    """Four trials of two solvers, one of which failed."""
    run = RunFolder.create(tmp_path / "results", Study(groups={"a": Grid(task="toy/spiral")}), {})
    for solver in ("dopri5", "rk4"):
        for seed in range(2):
            history = [{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.0}]
            run.append(evidence(seed, solver=solver, costs=costs(1.0 + seed), history=history))
    return run


def test_a_page_has_figures_and_every_configuration(nodebench, run):
    code, out, err = nodebench("report", "--run", "latest")
    assert code == 0, err
    page = run.folder / "report" / "index.html"
    assert out == f"{run.folder.name} · {page.relative_to(Path.cwd())}\n"
    text = page.read_text()
    for told in (
        "Error of the solution against evaluations",
        "Error of the gradient against step time",
        "Loss over training",
    ):
        assert told in text
    assert "<nav" not in text  # there is no other page
    for told in ("toy/spiral · preset", "a processor", "cpu, float32, 1 thread"):
        assert told in text
    links = [name for name in re.findall(r'(?:href|src)="([^"#]+)"', text) if ":" not in name]
    assert [name for name in links if not (page.parent / name).exists()] == []
    (table,) = (page.parent / "data").glob("study-run-toy-spiral*.csv")
    header, *rows = (row.split(",")[0] for row in table.read_text().splitlines())
    assert (header, sorted(rows)) == ("solver", ["dopri5", "rk4"])


def test_the_page_is_a_value_in_python(run, tmp_path):
    page = load(run.folder).report(tmp_path / "here", formats=["md"])
    assert page == tmp_path / "here" / "index.md"
    assert run.folder.name in page.read_text()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--run", "nothing"], "no run"),
        (["--run", "latest", "--with-published"], "leave out --readme and --with-published"),
        (["--run", "latest", "--format", "word"], "no format named 'word'"),
        (["--run", "latest", "--serve", "70000"], "--serve 70000: "),
    ],
)
def test_bad_input_ends_in_one_line(nodebench, run, arguments, told):
    code, _, err = nodebench("report", *arguments)
    assert code == 2
    assert told in err
    assert len(err.splitlines()) == 1


def test_a_page_is_served_on_this_machine_until_ctrl_c(run, tmp_path):
    command = [sys.executable, "-m", "nodebench", "report", "--run", "latest", "--serve", "0"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            address = next(line.split()[0] for line in process.stdout if line.startswith("http"))
            assert address.startswith("http://127.0.0.1:")
            with urllib.request.urlopen(address) as answer:
                assert run.folder.name in answer.read().decode()
        finally:
            process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130  # as wherever Ctrl-C ends a command
    assert err == ""
