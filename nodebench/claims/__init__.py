"""The published claims, and the verdicts on them.

Layers: ``contract`` (what a claim is) → ``papers`` (declarations) → ``freeze`` (hashes and dates of declarations) →
``gather`` (one number per replicate, from the records) → ``judge`` (verdicts).
"""

from nodebench.claims.contract import Claim, Control, Kind, Part, Topic
from nodebench.claims.judge import judge
from nodebench.claims.outcome import Verdict
from nodebench.claims.registry import CLAIMS, all_claims
from nodebench.claims.result import CheckedControl, ClaimResult, ConditionResult, PartResult

__all__ = [
    "CLAIMS",
    "CheckedControl",
    "Claim",
    "ClaimResult",
    "ConditionResult",
    "Control",
    "Kind",
    "Part",
    "PartResult",
    "Topic",
    "Verdict",
    "all_claims",
    "judge",
]
