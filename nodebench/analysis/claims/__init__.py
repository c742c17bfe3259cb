"""The published claims, and the verdicts on them."""

from nodebench.analysis.claims import accuracy, breakdown, costs, later, libraries, stated
from nodebench.analysis.claims.contract import Claim, Control, Part, Reading
from nodebench.analysis.claims.evaluate import Checked, Finding, Verdict, Word, judge

CLAIMS: tuple[Claim, ...] = (
    *accuracy.CLAIMS,
    *costs.CLAIMS,
    *stated.CLAIMS,
    *breakdown.CLAIMS,
    *later.CLAIMS,
    *libraries.CLAIMS,
)

__all__ = ["CLAIMS", "Checked", "Claim", "Control", "Finding", "Part", "Reading", "Verdict", "Word", "judge"]
