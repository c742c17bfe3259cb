import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pandas as pd
import pytest
from evidence import evidence

from nodebench.spec import Record

# One thread: two that wait for a core which something else holds take minutes for what one does in seconds.
SMOKE = ["run", "--preset", "smoke", "--threads", "1", "--task"]
SPIRAL = [*SMOKE, "toy/spiral", "--set", "epochs=1", "--set", "steps_per_epoch=3"]
FAULTS = [*SMOKE, "test/faults"]
COMMAND = [sys.executable, "-m", "nodebench"]


def test_run_prints_the_table_and_where_the_record_lies(nodebench, monkeypatch, tmp_path):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, err = nodebench(*SPIRAL, "--solver", "rk4,euler", "--gradient", "direct,adjoint")
    assert code == 0
    assert max(map(len, out.splitlines()[:-1])) <= 80
    for word in ("NFE", "fwd", "bwd", "step", "peak", "traj.", "rk4", "euler", "direct", "adjoint"):
        assert word in out
    (run,) = (tmp_path / "results").iterdir()
    assert out.splitlines()[-1] == f"4 ok · results/{run.name}/records.jsonl"
    assert len((run / "records.jsonl").read_text().splitlines()) == 4
    assert "[4/4]" in err


def test_show_list_and_export_read_what_run_wrote(nodebench, tmp_path):
    _, ran, _ = nodebench(*SPIRAL, "--solver", "rk4", "--seeds", "2", "--quiet")
    code, shown, _ = nodebench("show")
    assert (code, shown) == (0, ran)
    assert "2 ok" in nodebench("results", "list")[1]
    for format, read in (("csv", pd.read_csv), ("parquet", pd.read_parquet), ("json", pd.read_json)):
        code, out, _ = nodebench("export", "--format", format)
        assert code == 0
        table = read(out.strip().rsplit(" · ", 1)[1])
        assert len(table) == 2
        if format != "json":
            assert table["nfe_forward"].tolist() == [36, 36]
            assert table["seed"].tolist() == [0, 1]


def test_json_prints_records_and_nothing_else(nodebench):
    code, out, err = nodebench(*SPIRAL, "--solver", "rk4,euler", "--json")
    records = [Record.parse(line) for line in out.splitlines()]
    assert code == 0
    assert [record.trial.solver for record in records] == ["rk4", "euler"]
    assert err == ""


def test_what_a_field_prints_stays_out_of_the_output(nodebench):
    code, out, _ = nodebench(*FAULTS, "--set", "fault=print", "--solver", "rk4", "--json")
    assert code == 0
    assert "chatter" not in out


def test_a_failed_trial_without_an_ode_has_a_table(nodebench):
    code, out, _ = nodebench(*SMOKE, "mnist", "--model", "mlp", "--timeout", "0.001", "--quiet")
    assert code == 1
    assert "1 timeout" in out
    assert nodebench("show")[0] == 0


def test_quiet_says_nothing_on_the_way(nodebench):
    assert nodebench(*SPIRAL, "--solver", "euler", "--quiet")[2] == ""


def test_a_failed_trial_gives_exit_code_1_and_its_reason(nodebench):
    code, out, _ = nodebench(*FAULTS, "--set", "fault=nan", "--solver", "dopri5,rk4")
    assert code == 1
    assert "2 non-finite" in out
    assert "the field, the state or the loss became NaN" in " ".join(out.split())


def test_limits_reach_the_trial(nodebench):
    code, out, _ = nodebench(*FAULTS, "--set", "fault=endless", "--max-nfe", "300")
    assert code == 1
    assert "1 nfe-budget" in out


def test_failed_trials_run_again_when_asked_with_a_limit_raised(nodebench):
    code, _, err = nodebench(*FAULTS, "--solver", "rk4", "--max-nfe", "39", "--quiet")
    assert code == 1
    assert "--retry-failed" in err
    assert nodebench("run", "--resume", "--quiet")[0] == 1
    code, out, _ = nodebench("run", "--resume", "--retry-failed", "--max-nfe", "100000", "--quiet")
    assert code == 0
    assert "1 ok" in out


def test_the_environment_variable_names_the_data(nodebench, monkeypatch):
    monkeypatch.setenv("NODEBENCH_DATA_DIR", "/nowhere")
    code, _, err = nodebench(*SMOKE, "mnist")
    assert code == 2
    assert "/nowhere" in err
    assert nodebench(*SPIRAL, "--solver", "euler", "--quiet")[0] == 0  # makes its own data


def test_mnist_runs_on_the_embedded_digits(nodebench):
    code, out, _ = nodebench(*SMOKE, "mnist", "--solver", "euler", "--passes", "training", "--quiet")
    assert code == 0
    assert "mnist-5k (64 / 32)" in out


