"""Match records to claims by the content of their trials, not by the run or study that made them.

The content of a trial is its axes and all options of its task, defaults included, without the seed and the number of
threads. The frozen declarations hold the content of every trial that a claim asks for. Therefore a later change of a
default, or a user's own study of the same name, cannot change a verdict.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from pydantic import Field

from nodebench.analysis.fairness import Point
from nodebench.analysis.study_membership import is_value
from nodebench.claims.contract import Claim
from nodebench.spec.frozen import Frozen
from nodebench.spec.trial import Scalar

# Not part of the content: replicates differ in the seed, other checks compare the threads and the preset.
_NOT_CONTENT = frozenset({"seed", "threads", "preset"})


class Content(Frozen):
    """The trials of one group of a study.

    Attributes:
        fixed: axes and options that all of them have in common.
        varied: axes and options that differ, each with its values.
        neutral: for each option of the task, the value that gives the behaviour from before the option existed; a
            record without the option counts as having this value.
    """

    fixed: dict[str, Scalar | None] = Field(default_factory=dict)
    varied: dict[str, list[Scalar | None]] = Field(default_factory=dict)
    neutral: dict[str, Scalar | None] = Field(default_factory=dict)

    def holds(self, axes: Mapping[str, Scalar | None]) -> bool:
        """Return whether the group contains a trial with these axes and options."""
        for name, values in self._wanted.items():
            if not is_value(axes.get(name, self.neutral.get(name)), values):
                return False
        return all(value is None or name in self._wanted or name in _NOT_CONTENT for name, value in axes.items())

    def filled(self, axes: Mapping[str, Scalar | None]) -> dict[str, Scalar | None]:
        """Add the options that did not exist yet when the record was made, at their neutral values."""
        return {name: self.neutral[name] for name in sorted(self._wanted.keys() & self.neutral.keys())} | dict(axes)

    @cached_property
    def _wanted(self) -> dict[str, list[Scalar | None]]:
        """The values of each axis and option."""
        return {name: [value] for name, value in self.fixed.items()} | self.varied


def content_of(trials: Iterable[Mapping[str, Any]], neutral: Mapping[str, Any]) -> Content:
    """Describe trials of one task, each given as its axes and options.

    Args:
        trials: axes and options of each.
        neutral: the defaults of the task's options.
    """
    rows = list(trials)
    names = dict.fromkeys(name for row in rows for name in row if name not in _NOT_CONTENT)
    values = {name: list(dict.fromkeys(row.get(name) for row in rows)) for name in names}
    return Content(
        fixed={name: found[0] for name, found in sorted(values.items()) if len(found) == 1},
        varied={name: found for name, found in sorted(values.items()) if len(found) > 1},
        neutral={name: value for name, value in sorted(neutral.items()) if value is not None},
    )


def content_key(point: Point) -> Hashable:
    """Return a key that is equal for records of the same content and preset."""
    named = (item for item in point.axes.items() if item[0] == "preset" or item[0] not in _NOT_CONTENT)
    return tuple(sorted((name, repr(value)) for name, value in named))


def as_read(claim: Claim, contents: Sequence[Content] | None, points: Sequence[Point]) -> list[Point]:
    """Return records with missing options added at their neutral values; empty if the claim does not read them.

    Args:
        claim: a claim.
        contents: the frozen content of the trials that its studies ask for; None if the claim is not frozen. In that
            case only its preset and the axes of its arms select records.
        points: records with the same ``content_key``.
    """
    axes = points[0].axes
    if axes.get("preset") != claim.preset:
        return []
    if contents is None:
        return list(points)
    asked = {**axes, "device": "cpu"} if claim.any_device else axes
    content = next((content for content in contents if content.holds(asked)), None)
    return [replace(point, axes=content.filled(point.axes)) for point in points] if content else []
