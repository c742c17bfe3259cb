"""When a Dask run gives up, with a client whose scheduler says what the test wants."""

import threading
import time
from types import SimpleNamespace

import pytest

from nodebench.errors import RunAborted
from nodebench.running.engines import dask_watch
from nodebench.running.engines.dask_watch import Watch

WORKER = {"workers": {"tcp://127.0.0.1:1": {}}}


class Client:
    """What ``Watch`` needs of a client."""

    status = "running"
    scheduler = SimpleNamespace(identity=None)

    def __init__(self, **known) -> None:
        self.known = known

    def sync(self, function, callback_timeout: float) -> dict:
        return self.known


@pytest.fixture(autouse=True)
def _ask_often(monkeypatch):
    monkeypatch.setattr(dask_watch, "ASK_SECONDS", 0.01)


def check_until_it_raises(watch: Watch) -> None:
    while True:
        watch.check()
        time.sleep(0.01)


def test_a_run_without_any_worker_ends_when_its_patience_does():
    notices: list[str] = []
    watch = Watch(Client(workers={}), "tcp://there", 0.2, notices.append, lambda: None)
    with pytest.raises(RunAborted, match="the Dask scheduler at tcp://there has had no worker for 0 s"):
        check_until_it_raises(watch)
    (notice,) = notices
    assert notice.startswith("no Dask worker is left at tcp://there")


def test_a_worker_that_comes_back_is_told_and_the_run_goes_on():
    notices: list[str] = []
    client = Client(workers={})
    watch = Watch(client, "tcp://there", 1000.0, notices.append, lambda: None)
    watch.check()
    client.known = WORKER
    time.sleep(0.02)
    watch.check()
    assert notices[1:] == ["a Dask worker is available again"]


def test_a_lost_scheduler_ends_the_run():
    client = Client(**WORKER)
    watch = Watch(client, "tcp://there", None, print, lambda: None)
    watch.check()
    client.status = "closed"
    with pytest.raises(RunAborted, match="the Dask scheduler at tcp://there is gone"):
        watch.check()


def test_a_stop_does_not_wait_for_ever_for_a_worker_that_does_not_answer(monkeypatch):
    monkeypatch.setattr(dask_watch, "STOP_SECONDS", 0.2)
    answer = threading.Event()
    watch = Watch(Client(**WORKER), "tcp://there", None, print, answer.wait)
    while not watch.stopped():
        time.sleep(0.01)
    answer.set()


def test_a_stop_waits_for_workers_that_answer():
    asked = threading.Event()
    watch = Watch(Client(**WORKER), "tcp://there", None, print, asked.set)
    assert not watch.stopped()
    assert asked.wait(60)
    assert not watch.stopped()
