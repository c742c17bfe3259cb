"""Measure candidates for a recommendation within a time budget."""

import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from nodebench.analysis.recommend import WITHIN_LIMITS, Candidate, CandidateStatus, Limits, Recommendation
from nodebench.analysis.recommend import recommend as recommend_from
from nodebench.api.recommend_records import LIMITS, Asked, Found, matching, study_of
from nodebench.errors import BadInput
from nodebench.running.listener import Listener
from nodebench.running.session import Execution, Session, run_more, run_study
from nodebench.spec import Status, Study, Trial

LEAST, MOST = 3, 10  # replicates of a candidate that may be chosen
NEAR = 1.5  # candidates slower than this multiple of the choice's time are not measured again


def measured_within(
    asked: Asked, solvers: Sequence[str], minutes: float, limits: Limits, results: Path, listener: Listener
) -> Found:
    """Run every candidate once, then repeat the choice and nearly as fast candidates until the choice is certain.

    Args:
        asked: the problem.
        solvers: names; empty for the default ones.
        minutes: time budget. Trials that are still running at its end are stopped.
        limits: what a choice must meet.
        results: where the run is kept.
        listener: shows the progress.

    Raises:
        BadInput: the time is up before any candidate was measured.
    """
    if not minutes > 0:
        raise BadInput(f"--minutes {minutes:g}: must be a positive number")
    how = Execution(results, limits=LIMITS, until=time.monotonic() + 60 * minutes)
    session = run_study(study_of(asked, solvers, seeds=1), how, listener)
    found = _found(session, session.planned)
    if found.unmeasured == session.planned and not (session.stopped or session.failure):
        raise BadInput(f"--minutes {minutes:g}: the time ran out before any trial finished")
    candidates = session.planned
    study = session.run.study()
    for seed in range(1, MOST):
        if session.stopped or session.failure or how.seconds_left <= 0:
            break
        answer = recommend_from(matching(asked, found, "", results)[0], limits)
        again = contenders(answer, seed)
        if not again:
            break
        session = _run_again(session, study, [one.record.trial for one in again], seed, how, listener)
        found = _found(session, candidates)
    return found


def _found(session: Session, candidates: int) -> Found:
    """Return the records of the trials that were not interrupted."""
    ended = [record for record in session.records if record.status is not Status.INTERRUPTED]
    known = {record.trial.model_copy(update={"seed": 0}).id for record in ended}
    return Found({session.run.folder.name: ended}, session, candidates - len(known))


def contenders(answer: Recommendation, replicates: int) -> list[Candidate]:
    """Return the candidates that may still become the choice, so that they are measured again.

    They are the current choice, the candidates that are nearly as fast, and those without a usable time.

    Args:
        answer: the recommendation from the trials so far.
        replicates: number of replicates of each contender.

    Returns:
        list: empty if no candidate may become the choice, or if the choice is certain.
    """
    choice = answer.choice
    if choice is None:
        return [one for one in answer.candidates if one.status is CandidateStatus.UNTIMED]
    if replicates >= LEAST and answer.time_ratio is not None and answer.time_ratio.low > 1:
        return []
    assert choice.seconds is not None
    near = NEAR * choice.seconds
    fit = [one for one in answer.candidates if one.status in (*WITHIN_LIMITS, CandidateStatus.UNTIMED)]
    found = [one for one in fit if one.seconds is None or one.seconds <= near]
    if answer.runner_up is not None and answer.runner_up not in found:
        found.append(answer.runner_up)
    return found if len(found) > 1 else []


def _run_again(
    session: Session, study: Study, trials: Iterable[Trial], seed: int, how: Execution, listener: Listener
) -> Session:
    """Run trials with another seed, in the same run."""
    from nodebench.running.plan import plan

    ids = {trial.model_copy(update={"seed": seed}).id for trial in trials}
    study = study.with_axes(seed=[seed])
    return run_more(session.run, study, [one for one in plan(study).planned if one.trial.id in ids], how, listener)
