"""Replace values that are not finite by None, each with its reason: JSON has no infinity and no NaN."""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from nodebench.spec import Reason, ReasonCode

Outcome = dict[str, Any]


def with_finite_values(outcome: Mapping[str, Any]) -> Outcome:
    """Return the fields of a record with None in place of each metric and cost that is NaN or infinite.

    ``reasons`` names each such metric and cost; for ``history`` and ``profile`` it has one entry each, which names
    the first such value.
    """
    reasons: dict[str, Any] = {}
    found: Outcome = {**outcome}
    for name in ("metrics", "costs"):
        values = outcome.get(name, {})
        for key, value in values.items():
            if not _is_finite(value):
                reasons[key] = _reason(f"the value is {value}")
        found[name] = _finite(values)
    for name in ("history", "profile"):
        rows = outcome.get(name, [])
        if first := next(_described(rows), None):
            reasons[name] = _reason(first)
        found[name] = [_finite(row) for row in rows]
    found["reasons"] = {**reasons, **outcome.get("reasons", {})}
    return found


def _is_finite(value: Any) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


def _finite(values: Mapping[str, Any]) -> Outcome:
    return {key: value if _is_finite(value) else None for key, value in values.items()}


def _described(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a sentence for each value that is not finite, with the first entry of its row as the position."""
    for row in rows:
        place = " ".join(f"{key} {value}" for key, value in list(row.items())[:1])
        yield from (f"{place}: {key} is {value}" for key, value in row.items() if not _is_finite(value))


def _reason(message: str) -> Reason:
    return Reason(code=ReasonCode.NOT_FINITE, message=message)
