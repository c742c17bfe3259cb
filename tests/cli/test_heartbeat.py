"""A command whose output is piped says from time to time that it is alive."""

import time

from nodebench.cli import heartbeat, progress
from nodebench.cli.heartbeat import waiting
from nodebench.cli.progress import PlainDisplay
from nodebench.running.estimate import Costs
from nodebench.spec import Trial
from nodebench.trial.worker import Progress


def lines_within(capsys, seconds, wanted):
    """The lines on standard error until there are enough of them; the time is a guard."""
    until, text = time.monotonic() + seconds, ""
    while time.monotonic() < until and text.count("\n") < wanted:
        time.sleep(0.02)
        text += capsys.readouterr().err
    return text.splitlines()


def test_a_silent_trial_is_named_again_and_again(capsys, monkeypatch):
    monkeypatch.setattr(progress, "HEARTBEAT_SECONDS", 0.1)
    trial = Trial(task="toy/spiral", model="small", solver="dopri5", rtol=1e-3, atol=1e-3)
    with PlainDisplay([trial, trial.model_copy(update={"seed": 1})], Costs()) as display:
        assert "0 of 2 done; no trial running" in lines_within(capsys, 30, 1)[0]
        display.progress(trial, Progress("setup"))
        (*_, line) = lines_within(capsys, 30, 3)
        assert "0 of 2 done; small dopri5 1e-3 seed 0: setting up, for " in line
    capsys.readouterr()
    time.sleep(0.3)
    assert capsys.readouterr().err == ""  # it ends with the display


def test_lines_of_trials_put_the_heartbeat_off(capsys, monkeypatch):
    monkeypatch.setattr(progress, "HEARTBEAT_SECONDS", 3600.0)
    with PlainDisplay([], Costs()) as display:
        display.note("a line")
    assert capsys.readouterr().err == "a line\n"
    assert heartbeat.HEARTBEAT_SECONDS <= 30


def test_a_step_is_named_when_it_takes_long_and_not_otherwise(capsys, monkeypatch):
    with waiting("planning"):
        pass
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(heartbeat, "HEARTBEAT_SECONDS", 0.05)
    with waiting("planning"):
        lines = lines_within(capsys, 30, 2)
    assert len(lines) >= 2
    assert all(line.startswith("still planning (") for line in lines)
    capsys.readouterr()
    with waiting("planning", quiet=True):
        time.sleep(0.3)
    assert capsys.readouterr().err == ""
