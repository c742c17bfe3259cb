"""Bad input: exit code 2, one clear line, no traceback, no run directory."""

import pytest

RUN = ["run", "--task", "toy/spiral", "--preset", "smoke"]

BAD = [
    ([], ""),
    (["rn"], "did you mean run"),
    (["run"], "--task is missing"),
    (["run", "--task"], "'--task' requires an argument"),
    (["run", "--task", "toy/spirl"], "did you mean toy/spiral"),
    ([*RUN, "--solvr", "rk4"], "did you mean --solver"),
    ([*RUN, "--solver", "dopri55"], "did you mean dopri5"),
    ([*RUN, "--solver", "rk4,,euler"], "an empty value between commas"),
    ([*RUN, "--solver", "rk4", "--rtol", "1e-3"], "takes fixed steps"),
    ([*RUN, "--step-size", "0.1"], "chooses its own steps"),
    ([*RUN, "--model", "smal"], "did you mean small"),
    ([*RUN, "--gradient", "adjont"], "did you mean adjoint"),
    ([*RUN, "--solver", "scipy:LSODA", "--gradient", "direct"], "has no gradient 'direct'"),
    ([*RUN, "--rtol", "small"], "not a positive number"),
    ([*RUN, "--rtol", "-1"], "not a positive number"),
    ([*RUN, "--rtol", "nan"], "not a positive number"),
    ([*RUN, "--atol", "0"], "not a positive number"),
    ([*RUN, "--adjoint-rtol", "1e-3,small"], "not a positive number"),
    ([*RUN, "--preset", "fast"], "no preset named 'fast'"),
    ([*RUN, "--seed", "-1"], "not a non-negative integer"),
    ([*RUN, "--seed", "1.5"], "not a non-negative integer"),
    ([*RUN, "--seeds", "0"], "at least 1"),
    ([*RUN, "--seeds", "few"], "valid integer"),
    ([*RUN, "--set", "epochs"], "--set name=value"),
    ([*RUN, "--set", "epochs="], "--set epochs=: epochs: input should be a valid integer"),
    ([*RUN, "--set", "epoch=3"], "did you mean epochs"),
    ([*RUN, "--set", "epochs=three"], "--set epochs=three"),
    ([*RUN, "--device", "tpu"], "Allowed: cpu, cuda, mps"),
    ([*RUN, "--device", "cuda:77"], "not present on this machine"),
    ([*RUN, "--dtype", "float8"], "Allowed: float32, float64, bfloat16, float16"),
    ([*RUN, "--dtype", "float64", "--autocast", "bfloat16"], "torch.autocast needs float32"),
    ([*RUN, "--dtype", "float64", "--autocast", "none,bfloat16"], "torch.autocast needs float32"),
    ([*RUN, "--autocast", "float32"], "Allowed: none, bfloat16, float16"),
    ([*RUN, "--threads", "0"], "--threads 0"),
    ([*RUN, "--threads", "99999"], "--threads 99999"),
    ([*RUN, "--timeout", "-5"], "--timeout -5"),
    ([*RUN, "--max-nfe", "0"], "--max-nfe 0"),
    ([*RUN, "--memory-limit", "lots"], "write it as 800MB"),
    ([*RUN, "--memory-limit", "5XB"], "write it as 800MB"),
    ([*RUN, "--memory-limit", "50"], "--memory-limit '50': 50 has no unit; write it as 50MB, or 50B for bytes"),
    ([*RUN, "--seed", "0,1", "--seeds", "3"], "--seed 0,1 and --seeds 3: give one of them"),
    (["run", "--task", "field", "--solver", "rk4"], "field: missing; add --set field=file.py:NAME"),
    (["run", "--task", "problem", "--solver", "rk4"], "problem: missing; add --task file.py:NAME"),
    ([*RUN, "--data", "."], "makes its own data"),
    ([*RUN, "--results", "/proc/nowhere"], "cannot write there"),
    (["run", "--resume", "nothing"], "no run named 'nothing'"),
    ([*RUN, "--resume", "nothing"], "leave out --task, --preset"),
    ([*RUN, "--seed", "99999999999999999999999"], "--seed"),
    ([*RUN, "--set", "epochs=0"], "greater than or equal to 1"),
    ([*RUN, "--set", "window=0"], "greater than or equal to 2"),
    ([*RUN, "--set", "points=8"], "8 observations are too few for a window of 10"),
    ([*RUN, "--set", "missing=0.85"], "8 observations are too few for a window of 10"),
    ([*RUN, "--set", "missing=1"], "less than 1"),
    ([*RUN, "--set", "window_times=mine"], "input should be 'own' or 'first'"),
    ([*RUN, "--dataset", "mnist-5k"], "makes its own data"),
    (["run", "--task", "ecg", "--dataset", "mitbd"], "did you mean mitdb"),
    (["run", "--task", "ecg", "--dataset", "mitdb"], "add --data DIR or --download"),
    (["run", "--task", "ecg", "--dataset", "mitdb", "--data", "."], "no record (*.hea) in"),
    (["run", "--task", "ecg", "--dataset", "ecg5000", "--data", "."], "no ECG5000_TRAIN.txt in"),
    (["run", "--task", "ecg", "--data", "."], "choose a data set with --dataset"),
    (["run", "--task", "ecg", "--set", "objective=guess"], "input should be 'reconstruct'"),
    (["run", "--task", "ecg", "--preset", "paper"], "has no preset 'paper'"),
    (["run", "--task", "latent-spirals", "--set", "observations=101"], "less than or equal to 100"),
    (["run", "--task", "mnist", "--dataset", "mnist-60k"], "add --data DIR or --download"),
    (["list", "dataset"], "did you mean datasets"),
    (["show", "--figures"], "no run in results yet"),
    ([*RUN, "--set", "learning_rate=inf"], "learning_rate: input should be a finite number"),
    ([*RUN, "--set", "span=-1"], "greater than 0"),
    (["run", "--task", "toy/exponential", "--set", "solves=0"], "greater than or equal to 1"),
    (["run", "--task", "mnist", "--data", "."], "no MNIST/raw"),
    (["run", "--task", "mnist", "--preset", "paper"], "needs the full MNIST"),
    (["run", "--task", "toy/exponential", "--preset", "paper"], "has no preset 'paper'"),
    (["show"], "no run in results yet"),
    (["show", "nope"], "no run named 'nope'"),
    (["list", "solver"], "did you mean solvers"),
    (["results", "list"], "no run in results yet"),
    (["export", "nope"], "no run named 'nope'"),
    (["study"], ""),
    (["study", "lst"], "no command named 'lst'; did you mean list"),
    (["study", "run", "tabel1"], "no study named 'tabel1'; did you mean table1"),
    (["study", "run"], "Missing argument 'NAME'"),
    (["study", "run", "table1", "--preset", "fast"], "no preset named 'fast'"),
    (["study", "run", "table1", "--seeds", "0"], "--seeds 0: at least 1"),
    (["study", "run", "table1", "--threads", "0"], "--threads 0: at least 1"),
    (["study", "plan", "table1", "--threads", "9999"], "--threads 9999: this process may use"),
    (["study", "run", "table1", "--device", "gpu"], "no device named 'gpu'"),
    (["study", "run", "table1", "--resume", "--device", "cuda", "--data", "x"], "leave out --device, --data"),
    (["study", "run", "table1", "--jobs", "0"], "--jobs 0: at least 1"),
    (["study", "run", "table1", "--resume"], "no run of study 'table1' at preset quick in results yet"),
    (["study", "run", "table1", "--resume", "--seeds", "9"], "leave out --seeds"),
    (["study", "run", "table1", "--retry-failed"], "--retry-failed requires --resume"),
    (["study", "run", "table1", "--preset", "paper"], "group table: preset 'paper' of task mnist needs the full MNIST"),
    (["run", "--resume"], "no run in results yet"),
    (["run", "--task", "toy/spiral", "--retry-failed"], "--retry-failed requires --resume"),
    (["results", "verify"], "no run in results yet"),
    (["results", "merge", "a", "b"], "no run named 'a'"),
    (["results", "merg"], "did you mean merge"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[" ".join(arguments) or "nothing" for arguments, _ in BAD])
def test_bad_input_ends_in_one_line(nodebench, tmp_path, arguments, message):
    code, out, err = nodebench(*arguments)
    assert code == 2
    assert message in err
    assert "Traceback" not in err + out
    assert len(err.strip().splitlines()) == (1 if message else 0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow  # it waits for 10 s
def test_a_scheduler_that_does_not_answer_is_one_line(nodebench, tmp_path):
    command = ["study", "run", "table1", "--dask", "nowhere:1"]
    test_bad_input_ends_in_one_line(nodebench, tmp_path, command, "--dask nowhere:1: no scheduler answers there")
