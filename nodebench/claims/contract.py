"""A claim: a declaration that one piece of code (``nodebench.claims.judge``) tests against the records.

A claim has parts. A part measures one number per replicate, under one or several conditions. It declares which values
support it and which refute it; a value in neither region makes it *partly* true. Each condition gets a verdict of its
own, and the verdict on the claim follows from its kind (see ``Kind``).

A declaration is frozen with a date, and its page says how many records are older (``nodebench.claims.freeze``).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Literal

from nodebench.analysis.readings import Reading
from nodebench.analysis.regions import Regions
from nodebench.analysis.statistics import EVERYTHING, Range, Scale
from nodebench.analysis.study_membership import is_at
from nodebench.spec.metrics import short
from nodebench.spec.trial import Scalar

_LEAST_PERCENT = 1e-3  # smaller percentages are shown as "< 0.001"

Wanted = Scalar | None | tuple[Scalar | None, ...]
Where = Mapping[str, Wanted]


class Kind(StrEnum):
    """How the verdict on a claim follows from those on its conditions.

    ``universal``: the source says "always", or states a theorem. One refuted condition refutes the claim; support needs
    every condition. ``conditional``: supported or refuted if every home condition is decided and all decided conditions
    agree; *depends* if some are supported and some refuted. ``identity``: an exact identity or a theorem that only
    checks the instruments; it is listed apart from the other verdicts.
    """

    UNIVERSAL = "universal"
    CONDITIONAL = "conditional"
    IDENTITY = "identity"


class Topic(StrEnum):
    """The question that a claim answers; the report groups claims by it."""

    MEMORY = "memory"
    TIME = "time"
    ACCURACY = "accuracy"
    EVALUATIONS = "evaluations"
    GRADIENTS = "gradients"
    SERIES = "series"
    DENSITIES = "densities"
    LIBRARIES = "libraries"


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a sentence was published.

    Attributes:
        paper: authors and year.
        place: section, figure or table.
        quote: a short verbatim sentence.
        link: address of the paper.
        read: where the quote was read: in the full text, in the abstract, or in a report by others.
    """

    paper: str
    place: str
    quote: str
    link: str = ""
    read: Literal["text", "abstract", "reported"] = "text"


@dataclass(frozen=True)
class Arm:
    """The records on one side of a comparison.

    Attributes:
        name: for people.
        where: axes and options with the value required, or a tuple of those allowed.
    """

    name: str
    where: Where

    def reads(self, axes: Mapping[str, Scalar | None]) -> bool:
        """Return whether a record with these axes belongs to this arm.

        A record with an explicit first step belongs to it only if ``where`` names ``first_step``.
        """
        return is_at(axes, {"first_step": None, **self.where})

    def but(self, name: str, **where: Wanted) -> "Arm":
        """The same arm with other values on some axes."""
        return Arm(name, {**self.where, **where})


@dataclass(frozen=True)
class Fit:
    """A line fitted to the records of one replicate along an axis; the measured number is a property of the line.

    Attributes:
        along: the axis.
        x: the reading on the abscissa.
        take: ``slope``, ``r_squared``, or ``offset`` (the intercept's share of the mean).
        logs: whether both readings are taken as logarithms.
    """

    along: str
    x: Reading
    take: Literal["slope", "r_squared", "offset"] = "slope"
    logs: bool = False


@dataclass(frozen=True)
class Match:
    """A comparison of two arms at equal error; each arm is a curve of cost over achieved error.

    Equal tolerances do not mean equal errors in two libraries. The measured number is the ratio of the two curves,
    interpolated on logarithmic axes and averaged over the range of errors that both arms reach in one replicate.

    Attributes:
        along: the axis along which the curves run.
        error: the achieved error.
    """

    along: str
    error: Reading


# Axes that a model without an ODE does not have.
SOLVING = ("solver", "gradient", "rtol", "atol", "step_size")


