"""The questions page: the first sentence after each question answers it from the records."""

from collections.abc import Collection, Mapping, Sequence

from nodebench.claims import ClaimResult
from nodebench.claims.words import explanation, measured, verdict_line
from nodebench.reporting.document import Block, Code, Heading, Links, Page, Paragraph, Urls
from nodebench.reporting.questions import QUESTIONS, Question

OPEN = "Not decided yet."
UNKNOWN = "Not measured yet."


def question_page(results: Sequence[ClaimResult], studies: Collection[str] = ()) -> Page:
    """Return the page with all questions: answer, claims, the issues that ask it, and the command that measures it.

    Args:
        results: of all claims.
        studies: that have a page.
    """
    known = {result.claim.name: result for result in results}
    blocks = [block for question in QUESTIONS for block in _answered(question, known, studies)]
    return Page("questions", "What users ask", "Questions of users, answered from the records", blocks)


def findings(results: Sequence[ClaimResult], most: int = 5) -> list[str]:
    """Return at most ``most`` questions for the front page that the records answer, the most important first.

    Each has its answer and ends with a sentence on whom it matters to.
    """
    known = {result.claim.name: result for result in results}
    asked = [question for question in QUESTIONS if question.matters]
    decided = [one for one in asked if any(known[n].verdict.is_decided for n in one.claims[:1] if n in known)]
    return [f"{question.text} {answer(question, known)} {question.matters}" for question in decided[:most]]


def answer(question: Question, results: Mapping[str, ClaimResult], studies: Collection[str] = ()) -> str:
    """Return the answer, with the measurement of the first claim.

    Args:
        question: the question to answer.
        results: the results by the name of the claim.
        studies: that have a page.
    """
    first = next((results[name] for name in question.claims if name in results), None)
    if first is None:
        measured_there = question.unclaimed and any(name in studies for name in question.studies)
        return question.unclaimed if measured_there else UNKNOWN
    words = measured(first)
    shown = f" {words}." if words else ""
    if first.verdict.is_decided:
        return question.answers[first.verdict] + shown + _other_scopes(first, results)
    return OPEN + (f" So far:{shown}" if shown else "") + f" Reason: {explanation(first)}."


def _other_scopes(first: ClaimResult, results: Mapping[str, ClaimResult]) -> str:
    """Return the measurements of the same claim at other scopes that have the same verdict."""
    others = [one for one in results.values() if one.claim.id == first.claim.id and one is not first]
    return "".join(f" {measured(one)}." for one in others if one.verdict is first.verdict)


def _answered(question: Question, results: Mapping[str, ClaimResult], studies: Collection[str]) -> list[Block]:
    blocks: list[Block] = [Heading(question.text), Paragraph(answer(question, results, studies), strong=True)]
    guides = "".join(f" See docs/{name}.md." for name in question.guides)
    blocks.append(Paragraph(question.advice + guides))
    behind = [results[name] for name in question.claims if name in results]
    if behind:
        blocks.append(Links([(f"claim-{one.claim.id}", one.claim.name, verdict_line(one)) for one in behind]))
    if pages := [name for name in question.studies if name in studies]:
        blocks.append(Links([(f"study-{name}", f"study {name}", "") for name in pages]))
    if question.links:
        blocks.append(Urls("Asked in", question.links))
    return [*blocks, Code(question.command)]
