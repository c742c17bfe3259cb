"""Typed models of ``verdicts.json``, the machine-readable verdicts; their JSON schema is in the documentation."""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

import nodebench
from nodebench.analysis.statistics import finite
from nodebench.claims.contract import Kind, Topic
from nodebench.claims.outcome import Verdict, Why
from nodebench.claims.result import ClaimResult, ConditionResult, PartResult
from nodebench.claims.words import verdict_line
from nodebench.spec.frozen import Frozen


class Effect(Frozen):
    """One measured number with its 95 % interval. An infinite or unknown limit of the interval is null."""

    words: str = Field(description="the effect in plain words; empty if nothing was measured")
    unit: Literal["", "×", "points", "%"] = Field(
        description="of the effect as shown in words; for %, estimate, low and high are fractions: 0.05 is 5 %"
    )
    estimate: float | None = Field(description="null if nothing was measured")
    low: float | None
    high: float | None
    n: int = Field(description="replicates", ge=0)
    verdict: Verdict = Field(description="before the correction for multiple tests")


class Condition(Frozen):
    """One condition of a claim."""

    condition: str = Field(description="its label; empty if the claim has one condition")
    home: bool = Field(description="whether it is the source's own condition")
    verdict: Verdict = Field(description="after correction")
    exact: bool = Field(description="whether its metrics have no sampling error")
    p: float = Field(description="the smallest error level at which the condition alone is decided")
    p_corrected: float = Field(description="after the corrections over the conditions and over all verdicts")
    why: Why | None
    effects: tuple[Effect, ...]


class PublishedAs(Frozen):
    """Where the claim was published, and in which words."""

    paper: str
    place: str = Field(description="section, table or figure")
    quote: str
    link: str


class ClaimVerdict(Frozen):
    """The verdict on one claim at one scope."""

    id: str
    scope: str
    kind: Kind
    topic: Topic
    sentence: str = Field(description="the claim as it is tested")
    source: PublishedAs
    published: str = Field(description="the published values")
    verdict: Verdict
    line: str = Field(description="the verdict with the conditions that it rests on")
    exact: bool
    why: Why | None
    frozen: str | None = Field(description="the date on which its declaration was frozen")
    conditions: tuple[Condition, ...]
    controls: dict[str, str] = Field(description="the outcome of each control, by its statement")
    records: tuple[str, ...] = Field(description="the ids of the records behind it")


class VerdictFile(Frozen):
    """Content of ``verdicts.json``."""

    schema_version: Literal[1] = 1
    nodebench: str = Field(description="the version of nodebench that made the verdicts")
    verdicts: tuple[ClaimVerdict, ...]


def claim_verdict(result: ClaimResult) -> ClaimVerdict:
    """Convert the result of a claim to its model in ``verdicts.json``."""
    claim, source = result.claim, result.claim.source
    return ClaimVerdict(
        id=claim.id,
        scope=claim.scope,
        kind=claim.kind,
        topic=claim.topic,
        sentence=claim.sentence,
        source=PublishedAs(paper=source.paper, place=source.place, quote=source.quote, link=source.link),
        published=claim.published,
        verdict=result.verdict,
        line=verdict_line(result),
        exact=result.is_exact,
        why=result.why,
        frozen=result.frozen,
        conditions=tuple(map(_condition, result.conditions)),
        controls={checked.control.says: checked.outcome for checked in result.controls},
        records=result.records,
    )


def verdicts_json(results: Sequence[ClaimResult]) -> bytes:
    """The content of ``verdicts.json``."""
    file = VerdictFile(nodebench=nodebench.__version__, verdicts=tuple(map(claim_verdict, results)))
    return file.model_dump_json(indent=1).encode() + b"\n"


def _condition(result: ConditionResult) -> Condition:
    return Condition(
        condition=result.label,
        home=result.home,
        verdict=result.verdict,
        exact=result.is_exact,
        p=result.p,
        p_corrected=result.p_corrected,
        why=result.why,
        effects=tuple(map(_effect, result.parts)),
    )


def _effect(result: PartResult) -> Effect:
    found = result.estimate
    return Effect(
        words=result.words,
        unit=result.part.unit,
        estimate=finite(found.value) if found else None,
        low=finite(found.low) if found else None,
        high=finite(found.high) if found else None,
        n=found.n if found else 0,
        verdict=result.verdict,
    )
