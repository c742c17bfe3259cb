"""The noise of a machine: what a figure does when nothing has changed, and so what replicates can find here.

A figure's logarithm is taken as the sum of a true value, a deviation of the round that its trial ran in, and one of the
trial itself: the one-way random-effects model, whose two variances are estimated by the analysis of variance (Searle,
Casella and McCulloch 1992, chapter 3). Arms that ran in one round share its deviation; two runs do not.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import stats

from nodebench.analysis.statistics import LEVEL, Range
from nodebench.spec import Record
from nodebench.spec.calibration import Calibration, machine_of

ASSUMED = 0.02  # by this much at least two runs are taken to differ as a whole, on the scale of logarithms
POWER = 0.8  # the share of the times in which an effect of the smallest size that can be found is found


@dataclass(frozen=True)
class Noise:
    """Standard deviations of the logarithm of a figure, with the degrees of freedom that each is known with.

    Attributes:
        within: of trials of one round.
        within_freedom: degrees of freedom of ``within``.
        between: of rounds, beyond what the trials in them explain.
        between_freedom: degrees of freedom of ``between``.
    """

    within: float
    within_freedom: int
    between: float
    between_freedom: int

    @classmethod
    def of(cls, rounds: Sequence[Sequence[float]]) -> "Noise | None":
        """Estimate it from rounds of positive values; None where there are not two rounds of two."""
        logs = [np.log(values) for values in rounds if len(values) > 1 and min(values) > 0]
        if len(logs) < 2:
            return None
        freedom = sum(len(values) - 1 for values in logs)
        within = sum(float(np.sum((values - values.mean()) ** 2)) for values in logs) / freedom
        means = float(np.var([values.mean() for values in logs], ddof=1))
        size = float(stats.hmean([len(values) for values in logs]))
        return cls(math.sqrt(within), freedom, math.sqrt(max(0.0, means - within / size)), len(logs) - 1)

    def shift(self, n: int, apart: bool) -> "Shift":
        """The uncertainty of a ratio of two arms of ``n`` replicates each, in one round or ``apart`` in two."""
        parts = [(2 * self.within**2 / n, self.within_freedom)]
        return Shift(0.0, *_summed([*parts, *([self._apart] if apart else [])]))

    @property
    def _apart(self) -> tuple[float, int]:
        """What the difference of two runs adds to a variance, and the degrees of freedom it is known with.

        The rounds of a calibration lie minutes apart: that they do not differ says little of runs that lie hours apart.
        """
        return 2 * max(self.between, ASSUMED) ** 2, self.between_freedom

    def smallest(self, n: int, apart: bool) -> float:
        """The smallest ratio above one that two arms of ``n`` replicates find ``POWER`` of the time."""
        return math.exp(self.shift(n, apart).smallest)


@dataclass(frozen=True)
class Shift:
    """A difference with its standard error, on the scale that it was taken on.

    Attributes:
        mean: of the difference.
        error: its standard error.
        freedom: degrees of freedom of the error; 0 where nothing is known of it.
    """

    mean: float
    error: float
    freedom: float

    @cached_property
    def interval(self) -> Range:
        """At ``LEVEL``."""
        if self.freedom <= 0:
            return -math.inf, math.inf
        width = self.error * float(stats.t.ppf((1 + LEVEL) / 2, self.freedom))
        return self.mean - width, self.mean + width

    @property
    def p(self) -> float:
        """Of the hypothesis that there is no difference, two-sided."""
        if self.freedom <= 0 or self.mean == 0:
            return 1.0
        return 0.0 if self.error == 0 else float(2 * stats.t.sf(abs(self.mean) / self.error, self.freedom))

    @property
    def smallest(self) -> float:
        """The difference that would be found ``POWER`` of the time; infinite where nothing is known of the error."""
        if self.freedom <= 0:
            return math.inf
        return self.error * float(stats.t.ppf((1 + LEVEL) / 2, self.freedom) + stats.t.ppf(POWER, self.freedom))


def shift(differences: Sequence[float], noise: Noise | None = None) -> Shift:
    """The mean of paired differences of two runs, one a replicate, with its error.

    Args:
        differences: one a replicate, at least one; logarithms of ratios where ``noise`` is given.
        noise: of the machine. What runs differ by as a whole, which no replicate of either shows, widens the error;
            and a single replicate gets its error from it alone.
    """
    n, mean = len(differences), float(np.mean(differences))
    if n > 1:
        parts = [(float(np.var(differences, ddof=1)) / n, n - 1)]
    elif noise is not None and math.isfinite(noise.within):
        parts = [(2 * noise.within**2, noise.within_freedom)]
    else:
        return Shift(mean, math.inf, 0)
    if noise is None and parts[0][0] == 0:
        return Shift(mean, math.inf, 0)  # that replicates agree to the last digit is no proof of a zero error
    return Shift(mean, *_summed([*parts, *([noise._apart] if noise else [])]))


_ASSUMED_FREEDOM = 5


def assumed_noise(first: Iterable[Record], second: Iterable[Record]) -> tuple[Noise, Noise]:
    """What to take for the noise of an uncalibrated machine, of a time and of anything else.

    The fixed load beside each trial is not of the code that is compared: if it takes longer in one run, the machine was
    slower in that run, and no time of it says more than that.
    """
    loads = [[min(record.calibration) for record in records if record.calibration] for records in (first, second)]
    speeds = [float(np.median(np.log(some))) for some in loads if some]
    between = abs(speeds[0] - speeds[1]) if len(speeds) == 2 else 0.0
    return Noise(math.inf, 0, between, _ASSUMED_FREEDOM), Noise(math.inf, 0, 0.0, _ASSUMED_FREEDOM)


def _summed(parts: Sequence[tuple[float, int]]) -> tuple[float, float]:
    """The error of a sum of variances, each with its degrees of freedom (Satterthwaite 1946)."""
    total = sum(variance for variance, _ in parts)
    if total == 0:
        return 0.0, float(min(freedom for _, freedom in parts))
    return math.sqrt(total), total**2 / sum(variance**2 / freedom for variance, freedom in parts)


def noise_of(calibrations: Iterable[Calibration], environment: Mapping[str, Any], threads: int) -> dict[str, Noise]:
    """The noise of each figure on the machine of an environment, at a number of threads; of the noisier load.

    Calibrations of other machines are passed over, and those of this one put together.
    """
    rounds: dict[str, dict[str, list[list[float]]]] = {}
    for one in calibrations:
        if machine_of(one.environment) == machine_of(environment) and one.threads == threads:
            for load, figures in one.rounds.items():
                for figure, values in figures.items():
                    rounds.setdefault(figure, {}).setdefault(load, []).extend(values)
    found: dict[str, Noise] = {}
    for figure, loads in rounds.items():
        known = [noise for values in loads.values() if (noise := Noise.of(values))]
        if known:
            found[figure] = max(known, key=lambda noise: noise.smallest(5, apart=True))
    return found
