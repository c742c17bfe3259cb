"""The page for a practitioner, on records whose best choices are known."""

import json
import shlex
from pathlib import Path

import pytest
from evidence import evidence

from nodebench.analysis.recommend import ENOUGH
from nodebench.reporting.choice_page import choice_page
from nodebench.reporting.document import Code, Table
from nodebench.store.published import records_to_judge

PUBLISHED = Path(__file__).parents[2] / "results" / "published"


def records(solver: str, gradient: str, error: float, seconds: float, memory: int):
    costs = {"gradient_error": error, "step_seconds": seconds, "tensor_peak_bytes": memory}
    return [evidence(seed, task="toy/spiral", solver=solver, gradient=gradient, costs=costs) for seed in range(2)]


def tables(page) -> list[Table]:
    return [block for block in page.blocks if isinstance(block, Table)]


MEASURED = [
    ("dopri5", "direct", 1e-4, 0.010, 9_000),
    ("dopri5", "adjoint", 1e-2, 0.020, 1_000),
    ("dopri8", "direct", 1e-6, 0.030, 20_000),
    ("bosh3", "direct", 1e-3, 0.005, 30_000),
    ("fehlberg2", "direct", 0.5, 0.001, 100),
]


def test_it_names_the_fastest_and_the_smallest_that_reach_each_error():
    (table,) = tables(choice_page([one for row in MEASURED for one in records(*row)], "results"))
    chosen = {row[0].value: (row[1].text.split()[0], row[4].text.split()[0]) for row in table.rows}
    assert chosen == {
        1e-1: ("bosh3", "dopri5"),
        1e-2: ("bosh3", "dopri5"),
        1e-3: ("bosh3", "dopri5"),
        1e-4: ("dopri5", "dopri5"),
        1e-5: ("dopri8", "dopri8"),
    }
    assert [row[4].text.split()[-1] for row in table.rows] == ["adjoint", "adjoint", "direct", "direct", "direct"]
    assert table.rows[0][2].text == "5 ms [5 ms, 5 ms] (n = 2)"


def test_a_table_without_backpropagation_through_the_solver_is_left_out():
    through = [one for row in MEASURED for one in records(*row)]
    without = [one.model_copy(update={"trial": one.trial.model_copy(update={"gradient": "aca"})}) for one in through]
    assert len(tables(choice_page(through, "results"))) == 1
    assert tables(choice_page(without, "results")) == []


@pytest.mark.usefixtures("files_are_read_once")
def test_the_command_below_each_table_of_the_published_records_gives_its_answer(nodebench_in):
    page = choice_page(records_to_judge(PUBLISHED), "results/published")
    sections = list(zip(tables(page), [block for block in page.blocks if isinstance(block, Code)], strict=False))
    assert len(sections) >= 5
    for table, command in sections:
        word, *arguments = shlex.split(command.text)
        assert word == "nodebench"
        code, out, err = nodebench_in(PUBLISHED.parents[1], *arguments, "--json")
        assert code == 0, err
        limit = float(arguments[arguments.index("--error") + 1])
        (row,) = [row for row in table.rows if row[0].value == limit]
        answer = json.loads(out)
        chosen = answer["candidates"][0]
        assert (chosen["name"], chosen["seconds"]) == (row[1].text, row[2].value), command


def test_one_new_record_with_more_options_hides_no_table():
    known = [one for row in MEASURED for one in records(*row)]
    new = known[0].model_copy(update={"options": {"new": 1}})
    (table,) = tables(choice_page([*known, new], "results"))
    assert table.rows[0][1].text.split()[0] == "bosh3"


def test_few_configurations_are_no_choice():
    assert tables(choice_page([one for row in MEASURED[: ENOUGH - 1] for one in records(*row)], "results")) == []
