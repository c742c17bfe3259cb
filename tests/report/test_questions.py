"""The page of questions and the picture of all claims say what the records say."""

import math
from dataclasses import replace

import pytest
from evidence import claim, evidence

from nodebench.analysis.readings import final
from nodebench.claims import CLAIMS, ConditionResult, Topic, Verdict, judge
from nodebench.claims.contract import Arm, Part
from nodebench.reporting.overview import overview, rows
from nodebench.reporting.question_page import OPEN, UNKNOWN, answer, findings, question_page
from nodebench.reporting.questions import NO_YES, QUESTIONS, YES_NO, Question
from nodebench.spec import shipped_studies

LOSS = Part("the loss is {}", final("test_loss"), Arm("small", {"model": "small"}), supports=(-math.inf, 1.0))
ASKED = Question("Is it so?", ("torchdiffeq 1",), ("planted (default)",), YES_NO, "Look.", "nodebench study run toys")


def result_of(values, **changes):
    records = [evidence(seed, model="small", metrics={"test_loss": value}) for seed, value in enumerate(values)]
    return judge([claim(replace(LOSS, **changes))], records)[0]


@pytest.mark.parametrize(
    ("values", "answers", "begins"),
    [
        ([0.5, 0.51, 0.49, 0.5, 0.52], YES_NO, "Yes. The loss is 0.504 ["),
        ([0.5, 0.51, 0.49, 0.5, 0.52], NO_YES, "No. The loss is 0.504 ["),
        ([2.0, 2.1, 1.9, 2.0, 2.1], YES_NO, "No. The loss is 2.02 ["),
        ([0.1, 2.1, 0.2, 1.9, 1.0], YES_NO, f"{OPEN} So far: The loss is 1.06 ["),
        ([], YES_NO, f"{OPEN} Reason: no "),
    ],
)
def test_an_answer_begins_with_the_verdict_and_gives_the_figure(values, answers, begins):
    result = result_of(values)
    assert answer(replace(ASKED, answers=answers), {result.claim.name: result}).startswith(begins)


def test_a_question_without_a_claim_is_not_measured():
    assert answer(replace(ASKED, claims=()), {}) == UNKNOWN
    by_study = replace(ASKED, claims=(), studies=("toys",), unclaimed="Usually not.")
    assert answer(by_study, {}) == UNKNOWN
    assert answer(by_study, {}, ("toys",)) == "Usually not."


def test_every_question_names_claims_and_a_command_that_there_are():
    known, studies = {one.name for one in CLAIMS}, set(shipped_studies())
    for question in QUESTIONS:
        assert set(question.claims) <= known, question.text
        assert question.text.endswith("?")
        words = question.command.split()
        assert words[:3] != ["nodebench", "study", "run"] or words[3] in studies
        for _, address in question.links:
            assert address.startswith("https://github.com/")
        if question.claims:
            assert {Verdict.SUPPORTED, Verdict.REFUTED, Verdict.PARTLY, Verdict.DEPENDS} <= question.answers.keys()


def test_the_page_has_a_heading_and_an_answer_for_each_question():
    page = question_page(judge(CLAIMS, []))
    headings = [block.text for block in page.blocks if type(block).__name__ == "Heading"]
    assert headings == [question.text for question in QUESTIONS]
    answers = [block.text for block in page.blocks if getattr(block, "strong", False)]
    assert len(answers) == len(QUESTIONS)
    assert all(text.startswith((OPEN, UNKNOWN)) for text in answers)  # nothing is claimed without records


def test_the_findings_are_the_questions_that_are_decided_with_those_for_whom_they_matter():
    decided = result_of([0.5, 0.51, 0.49, 0.5, 0.52])
    elsewhere = next(question for question in QUESTIONS if question.claims and not question.matters)
    first, second, third = (
        replace(decided, claim=replace(decided.claim, id=question.claims[0].split()[0]))
        for question in (*QUESTIONS[1:3], elsewhere)
    )
    open_one = replace(first, verdict=Verdict.INCONCLUSIVE)
    assert findings([open_one]) == findings([third]) == []
    found = findings([third, second, first])
    assert [text.partition("?")[0] + "?" for text in found] == [question.text for question in QUESTIONS[1:3]]
    assert all("0.504" in text for text in found)
    assert all(text.endswith(question.matters) for text, question in zip(found, QUESTIONS[1:3], strict=True))
    assert len(findings([second, first], most=1)) == 1


def test_the_picture_has_a_row_for_each_measured_claim_by_topic():
    first = result_of([0.5, 0.51, 0.49, 0.5, 0.52])
    second = replace(first, claim=replace(first.claim, id="earlier", topic=Topic.MEMORY, published_value=3.0))
    shown = rows([first, result_of([]), second])
    assert [row.result.claim.id for row in shown] == ["earlier", "planted"]
    svg = overview("test", shown).svg
    for text in ("earlier", "planted", "memory", "time", "0.504", "supported"):
        assert text in svg


def test_the_picture_shows_the_effect_that_leaves_a_condition_undecided():
    """A condition of two parts that hold together: the first is supported, the second is not."""
    first, second = (result_of(values).results[0] for values in ([0.5, 0.51, 0.49, 0.5, 0.52], [0.1, 2.1, 0.2, 1.9, 1]))
    joint = ConditionResult("", (first, second), True, Verdict.INCONCLUSIVE)
    (row,) = rows([replace(result_of([]), verdict=Verdict.INCONCLUSIVE, conditions=(joint,))])
    assert row.estimate == second.estimate


@pytest.mark.parametrize("values", [[math.inf] * 3 + [0.5] * 2, [1e300] * 5, [0.0] * 5, [-1.0, 0.0, 1.0, 2.0, 3.0]])
def test_the_picture_takes_any_figure(values):
    shown = rows([result_of(values), result_of(values, scale="log")])
    assert "planted" in overview("test", shown).svg