def test_mnist_runs_on_the_full_set(nodebench, shared_data):
    command = [*SMOKE, "mnist", "--solver", "euler", "--data", str(shared_data), "--passes", "training", "--quiet"]
    code, out, _ = nodebench(*command)
    assert code == 0
    assert "mnist-60k (64 / 32)" in out


@pytest.mark.parametrize("what", ["tasks", "models", "solvers", "gradients"])
def test_list_says_what_exists(nodebench, what):
    code, out, _ = nodebench("list", what)
    assert code == 0
    expected = {"tasks": "test/faults", "models": "resnet-1", "solvers": "scipy:LSODA", "gradients": "adjoint"}
    assert expected[what] in out
    assert "source" in out or "http" in out


def test_help_is_grouped_and_loads_no_torch():
    code = (
        "import sys; sys.argv = ['nodebench', 'run', '--help']\n"
        "from nodebench.cli import main\n"
        "try: main()\nexcept SystemExit as e: print('code', e.code, 'torch' in sys.modules, 'pandas' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "code 0 False False" in done.stdout
    for group in ("What", "Where and how", "Limits", "Output"):
        assert group in done.stdout


@pytest.mark.parametrize("arguments", [[*SMOKE, "toy/spiral"], ["run", "--resume"], ["reproduce", "kept"]])
def test_the_fork_server_is_started_before_torch_is_imported(tmp_path, arguments):
    """Then both import it at the same time, and the first trial begins a second sooner."""
    kept = tmp_path / "results" / "kept"
    kept.mkdir(parents=True)
    (kept / "study.toml").write_text('[groups.g]\ntask = "toy/spiral"\npreset = "smoke"\n')
    (kept / "records.jsonl").write_text(evidence().line() + "\n")
    (kept / "environment.json").write_text("{}")
    script = """if True:
        import sys
        from nodebench import cli
        from nodebench.trial import fork_server

        def start():
            print("torch is there" if "torch" in sys.modules else "torch is to come")
            sys.exit(0)

        fork_server.start_fork_server = start
        cli.main()
    """
    words = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == "torch is to come\n", done.stderr


def test_version(nodebench):
    assert re.fullmatch(r"nodebench \d+\.\d+\.\d+\S*\n", nodebench("--version")[1])


def interrupted_run(folder: Path) -> subprocess.Popen:
    """A sweep of three slow trials; in the second, somebody presses Ctrl-C again and again until it has ended."""
    slow = ["--set", "seconds=0.002", "--passes", "training"]
    command = [*COMMAND, *FAULTS, "--solver", "rk4", "--seeds", "3", *slow]
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    for line in process.stderr:
        if "[1/3]" in line:
            break
    time.sleep(0.5)
    until = time.monotonic() + 8  # less than PATIENCE_SECONDS, after which the command gives up its cleanup
    while process.poll() is None and time.monotonic() < until:
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the whole group
        time.sleep(0.002)
    return process


def test_ctrl_c_keeps_what_is_finished_and_says_how_to_go_on(nodebench, tmp_path):
    process = interrupted_run(tmp_path)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "1 ok, 1 interrupted" in out
    assert "Traceback" not in err
    (run,) = (tmp_path / "results").iterdir()
    assert f"nodebench run --results results --resume {run.name}" in err

    code, _, err = nodebench("run", "--resume", run.name)
    assert code == 0, err
    records = [json.loads(line) for line in (run / "records.jsonl").read_text().splitlines()]
    finished = [record["id"] for record in records if record["status"] == "ok"]
    assert len(finished) == len(set(finished)) == 3


@pytest.mark.parametrize("seconds", [0.5, *(pytest.param(s, marks=pytest.mark.slow) for s in (1.5, 2.5, 3.5))])
def test_ctrl_c_before_the_first_trial_is_clean_too(tmp_path, seconds):
    command = [*COMMAND, *FAULTS, "--solver", "rk4", "--set", "seconds=0.01"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err


def read_terminal(parent: int, ended: threading.Event, seen: list[bytes]) -> None:
    """Read what is written on a terminal until an event; the fork server of the tests may hold it open for longer."""
    while (ready := select.select([parent], [], [], 0.1)[0]) or not ended.is_set():
        if ready:
            seen.append(os.read(parent, 65536))


def test_the_live_display_shows_epoch_loss_and_nfe(nodebench_to, tmp_path):
    """On a real terminal."""
    parent, child = pty.openpty()
    ended, seen = threading.Event(), []
    reader = threading.Thread(target=read_terminal, args=(parent, ended, seen))
    reader.start()
    arguments = [*FAULTS, "--solver", "rk4", "--set", "seconds=0.001", "--passes", "training"]
    sizes = {"TERM": "xterm-256color", "COLUMNS": "120", "LINES": "30"}
    with os.fdopen(child, "w", encoding="utf-8") as terminal:
        try:
            code = nodebench_to(tmp_path, terminal, terminal, *arguments, **sizes)
        finally:
            ended.set()
            reader.join()
    os.close(parent)
    assert code == 0
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", b"".join(seen).decode(errors="replace"))
    assert re.search(r"epoch 1/2 loss \d", text)
    assert "NFE 40+40" in text
    assert "1 ok" in text


def figures_in(folder: Path) -> set[str]:
    (run,) = (folder / "results").iterdir()
    return {path.name.split(".", 1)[1] for path in (run / "figures").iterdir()}


DRAWN = {f"{kind}.{format}" for kind in ("portrait", "time", "training") for format in ("svg", "png")}


def test_figures_and_a_film_are_drawn_of_a_stored_run(nodebench, tmp_path):
    code, _, _ = nodebench(*SPIRAL, "--quiet")
    assert code == 0
    code, out, _ = nodebench("show", "--animate")
    assert code == 0
    assert "7 figures" in out
    assert figures_in(tmp_path) > DRAWN


def test_figures_of_a_run_leave_its_json_alone(nodebench, tmp_path):
    code, out, _ = nodebench(*SPIRAL, "--json", "--figures")
    assert code == 0
    assert [json.loads(line)["status"] for line in out.splitlines()] == ["ok"]
    assert figures_in(tmp_path) == DRAWN


def test_data_sets_are_listed(nodebench):
    _, out, _ = nodebench("list", "datasets")
    assert all(name in out for name in ("mnist-5k", "mnist-60k", "ecgsyn", "mitdb", "ecg5000"))


def test_options_of_a_task_are_listed_with_their_presets(nodebench):
    code, out, _ = nodebench("list", "options", "mnist")
    assert code == 0
    rows = {line.split()[0]: line.split() for line in out.splitlines() if line.strip()}
    assert rows["option"][1:] == ["values", "smoke", "quick", "paper"]
    assert rows["epochs"] == ["epochs", "int", "1", "8", "160"]
    assert rows["schedule"][1:3] == ["steps,", "cosine"]
    for arguments, told in (
        (["options"], "list options TASK"),
        (["options", "mnits"], "did you mean mnist?"),
        (["tasks", "mnist"], "list tasks takes no task"),
    ):
        code, _, err = nodebench("list", *arguments)
        assert (code, len(err.splitlines())) == (2, 1)
        assert told in err


def test_a_task_can_be_named_without_its_option(nodebench):
    trial = ["--preset", "smoke", "--solver", "euler", "--set", "solves=1", "--threads", "1", "--json"]
    named, option = (nodebench("run", *task, *trial) for task in (["toy/exponential"], ["--task", "toy/exponential"]))
    assert (named[0], json.loads(named[1])["id"]) == (0, json.loads(option[1])["id"])
    code, _, err = nodebench("run", "toy/exponential", "--task", "mnist")
    assert (code, "the task is given twice: toy/exponential and --task mnist" in err) == (2, True)


@pytest.mark.parametrize(
    ("content", "told"), [("", "run bad has no records yet"), ("garbage\n", "no record of run bad can be read")]
)
def test_a_run_without_a_record_says_whether_one_was_written(nodebench, tmp_path, content, told):
    run = tmp_path / "results" / "bad"
    run.mkdir(parents=True)
    (run / "study.toml").write_text("")
    (run / "records.jsonl").write_text(content)
    for command in (["export", "bad"], ["compare", "bad", "bad"]):
        code, _, err = nodebench(*command)
        assert (code, told in err) == (2, True)


def test_a_plot_of_two_columns_is_written_where_it_is_asked_for(nodebench, tmp_path):
    assert nodebench(*SPIRAL, "--solver", "rk4", "--gradient", "direct,adjoint", "--quiet")[0] == 0
    code, out, err = nodebench("plot", "latest", "nfe_forward", "gradient_error", "--by", "gradient")
    assert code == 0, err
    drawing = Path(out.strip().rsplit(" · ", 1)[1]).read_text()
    assert all(word in drawing for word in ("<svg", "grad. error", "NFE fwd", "adjoint"))
    assert nodebench("plot", "latest", "rtol", "nfe_forward", "--out", "a.png")[0] == 2  # rk4 has no tolerance
    assert nodebench("plot", "latest", "threads", "nfe_forward", "--out", "a.png")[0] == 0
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    (run,) = (tmp_path / "results").iterdir()
    (tmp_path / "linked").symlink_to(run)
    assert nodebench("plot", "linked", "threads", "nfe_forward")[0] == 2  # nothing is written through a link
    for arguments, told in (
        (["latest", "nfe", "gradient_error"], "no column named 'nfe'"),
        (["latest", "threads", "nfe_forward", "--out", "a.gif"], "no format named 'gif'"),
        (["nothing", "threads", "nfe_forward"], "no run named 'nothing'"),
    ):
        code, _, err = nodebench("plot", *arguments)
        assert (code, told in err, len(err.splitlines())) == (2, True, 1)
