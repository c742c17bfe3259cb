"""The first step of a compiled trial pays for compilation, whatever was compiled before it."""

import os

import pytest
import torch
from torch._dynamo.utils import counters

from nodebench.running.engines.local import LocalEngine
from nodebench.running.expand import multiply
from nodebench.spec import Compile, DataSource, Grid, Limits, Pass, Request, Status
from nodebench.trial.compiler_cache import empty_compiler_cache
from nodebench.trial.fork_server import start_fork_server


def test_the_cache_is_an_empty_folder_that_is_removed(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.delenv("TRITON_CACHE_DIR", raising=False)
    with empty_compiler_cache():
        folder = os.environ["TORCHINDUCTOR_CACHE_DIR"]
        assert folder != str(tmp_path)
        assert os.listdir(folder) == ["owner"]  # the mark of a folder of ours
        assert os.environ["TRITON_CACHE_DIR"] == folder
    assert not os.path.exists(folder)
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path)
    assert "TRITON_CACHE_DIR" not in os.environ


@pytest.mark.slow
def test_what_was_compiled_before_is_compiled_again():
    found = []
    for _ in range(2):
        torch._dynamo.reset()
        counters.clear()
        with empty_compiler_cache():
            torch.compile(lambda x: x.sin() * 2)(torch.ones(3))
        found.append((counters["inductor"]["fxgraph_cache_hit"], counters["inductor"]["fxgraph_cache_miss"]))
    assert found == [(0, 1), (0, 1)]


@pytest.mark.slow
def test_a_trial_leaves_the_users_cache_alone(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    start_fork_server()
    grid = Grid(task="toy/spiral", preset="smoke", solver="rk4", threads=1, compile=Compile.FIELD)
    (trial,), _ = multiply(grid, DataSource())
    engine = LocalEngine(1)
    request = Request(passes=(Pass.TRAINING,))
    ((record, _),) = engine.run([trial], Limits(), DataSource(), lambda trial, progress: None, {trial.id: request})
    assert record.status is Status.OK
    assert os.listdir(tmp_path) == []
