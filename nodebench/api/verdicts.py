"""Verdicts on the published claims."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nodebench.claims import ClaimResult, all_claims, judge
from nodebench.claims.amendments import choose_claim
from nodebench.claims.freeze import frozen_declarations
from nodebench.claims.words import measured, verdict_line
from nodebench.store.calibrations import calibrations
from nodebench.store.published import records_to_judge

if TYPE_CHECKING:
    import pandas as pd


class Verdicts:
    """The results of all claims: iterate over them, or look one up by its claim id."""

    def __init__(self, results: Sequence[ClaimResult]) -> None:
        self._results = results

    def __len__(self) -> int:
        return len(self._results)

    def __iter__(self) -> Iterator[ClaimResult]:
        return iter(self._results)

    def __getitem__(self, name: str) -> ClaimResult:
        """The result of a claim by its id, ``memory-constant``, or by id and scope, ``memory-constant (paper)``."""
        by_name = {one.claim.id: one for one in reversed(self._results)} | {
            one.claim.name: one for one in self._results
        }
        return by_name[choose_claim(name, by_name)]

    def frame(self) -> "pd.DataFrame":
        """Return one row per claim.

        ``line`` is the verdict with its conditions, ``measured`` the effect in words. ``estimate``, ``low`` and
        ``high`` are the effect in the headline condition and its 95 % interval, ``n`` the number of replicates.
        """
        import pandas as pd

        return pd.DataFrame([_row(one) for one in self._results])

    def _repr_html_(self) -> str:
        return self.frame()[["claim", "scope", "verdict", "measured", "n"]].to_html(index=False, na_rep="–")

    def __repr__(self) -> str:
        decided = sum(one.verdict.is_decided for one in self._results)
        return f"Verdicts({len(self)} claims, {decided} decided)"


def verdicts(results: str | Path = "results") -> Verdicts:
    """Judge every claim by the records of a folder and of the folders below it.

    Published records in the folder are used only if there are no other records.
    """
    folder = Path(results)
    return Verdicts(judge(all_claims(), records_to_judge(folder), calibrations(folder), frozen_declarations()))


def _row(result: ClaimResult) -> dict[str, object]:
    shown = result.headline
    estimate = shown.headline_part.estimate if shown and shown.headline_part else None
    return {
        "claim": result.claim.id,
        "scope": result.claim.scope,
        "verdict": result.verdict.value,
        "line": verdict_line(result),
        "measured": measured(result),
        "estimate": estimate.value if estimate else None,
        "low": estimate.low if estimate else None,
        "high": estimate.high if estimate else None,
        "n": shown.n if shown else 0,
    }