@dataclass(frozen=True)
class Part:
    """One statement of a claim, measured as one number per replicate.

    Attributes:
        words: the effect in plain words, with ``{}`` for the number.
        label: names the condition if no axis does, for example the tolerance at which a network is evaluated.
        reading: what is read from each record.
        arm: the records that are read.
        against: records of a second arm, paired with the first by seed.
        combine: the ``ratio`` or the ``difference`` of the two arms.
        supports: values for which the part holds.
        refutes: values for which it does not hold; by default all that are not in ``supports``.
        conditions: names of axes; each combination of their values is a condition.
        home: axis values that identify the source's own conditions; ``{}`` selects all conditions, None selects none.
        joint: parts with the same name hold or fail together under each condition.
        fit: a line over some axis instead of a single record.
        match: a curve over some axis, compared at equal error; it needs two arms.
        may_differ: axes in which the arms may differ, beside those that distinguish them.
        scale: the scale on which replicates are averaged.
        within: the range of possible values of the number; its interval is clipped to this range.
        unit: of the number.
        test_set: whether the reading is a percentage of a test set that all replicates share; the interval then
            includes the sampling error of the test set.
    """

    words: str
    reading: Reading
    arm: Arm
    against: Arm | None = None
    combine: Literal["ratio", "difference"] = "ratio"
    supports: Range = EVERYTHING
    refutes: tuple[Range, ...] | None = None
    conditions: tuple[str, ...] = ()
    home: Where | None = None
    joint: str = ""
    fit: Fit | None = None
    match: Match | None = None
    may_differ: tuple[str, ...] = ()
    scale: Scale = "linear"
    within: Range = EVERYTHING
    unit: Literal["", "×", "points", "%"] = ""
    test_set: bool = False
    label: str = ""

    @property
    def along(self) -> tuple[str, ...]:
        """The axis along which a replicate has several records; empty if it has one."""
        return tuple(one.along for one in (self.fit, self.match) if one)

    @property
    def arms(self) -> tuple[Arm, ...]:
        """Its one or two arms."""
        return (self.arm,) if self.against is None else (self.arm, self.against)

    @property
    def regions(self) -> Regions:
        """The values that support it, refute it, or make it partly true."""
        return Regions(self.supports, self.refutes)

    def number(self, value: float) -> str:
        """Format a value of the number without its unit."""
        if math.isinf(value):
            return "∞" if value > 0 else "−∞"
        if self.unit == "%":
            value *= 100
            if 0 < value < _LEAST_PERCENT:
                return f"< {_LEAST_PERCENT:g}"
        plain = short(value, 3)
        text = f"{value:+.2f}" if self.unit == "points" else plain
        return text.replace("-", "−")

    @property
    def suffix(self) -> str:
        """The unit with a leading space, to append to a number; empty if there is no unit."""
        return f" {self.unit}" if self.unit else ""


# A part whose number is a factor, shown with ×; its replicates are averaged as logarithms.
ratio = partial(Part, scale="log", unit="×")


@dataclass(frozen=True)
class Gate:
    """Which networks are competent enough for an accuracy claim to be judged on them.

    Attributes:
        metric: the error of a network.
        baseline: a plain network of the same task; a network that is worse than it is not competent.
        limit: the largest error of a competent network, instead of a baseline; with neither, only the training loss
            counts.
        still_falling: the largest allowed relative decrease of the training loss in the last tenth of the training. A
            loss close to its minimum may decrease by more; see ``negligible``. With infinity, networks that still
            improve are judged too.
    """

    metric: Reading
    baseline: Arm | None = None
    limit: float | None = None
    still_falling: float = 0.05

    @property
    def negligible(self) -> float:
        """The largest decrease to ignore near the minimum of the loss, as a share of the loss of the first epoch."""
        return min(0.01, self.still_falling)


@dataclass(frozen=True)
class Control:
    """A measurement that helps to interpret a verdict and does not change it.

    Attributes:
        says: what is expected.
        part: how it is tested.
    """

    says: str
    part: Part


Scope = Literal["paper", "default"]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One published sentence at one scope.

    Attributes:
        id: identifier; together with the scope it forms the name of the claim.
        scope: ``paper`` uses the source's solver and kind of task; ``default`` is what a user of today's defaults gets.
        kind: how its conditions are combined.
        topic: the question it answers.
        sentence: the claim in our words.
        source: the sentence as published.
        published: the published value.
        published_value: the same as a number on the scale of the first part, or None.
        home: the condition in which the source makes the claim, in words; see ``Part.home``.
        studies: shipped studies that measure it.
        preset: the preset (scale) at which the studies run.
        parts: what is measured.
        controls: measurements that help to interpret the verdict.
        traps: alternative explanations of the measured value.
        fairness: how each method was configured, and whose recommendations were followed.
        gate: the competence that its networks need, if the claim is about accuracy.
        counts_with: name of another claim that tests the same effect on the same records, with other thresholds; the
            two count once in the correction of p-values.
        failures: what is done with failed trials.
        any_device: whether records of an accelerator count, although its studies ask for the CPU. This is for
            readings that hold on every device, such as the accuracy of a trained network; the arms of one replicate
            always ran on one machine.
    """

    id: str
    scope: Scope = "default"
    kind: Kind = Kind.CONDITIONAL
    topic: Topic
    sentence: str
    source: Source
    published: str
    published_value: float | None = None
    home: str
    studies: tuple[str, ...]
    preset: str = "quick"
    parts: tuple[Part, ...]
    controls: tuple[Control, ...] = ()
    traps: tuple[str, ...] = ()
    fairness: str = ""
    gate: Gate | None = None
    counts_with: str | None = None
    failures: str = (
        "A trial that failed because of its method (time, evaluations, memory, step size, a state that is not finite) "
        "counts as worse than every finished one; a trial that failed for another reason is left out and counted."
    )
    any_device: bool = False

    @property
    def command(self) -> str:
        """The command that measures it."""
        scale = "" if self.preset == "quick" else f" --preset {self.preset}"
        return "; ".join(f"nodebench study run {study}{scale}" for study in self.studies)

    @property
    def name(self) -> str:
        """The id with its scope."""
        return f"{self.id} ({self.scope})"

    @property
    def every_part(self) -> tuple[Part, ...]:
        """Its parts and those of its controls."""
        return (*self.parts, *(control.part for control in self.controls))

    @property
    def arms(self) -> tuple[Arm, ...]:
        """The arms of its parts and controls, and the baseline of its gate."""
        baseline = self.gate.baseline if self.gate else None
        return (*(arm for part in self.every_part for arm in part.arms), *([baseline] if baseline else []))
