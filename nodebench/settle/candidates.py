"""Find what to measure next: for each undecided condition, the trials up to a planned look (interim analysis)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from nodebench.analysis.fairness import unreliable
from nodebench.analysis.forecast import decision_probabilities
from nodebench.analysis.readings import all_paired
from nodebench.analysis.sequential import LOOKS
from nodebench.analysis.study_membership import is_at
from nodebench.claims import Claim, ClaimResult, ConditionResult, Kind, PartResult
from nodebench.claims.content import Content
from nodebench.claims.gather import Evidence
from nodebench.claims.judge import CONFIRMED
from nodebench.claims.outcome import WhyCode
from nodebench.running.estimate import Costs
from nodebench.running.plan import Planned
from nodebench.settle.required_trials import asked, axes_of, studies_of
from nodebench.spec import Record, Request, Study, Trial

THREADS = 1
# Assumed probability for a condition without results, so that it is measured at all.
UNKNOWN_PROBABILITY = 0.3
# Assumed duration of a trial without an estimate, in seconds.
UNKNOWN_SECONDS = 120.0
# Worth (see ``worth_of``) of a condition that cannot decide its claim.
ASIDE = 0.1
_HOPELESS = frozenset({WhyCode.INCOMPETENT, WhyCode.STILL_TRAINING})


@dataclass(frozen=True)
class Candidate:
    """The missing trials of an undecided condition up to the planned look with the best probability for its cost.

    Attributes:
        claim: the name of the claim.
        condition: label of the condition.
        replicates: number of replicates at the look.
        probability: probability that the look decides the condition.
        worth: what deciding the condition contributes to deciding its claim.
        seconds: estimated time of the missing trials, run one after another.
        todo: the missing trials, grouped by study.
        timed: whether a time is read from the trials. If so, each trial must run alone.
        shared: expected number of other claims that the same trials decide. Another condition counts only if all its
            missing trials are among these.
    """

    claim: str
    condition: str
    replicates: int
    probability: float
    worth: float
    seconds: float
    todo: tuple[tuple[Study, tuple[Planned, ...]], ...]
    timed: bool
    shared: float = 0.0

    @property
    def trials(self) -> frozenset[str]:
        """The ids of the missing trials."""
        return frozenset(one.trial.id for _, planned in self.todo for one in planned)

    @property
    def requests(self) -> dict[str, list[Request]]:
        """The measurements requested of each missing trial, by trial id."""
        found: dict[str, list[Request]] = {}
        for _, planned in self.todo:
            for one in planned:
                found.setdefault(one.trial.id, []).append(one.request)
        return found

    @property
    def rate(self) -> float:
        """Expected number of claims decided per hour, other claims included."""
        return 3600 * (self.decisions + self.shared) / max(self.seconds, 1.0)

    @property
    def decisions(self) -> float:
        """Expected number of claims that this condition decides."""
        return self.worth * self.probability


def candidates(
    results: Sequence[ClaimResult],
    records: Sequence[Record],
    costs: Costs,
    contents: Mapping[str, Sequence[Content]],
    available: frozenset[str] = frozenset(),
) -> list[Candidate]:
    """Return a candidate for each undecided condition that more replicates could decide, sorted by decreasing rate.

    Args:
        results: results of the claims to settle.
        records: all existing records.
        costs: run times of trials on this machine.
        contents: the trials that each claim reads, by claim name.
        available: data sets that are available in addition to those shipped with the package.
    """
    evidence = Evidence(records, (), contents)
    found = []
    for result in results:
        if result.claim.kind is Kind.IDENTITY and result.verdict.is_decided:
            continue
        planned = _Planned(result.claim, available)
        outcomes = [point.record for point in evidence.read_by(result.claim) if point.is_outcome]
        found += [c for one in result.conditions if (c := _candidate(result, one, planned, outcomes, costs))]
    return sorted(_sharing(found), key=lambda one: -one.rate)


def _sharing(found: Sequence[Candidate]) -> list[Candidate]:
    """Return the candidates with ``shared`` filled in."""
    asked = [one.requests for one in found]

    def shared(i: int) -> float:
        best: dict[str, float] = {}
        for j, other in enumerate(found):
            usable = found[i].timed or not other.timed  # a time is read only from a trial that runs alone
            if other.claim != found[i].claim and usable and _holds(asked[i], asked[j]):
                best[other.claim] = max(best.get(other.claim, 0.0), other.decisions)
        return sum(best.values())

    return [replace(one, shared=shared(i)) for i, one in enumerate(found)]


def _holds(run: Mapping[str, Sequence[Request]], wanted: Mapping[str, Sequence[Request]]) -> bool:
    """Return whether the requests in ``run`` cover every request in ``wanted``."""
    if not wanted.keys() <= run.keys():
        return False
    return all(any(_covers(one, each) for one in run[id]) for id, requests in wanted.items() for each in requests)


def _covers(run: Request, wanted: Request) -> bool:
    return set(wanted.passes) <= set(run.passes) and wanted.against in (None, run.against)


class _Planned:
    """The planned trials of a claim's studies, cached by number of seeds."""

    def __init__(self, claim: Claim, available: frozenset[str]) -> None:
        self._claim = claim
        self._studies = [study for study in studies_of(claim) if _is_available(study, available)]
        self._known: dict[int, list[tuple[Study, list[Planned]]]] = {}

    def of(self, seeds: int) -> list[tuple[Study, list[Planned]]]:
        if seeds not in self._known:
            wanted = [study.with_axes(seed=list(range(seeds)), threads=THREADS) for study in self._studies]
            self._known[seeds] = [(study, asked(self._claim, study)) for study in wanted]
        return self._known[seeds]


