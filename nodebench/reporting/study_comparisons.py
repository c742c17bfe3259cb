"""Comparisons of two arms on a study page: crossovers, costs at equal error, and break-even of compilation."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nodebench.analysis.break_even import break_even
from nodebench.analysis.crossovers import ArmAxes, Crossover, at_equal_error, crossover
from nodebench.analysis.fairness import points_of
from nodebench.analysis.readings import Reading, axis, final
from nodebench.analysis.statistics import Estimate
from nodebench.reporting.document import Block, Bullets, Cell, Heading, Paragraph, Table, number, slug
from nodebench.spec import Record
from nodebench.spec.metrics import short

_PEAK, _SECONDS, _CALLS = final("tensor_peak_bytes"), final("step_seconds"), final("nfe_forward")


@dataclass(frozen=True)
class CrossoverSpec:
    """A crossover: the value of an axis from which on one arm needs less of a quantity than another.

    Attributes:
        words: the start of the sentence; the answer is appended.
        group: the group of the study; empty for all.
        along: the axis; ``place`` is its name in the sentence.
        arms: the arm that may become cheaper, and the other arm.
        over: the axis of a trial that determines ``along``, if ``along`` does not read that axis itself.
        metric: the quantity that the first arm needs less of.
        price: the quantity that the first arm needs more of; ``priced`` is its name.
    """

    words: str
    group: str
    along: Reading
    place: str
    arms: tuple[ArmAxes, ArmAxes]
    metric: Reading
    price: Reading = _SECONDS
    priced: str = "time"
    over: str = ""


_ADJOINT, _DIRECT, _CHECKPOINT = ({"gradient": name} for name in ("adjoint", "direct", "checkpoint"))
_JOINT = {"solver": "dopri5", "batching": None}
_EACH = {"solver": "torchode:dopri5", "batching": "each"}
_EXPLICIT = {"solver": "dopri5"}


def _less_memory(
    who: str, than: str, group: str, along: Reading, place: str, arms: tuple[ArmAxes, ArmAxes], over: str = ""
) -> CrossoverSpec:
    return CrossoverSpec(f"{who} needs less memory than {than}", group, along, place, arms, _PEAK, over=over)


def _less_time(who: str, than: str, group: str, along: str, place: str, arms: tuple[ArmAxes, ArmAxes]) -> CrossoverSpec:
    """Return a crossover of the time of a step; its price is in calls of the field."""
    words = f"{who} takes less time than {than}"
    return CrossoverSpec(words, group, axis(along), place, arms, _SECONDS, _CALLS, "calls of the field")


def _by_calls(who: str, than: str, arms: tuple[ArmAxes, ArmAxes], group: str = "steps", of: str = "") -> CrossoverSpec:
    """Return a memory crossover over the number of evaluations, which the step size determines."""
    return _less_memory(who, than, group, _CALLS, f"the number of evaluations{of}", arms, "step_size")


CROSSOVERS: Mapping[str, tuple[CrossoverSpec, ...]] = {
    "memory": (
        _by_calls("The adjoint", "direct", (_ADJOINT, _DIRECT)),
        _by_calls("The adjoint", "direct", (_ADJOINT, _DIRECT), "network", " of the MNIST block"),
        _less_memory(
            "The adjoint", "direct", "outputs", axis("points"), "the number of output times", (_ADJOINT, _DIRECT)
        ),
    ),
    "gradients-all": (
        _by_calls("The adjoint", "direct", (_ADJOINT, _DIRECT)),
        _by_calls("The adjoint", "checkpointing", (_ADJOINT, _CHECKPOINT)),
        _by_calls("Checkpointing", "direct", (_CHECKPOINT, _DIRECT)),
    ),
    "batching": (
        CrossoverSpec(
            "Stepping each sample separately (torchode) takes fewer evaluations per sample than joint stepping",
            "stiffness",
            axis("mu"),
            "μ",
            (_EACH, _JOINT),
            final("sample_evaluations"),
        ),
        _less_time(
            "Stepping each sample separately (torchode)", "joint stepping", "stiffness", "mu", "μ", (_EACH, _JOINT)
        ),
        _less_time(
            "At μ = 10, stepping each sample separately (torchode)",
            "joint stepping",
            "size",
            "starts",
            "the batch size",
            (_EACH, _JOINT),
        ),
    ),
    "stiffness": (
        _less_time("SciPy's LSODA", "dopri5", "", "mu", "μ", ({"solver": "scipy:LSODA"}, _EXPLICIT)),
        _less_time("SciPy's Radau", "dopri5", "", "mu", "μ", ({"solver": "scipy:Radau"}, _EXPLICIT)),
        CrossoverSpec(
            "Within diffrax, kvaerno5 takes less time than tsit5",
            "",
            axis("mu"),
            "μ",
            ({"solver": "diffrax:kvaerno5"}, {"solver": "diffrax:tsit5"}),
            _SECONDS,
        ),
    ),
}


def crossovers(study: str, records: Sequence[Record], which: str = "") -> list[Block]:
    """Return a sentence per crossover of a study; ``which`` describes the records in the heading."""
    lines = []
    for one in CROSSOVERS.get(study, ()):
        some = [record for record in records if not one.group or one.group in record.place.groups]
        found = crossover(points_of(some), one.along, one.metric, one.price, one.arms, one.over)
        if found is not None:
            lines.append(_crossover_line(one, found))
    return [Heading(", ".join(filter(None, ("Crossovers", which)))), Bullets(lines)] if lines else []


def _crossover_line(one: CrossoverSpec, found: Crossover) -> str:
    low, high = map(_place, found.span)
    if set(found.each) == {-math.inf}:
        answer = f"at all measured values of {one.place}, {low} to {high}"
    elif set(found.each) == {math.inf}:
        answer = f"at no measured value of {one.place}, {low} to {high}"
    elif any(map(math.isinf, found.each)):
        places = ", ".join(map(_from_where, sorted(found.each)))
        answer = f"from a value of {one.place} that differs between replicates: {places}; measured from {low} to {high}"
    else:
        answer = f"if {one.place} is at least {_place(found.at.value)}{_interval(found)}, measured from {low} to {high}"
    price = f"; at {high} it costs {found.price:.2g} × the {one.priced}" if found.price is not None else ""
    return f"{one.words} {answer}{price} (n = {found.at.n})."


def _place(value: float) -> str:
    return short(value, 4)


def _from_where(place: float) -> str:
    return ("everywhere" if place < 0 else "nowhere") if math.isinf(place) else _place(place)


def _interval(found: Crossover) -> str:
    """Return the interval; an end outside the measured range is given as ``below`` or ``above`` it.

    The text is empty if all replicates have the same crossover.
    """
    low, high = found.at.low, found.at.high
    if low == high:
        return ""
    first, last = found.span
    below = _place(low) if low >= first else f"below {_place(first)}"
    above = _place(high) if high <= last else f"above {_place(last)}"
    return f" [{below}, {above}]"


# --- at equal error

_COSTS = (
    ("evaluations per sample, forward", final("sample_evaluations")),
    ("time of a training step", final("step_seconds")),
    ("peak of live tensors", final("tensor_peak_bytes")),
    ("growth of process memory", final("process_peak_bytes")),
)
_ERRORS = (("solution", final("solution_error")), ("gradient", final("gradient_error")))


@dataclass(frozen=True)
class Equal:
    """A table of the costs of arms relative to a baseline at equal error."""

    caption: str
    groups: tuple[str, ...]
    base: ArmAxes
    arms: Mapping[str, ArmAxes]
    costs: tuple[tuple[str, Reading], ...] = _COSTS


_LIBRARIES: Mapping[str, ArmAxes] = {
    "torchode dopri5": {"solver": "torchode:dopri5"},
    "torchode tsit5": {"solver": "torchode:tsit5"},
    "torchdyn dopri5": {"solver": "torchdyn:dopri5"},
    "diffrax dopri5": {"solver": "diffrax:dopri5", "first_step": None},
    "diffrax dopri5, first step 0.1": {"solver": "diffrax:dopri5", "first_step": 0.1},
    "diffrax tsit5": {"solver": "diffrax:tsit5", "first_step": None},
    "diffrax tsit5, first step 0.1": {"solver": "diffrax:tsit5", "first_step": 0.1},
}
_GRADIENTS = {name: {"gradient": name} for name in ("checkpoint", "adjoint", "adjoint-seminorm")}
_TASKS = (("Spiral", "spiral"), ("Lotka–Volterra", "lotka-volterra"), ("MNIST", "mnist"))

EQUALS: Mapping[str, tuple[Equal, ...]] = {
    "libraries": tuple(
        Equal(
            f"{name}: costs of each library relative to torchdiffeq's dopri5, at equal error",
            (group, f"{group}-diffrax", f"{group}-diffrax-first-step"),
            {"solver": "dopri5"},
            _LIBRARIES,
            # For a small field, the memory of a torch library's process is mostly the meters' own lists.
            _COSTS if group == "mnist" else _COSTS[:3],
        )
        for name, group in _TASKS
    ),
    "gradients-all": tuple(
        Equal(
            f"{name}: costs of each gradient relative to direct, at equal error",
            (group,),
            {"gradient": "direct"},
            _GRADIENTS,
            _COSTS[1:3],
        )
        for name, group in _TASKS
    ),
}


def equals(study: str, records: Sequence[Record], which: str = "") -> list[Block]:
    """Return a table per comparison at equal error; ``which`` describes the records in heading and names."""
    tables: list[Block] = []
    for index, one in enumerate(EQUALS.get(study, ())):
        some = [record for record in records if set(one.groups) & set(record.place.groups)]
        rows = []
        for name, arm in one.arms.items():
            for of, error in _ERRORS:
                cells = [_ratio(at_equal_error(some, error, cost, (arm, one.base))) for _, cost in one.costs]
                if any(cell.value is not None for cell in cells):
                    rows.append([Cell(name), Cell(of), *cells])
        if rows:
            header = ("arm", "equal error of the", *(label for label, _ in one.costs))
            name = slug(f"study-{study}-equal-{index}") + (f"-{slug(which)}" if which else "")
            caption = one.caption + (f" ({which})" if which else "")
            tables.append(Table(name, caption, header, rows))
    if not tables:
        return []
    note = (
        "Ratios with their 95 % intervals. The tolerances of a replicate give a curve of cost against achieved error. "
        "Two curves are compared over the errors that both achieve, never at equal nominal tolerance."
    )
    return [Heading(", ".join(filter(None, ("At equal error", which)))), Paragraph(note), *tables]


def _ratio(found: Estimate | None) -> Cell:
    if found is None:
        return Cell("–", None, "number")
    low, high = ("∞" if math.isinf(edge) else f"{edge:.2g}" for edge in (found.low, found.high))
    low = "0" if found.low == -math.inf else low
    return number(f"{found.value:.2g} × [{low}, {high}], n = {found.n}", found.value)


# --- break-even of a slow first step

_EAGER: ArmAxes = {"solver": "dopri5", "compile": None}
_BREAK_EVEN_ARMS: Mapping[str, ArmAxes] = {
    "torchdiffeq, compiled field": {"solver": "dopri5", "compile": "field"},
    "torchode, eager": {"solver": "torchode:dopri5", "compile": None},
    "torchode, compiled field": {"solver": "torchode:dopri5", "compile": "field"},
    "torchode, compiled solver": {"solver": "torchode:dopri5", "compile": "solver"},
    "diffrax, gradient checkpoint": {"solver": "diffrax:dopri5", "compile": None},
}
BREAK_EVENS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "compile": (("Spiral", "spiral"), ("Continuous flow", "flow"), ("MNIST", "mnist")),
}


def break_evens(study: str, records: Sequence[Record], which: str = "") -> list[Block]:
    """Return a break-even table per task; ``which`` describes the records in heading and names."""
    tables: list[Block] = []
    for about, group in BREAK_EVENS.get(study, ()):
        some = [record for record in records if any(name.startswith(group) for name in record.place.groups)]
        rows = []
        for name, arm in _BREAK_EVEN_ARMS.items():
            if (found := break_even(some, arm, _EAGER)) is not None:
                first = number(f"{found.first:.3g} s", found.first)
                rows.append([Cell(name), first, _ratio(found.ratio), _steps(found.steps)])
        if rows:
            header = ("arm", "first step", "later step relative to eager torchdiffeq", "break-even, training steps")
            name = slug(f"study-{study}-break-even-{group}") + (f"-{slug(which)}" if which else "")
            tables.append(Table(name, f"{about}: compilation break-even" + f" ({which})" * bool(which), header, rows))
    if not tables:
        return []
    note = (
        "The first step of a compiled arm, and of diffrax, includes compilation. Break-even is the number of training "
        "steps after which the total time of an arm is at most that of torchdiffeq without compilation. It is computed "
        "from the first step and the median later step, without later compilations. ∞ means that later steps are not "
        "faster. The gradient is direct, or checkpoint for diffrax."
    )
    return [Heading(", ".join(filter(None, ("When compilation pays off", which)))), Paragraph(note), *tables]


def _steps(found: Estimate) -> Cell:
    places = (found.value, max(found.low, 1.0), found.high)
    value, low, high = ("∞" if math.isinf(one) else f"{one:,.0f}" for one in places)
    return number(f"{value} [{low}, {high}], n = {found.n}", found.value)
