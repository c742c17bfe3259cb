"""Noise of a machine: variation of a metric between identical trials, and the effects that replicates can detect.

The logarithm of a metric is modelled as the sum of a true value, a deviation of the round and a deviation of the trial.
This is the one-way random-effects model. Its two variances are estimated by the analysis of variance (Searle, Casella
and McCulloch 1992, chapter 3). Arms in one round share the deviation of the round; two runs do not.
"""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import special

from nodebench.analysis.statistics import LEVEL, Range
from nodebench.spec import Record
from nodebench.spec.calibration import Calibration, machine_of

ASSUMED = 0.02  # least standard deviation that is assumed between runs, on the log scale
POWER = 0.8  # probability with which an effect of the smallest detectable size is detected


@dataclass(frozen=True)
class Noise:
    """Standard deviations of the logarithm of a metric, with their degrees of freedom.

    Attributes:
        within: standard deviation of the trials within a round.
        within_freedom: degrees of freedom of ``within``.
        between: standard deviation between rounds, in addition to ``within``.
        between_freedom: degrees of freedom of ``between``.
    """

    within: float
    within_freedom: int
    between: float
    between_freedom: int

    @classmethod
    def of(cls, rounds: Sequence[Sequence[float]]) -> "Noise | None":
        """Estimate the noise from rounds of positive values; None without two rounds of at least two values each."""
        logs = [np.log(values) for values in rounds if len(values) > 1 and min(values) > 0]
        if len(logs) < 2:
            return None
        freedom = sum(len(values) - 1 for values in logs)
        within = sum(float(np.sum((values - values.mean()) ** 2)) for values in logs) / freedom
        means = float(np.var([values.mean() for values in logs], ddof=1))
        size = statistics.harmonic_mean([len(values) for values in logs])
        return cls(math.sqrt(within), freedom, math.sqrt(max(0.0, means - within / size)), len(logs) - 1)

    def shift(self, n: int, apart: bool) -> "Shift":
        """Return the uncertainty of a ratio of two arms of ``n`` replicates each, in one round or ``apart`` in two."""
        parts = [(2 * self.within**2 / n, self.within_freedom)]
        return Shift(0.0, *_summed([*parts, *([self._apart] if apart else [])]))

    @property
    def _apart(self) -> tuple[float, int]:
        """The variance that comparing two runs adds, with its degrees of freedom.

        The rounds of a calibration are minutes apart, so their agreement says little about runs that are hours apart.
        """
        return 2 * max(self.between, ASSUMED) ** 2, self.between_freedom

    def smallest(self, n: int, apart: bool) -> float:
        """Return the smallest ratio above one that two arms of ``n`` replicates detect with power ``POWER``."""
        return math.exp(self.shift(n, apart).smallest)


@dataclass(frozen=True)
class Shift:
    """A difference with its standard error, both on the same scale.

    Attributes:
        mean: the mean difference.
        error: its standard error.
        freedom: degrees of freedom of the error; 0 if the error is unknown.
    """

    mean: float
    error: float
    freedom: float

    @cached_property
    def interval(self) -> Range:
        """Interval of the difference at ``LEVEL``; unbounded if the error is unknown."""
        if self.freedom <= 0:
            return -math.inf, math.inf
        width = self.error * float(special.stdtrit(self.freedom, (1 + LEVEL) / 2))
        return self.mean - width, self.mean + width

    @property
    def p(self) -> float:
        """Two-sided p-value of the hypothesis that there is no difference."""
        if self.freedom <= 0 or self.mean == 0:
            return 1.0
        return 0.0 if self.error == 0 else float(2 * special.stdtr(self.freedom, -abs(self.mean) / self.error))

    @property
    def smallest(self) -> float:
        """The smallest difference that is detected with power ``POWER``; infinite if the error is unknown."""
        if self.freedom <= 0:
            return math.inf
        return self.error * float(np.sum(special.stdtrit(self.freedom, [(1 + LEVEL) / 2, POWER])))


def shift(differences: Sequence[float], noise: Noise | None = None) -> Shift:
    """Return the mean of paired differences of two runs, one per replicate, with its error.

    Args:
        differences: one per replicate, at least one; logarithms of ratios if ``noise`` is given.
        noise: noise of the machine. The variance between runs, which replicates do not show, is added to the error.
            For a single replicate, the noise is the only source of the error.
    """
    n, mean = len(differences), float(np.mean(differences))
    if n > 1:
        parts = [(float(np.var(differences, ddof=1)) / n, n - 1)]
    elif noise is not None and math.isfinite(noise.within):
        parts = [(2 * noise.within**2, noise.within_freedom)]
    else:
        return Shift(mean, math.inf, 0)
    if noise is None and parts[0][0] == 0:
        return Shift(mean, math.inf, 0)  # equal replicates do not prove that the error is zero
    return Shift(mean, *_summed([*parts, *([noise._apart] if noise else [])]))


_ASSUMED_FREEDOM = 5


def assumed_noise(first: Iterable[Record], second: Iterable[Record]) -> tuple[Noise, Noise]:
    """Return the noise to assume for a machine without calibration, for times and for other metrics.

    The reference load beside each trial does not depend on the compared code. If it takes longer in one run, the
    machine was slower in that run, so the difference between the loads counts as noise of all times.
    """
    loads = [[min(record.calibration) for record in records if record.calibration] for records in (first, second)]
    speeds = [float(np.median(np.log(some))) for some in loads if some]
    between = abs(speeds[0] - speeds[1]) if len(speeds) == 2 else 0.0
    return Noise(math.inf, 0, between, _ASSUMED_FREEDOM), Noise(math.inf, 0, 0.0, _ASSUMED_FREEDOM)


def _summed(parts: Sequence[tuple[float, int]]) -> tuple[float, float]:
    """Return the standard error of a sum of variances and its degrees of freedom (Satterthwaite 1946)."""
    total = sum(variance for variance, _ in parts)
    if total == 0:
        return 0.0, float(min(freedom for _, freedom in parts))
    return math.sqrt(total), total**2 / sum(variance**2 / freedom for variance, freedom in parts)


def noise_of(calibrations: Iterable[Calibration], environment: Mapping[str, Any], threads: int) -> dict[str, Noise]:
    """Return the noise of each metric on the machine of an environment, for a number of threads and the noisiest load.

    All calibrations of this machine are combined; those of other machines are ignored.
    """
    rounds: dict[str, dict[str, list[list[float]]]] = {}
    for one in calibrations:
        if machine_of(one.environment) == machine_of(environment) and one.threads == threads:
            for load, metrics in one.rounds.items():
                for metric, values in metrics.items():
                    rounds.setdefault(metric, {}).setdefault(load, []).extend(values)
    found: dict[str, Noise] = {}
    for metric, loads in rounds.items():
        known = [noise for values in loads.values() if (noise := Noise.of(values))]
        if known:
            found[metric] = max(known, key=lambda noise: noise.smallest(5, apart=True))
    return found
