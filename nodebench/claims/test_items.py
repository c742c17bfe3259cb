"""The sampling error of a test set that all replicates share.

More seeds do not reduce this error: it comes from the random choice of the images in the test set.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from nodebench.analysis.fairness import Point
from nodebench.claims.contract import Part


def error_of_test_items(part: Part, sides: Sequence[Sequence[Point]], values: Mapping[int, float]) -> float:
    """Return the standard error of the mean over replicates that is due to the test set, in percentage points.

    If the records list the misclassified test items, the difference of the arms is averaged over seeds for each item,
    and the error is computed from its standard deviation over the items. Otherwise a lower bound is used: two networks
    whose error rates differ by d disagree on at least a share d of the N items, and McNemar's variance of the
    difference is then at least d / N.

    Args:
        part: a part whose reading is a percentage of a test set.
        sides: the records of each arm.
        values: the number of each replicate, in percentage points.
    """
    items = [_wrong(side) for side in sides]
    if part.against and part.reading.metric == "test_error" and not part.along and all(i is not None for i in items):
        first, second = items[0], items[-1]
        assert first is not None
        assert second is not None
        return float(100 * np.std(first - second, ddof=1) / math.sqrt(len(first)))
    resolution = resolution_of_test_items(sides)
    finite = [abs(value) for value in values.values() if math.isfinite(value)]
    if resolution is None or not finite:
        return 0.0
    return math.sqrt(float(np.mean(finite)) * resolution)


_NATS, _ERROR_OF_NATS = ("nats", "excess_nats"), "excess_nats_error"


def error_of_test_points(part: Part, sides: Sequence[Sequence[Point]]) -> float:
    """Return the standard error of the mean that is due to the test points of a density; 0 for any other metric.

    The mean is over replicates. The errors of two arms are added in quadrature, as for independent test sets. This
    overestimates the error if both flows err at the same points.
    """
    if part.reading.metric not in _NATS:
        return 0.0
    known = [[point.record.metrics.get(_ERROR_OF_NATS) for point in side] for side in sides]
    found = [[error for error in errors if error is not None] for errors in known]
    return math.hypot(*(float(np.mean(errors)) for errors in found if errors))


def resolution_of_test_items(sides: Sequence[Sequence[Point]]) -> float | None:
    """Return how many percentage points one test item counts; None if the size of the test set is unknown."""
    sizes = [point.record.data.test for side in sides for point in side if point.record.data]
    return 100 / min(sizes) if sizes else None


def _wrong(side: Sequence[Point]) -> np.ndarray | None:
    """Return for each test item the share of replicates that misclassified it; None if a record lacks this."""
    found = [point.record.wrong_items() for point in side]
    if not found or any(one is None for one in found) or len({len(one) for one in found if one is not None}) != 1:
        return None
    return np.mean([one for one in found if one is not None], axis=0)