def _is_available(study: Study, available: frozenset[str]) -> bool:
    shipped = {"mnist-5k", "ecgsyn"}
    wanted = {name for grid in study.groups.values() for name in grid.dataset}
    return wanted <= shipped | available


def _candidate(
    result: ClaimResult, condition: ConditionResult, planned: _Planned, outcomes: Sequence[Record], costs: Costs
) -> Candidate | None:
    claim = result.claim
    if condition.verdict.is_decided or (condition.why and condition.why.code in _HOPELESS):
        return None
    replicates, probability = next_look(condition)
    if probability == 0:
        return None
    readings = [one.part.reading for one in condition.parts]
    timed, paired = any(reading.timed for reading in readings), all_paired(readings)
    there: dict[str, list[Record]] = {}
    for record in outcomes:
        if not unreliable(record, timed, paired):
            there.setdefault(record.id, []).append(record)
    todo = []
    for study, trials in planned.of(replicates):
        mine = (p for p in trials if _is_of(claim, condition, p.trial))
        missing = tuple(p for p in mine if not any(one.answers(p.request) for one in there.get(p.trial.id, ())))
        if missing:
            todo.append((study, missing))
    if not todo:
        return None
    seconds = sum(_seconds(one.trial, costs) for _, missing in todo for one in missing)
    worth = worth_of(result, condition)
    return Candidate(claim.name, condition.label, replicates, probability, worth, seconds, tuple(todo), timed)


def worth_of(result: ClaimResult, condition: ConditionResult) -> float:
    """Return how much a condition contributes to deciding its claim.

    1 if the condition decides the claim alone, 1/k if the claim needs all k undecided conditions, and ``ASIDE`` if the
    condition cannot decide the claim.
    """
    if result.verdict.is_decided:
        return ASIDE
    universal = result.claim.kind is Kind.UNIVERSAL
    if not (universal or condition.home):
        return ASIDE
    return 1 / sum(not one.verdict.is_decided for one in result.conditions if universal or one.home)


def next_look(condition: ConditionResult) -> tuple[int, float]:
    """Return the replicates at the next look, and the probability that it decides the condition (0: no look is left).

    A later planned look is chosen if its probability per additional replicate is higher.
    """
    undecided = [one for one in condition.parts if not one.verdict.is_decided] or list(condition.parts)
    looks = [_look_of(one) for one in undecided]
    replicates = max(n for n, _ in looks)
    probability = 1.0
    for n, chance in looks:
        probability *= chance if n == replicates or chance == 0 else 1.0
    return replicates, probability


def _look_of(result: PartResult) -> tuple[int, float]:
    known = result.replicates
    if known is None or known.n < LOOKS[0]:
        exact = result.part.reading.exact and (known is None or known.are_equal)
        return (CONFIRMED if exact else LOOKS[0]), (1.0 if exact else UNKNOWN_PROBABILITY)
    chances = decision_probabilities(known, result.part.regions)
    later = {n: chance for n, chance in chances.items() if n > known.n}
    if later:
        n = max(later, key=lambda n: later[n] / (n - known.n))
        return n, later[n]
    next_looks = [n for n in LOOKS if n > known.n]
    return (next_looks[0], UNKNOWN_PROBABILITY) if next_looks and not chances else (known.n, 0.0)


def _is_of(claim: Claim, condition: ConditionResult, trial: Trial) -> bool:
    """Return whether a condition, or the gate of its claim, reads a trial."""
    axes = axes_of(trial)
    if claim.gate and claim.gate.baseline and claim.gate.baseline.reads(axes):
        return True
    return any(
        arm.reads(axes) and is_at(axes, one.sample.condition) for one in condition.parts for arm in one.part.arms
    )


def _seconds(trial: Trial, costs: Costs) -> float:
    known = costs.of(trial)
    return known[0] if known else UNKNOWN_SECONDS


def decided(results: Iterable[ClaimResult]) -> set[str]:
    """The names of the claims that are decided."""
    return {result.claim.name for result in results if result.verdict.is_decided}
