"""Planted effects: what a verdict says where the truth is known, hundreds of times for each shape of a claim.

``python tests/analysis/test_planted.py`` prints the rates of false verdicts and the power.
"""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest
from evidence import claim, evidence
from nodebench.analysis.claims import Word, judge
from nodebench.analysis.claims.contract import Arm, Fit, Part, axis, final
from scipy import stats

from nodebench.spec import Record

INF = math.inf
DRAWS = 200
A, B = Arm("adjoint", {"gradient": "adjoint"}), Arm("direct", {"gradient": "direct"})
Draw = Callable[[float, np.random.Generator, int], list[Record]]


@dataclass(frozen=True)
class Shape:
    """A part, how records with a true effect are drawn, and effects inside, at the edge of and outside support."""

    part: Part
    draw: Draw
    inside: float
    edge: float
    outside: float


def _paired(figure: str, combine: Callable[[float, float, float], float]) -> Draw:
    def draw(effect: float, random: np.random.Generator, n: int) -> list[Record]:
        records = []
        for seed in range(n):
            base = random.lognormal(0.0, 0.5)  # the seed's own level, which both arms share
            noise = random.normal(0.0, 0.2)
            for gradient, value in (("direct", base), ("adjoint", combine(base, effect, noise))):
                records.append(evidence(seed, gradient=gradient, metrics={figure: value}))
        return records

    return draw


def _slope(effect: float, random: np.random.Generator, n: int) -> list[Record]:
    return [
        evidence(seed, rtol=rtol, metrics={"solution_error": math.exp(random.normal(0, 0.5)) * rtol**effect})
        for seed in range(n)
        for rtol in (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
    ]


def _share(effect: float, random: np.random.Generator, n: int) -> list[Record]:
    return [evidence(seed, metrics={"escape_share": float(random.random() < effect)}) for seed in range(n)]


SHAPES = {
    "ratio": Shape(
        Part("{}", final("test_loss"), A, B, supports=(-INF, 1.0), scale="log"),
        _paired("test_loss", lambda base, effect, noise: base * effect * math.exp(noise)),
        0.7,
        1.0,
        1.4,
    ),
    "difference": Shape(
        Part("{}", final("test_loss"), A, B, "difference", supports=(0.5, INF)),
        _paired("test_loss", lambda base, effect, noise: base + effect + noise),
        0.9,
        0.5,
        0.1,
    ),
    "coarse": Shape(  # a figure that moves in steps, as an error on few images does
        Part("{}", final("test_loss"), A, B, "difference", supports=(0.5, INF)),
        _paired("test_loss", lambda base, effect, noise: base + round(effect + noise, 1)),
        0.9,
        0.5,
        0.1,
    ),
    "equivalence": Shape(
        Part("{}", final("test_loss"), A, B, "difference", supports=(-0.5, 0.5)),
        _paired("test_loss", lambda base, effect, noise: base + effect + noise),
        0.0,
        0.5,
        1.0,
    ),
    "slope": Shape(
        Part("{}", final("solution_error"), B, supports=(0.7, 1.3), fit=Fit("rtol", axis("rtol"), logs=True)),
        _slope,
        1.0,
        0.7,
        0.3,
    ),
    "share": Shape(
        Part("{}", final("escape_share"), B, supports=(0.5, INF), scale="share"),
        _share,
        0.95,
        0.5,
        0.05,
    ),
}


@cache
def rates(name: str, effect: float, n: int) -> Counter[Word]:
    shape, random = SHAPES[name], np.random.default_rng([n, int(1000 * effect), len(name)])
    words = (judge([claim(shape.part)], shape.draw(effect, random, n))[0].word for _ in range(draws(n)))
    return Counter(words)


def draws(n: int) -> int:
    """Fewer of large samples, since making the records takes most of the time."""
    return DRAWS if n < 10 else DRAWS // 2


def rarely(count: int, of: int) -> bool:
    """Whether a count of false verdicts agrees with a rate of at most 5 %."""
    return bool(stats.binomtest(count, of, 0.05, alternative="greater").pvalue > 0.01)


@pytest.mark.parametrize("n", [5, 10])
@pytest.mark.parametrize("name", SHAPES)
def test_verdicts_are_seldom_false(name, n):
    shape = SHAPES[name]
    at_edge = rates(name, shape.edge, n)
    assert rarely(at_edge[Word.SUPPORTED], draws(n))
    assert rarely(at_edge[Word.REFUTED], draws(n))
    assert rarely(rates(name, shape.inside, n)[Word.REFUTED], draws(n))
    assert rarely(rates(name, shape.outside, n)[Word.SUPPORTED], draws(n))


@pytest.mark.parametrize("name", SHAPES)
def test_a_plain_effect_is_seen_with_ten_replicates(name):
    shape = SHAPES[name]
    assert rates(name, shape.inside, 10)[Word.SUPPORTED] > draws(10) / 2
    assert rates(name, shape.outside, 10)[Word.REFUTED] > draws(10) / 2


def test_a_condition_at_the_edge_among_many_seldom_refutes():
    """Six conditions, all at the edge: without a correction one of them would refute six times too often."""
    part = replace(SHAPES["ratio"].part, conditions=("rtol",))
    random, refuted = np.random.default_rng(0), 0
    for _ in range(DRAWS // 2):
        records = [
            evidence(seed, gradient=gradient, rtol=10.0**-exponent, metrics={"test_loss": math.exp(random.normal())})
            for exponent in range(1, 7)
            for seed in range(5)
            for gradient in ("adjoint", "direct")
        ]
        refuted += judge([claim(part)], records)[0].word is Word.REFUTED
    assert rarely(refuted, DRAWS // 2)


def test_swapping_the_arms_turns_the_verdict_round():
    shape, random = SHAPES["ratio"], np.random.default_rng(0)
    records = shape.draw(0.5, random, 8)
    there = judge([claim(shape.part)], records)[0]
    back = judge([claim(replace(shape.part, arm=B, against=A))], records)[0]
    assert (there.word, back.word) == (Word.SUPPORTED, Word.REFUTED)
    assert there.deciding.estimate.value * back.deciding.estimate.value == pytest.approx(1.0)


def test_the_order_of_records_does_not_matter():
    shape, random = SHAPES["slope"], np.random.default_rng(0)
    records = shape.draw(1.0, random, 6)
    shuffled = [records[i] for i in random.permutation(len(records))]
    first, second = judge([claim(shape.part)], records)[0], judge([claim(shape.part)], shuffled)[0]
    assert first.deciding.estimate == second.deciding.estimate
    assert first.records == second.records


if __name__ == "__main__":
    for shape_name, known in SHAPES.items():
        for size in (5, 10):
            edge, inside, outside = (rates(shape_name, e, size) for e in (known.edge, known.inside, known.outside))
            wrong = [edge[Word.SUPPORTED], edge[Word.REFUTED], inside[Word.REFUTED], outside[Word.SUPPORTED]]
            seen = [inside[Word.SUPPORTED], outside[Word.REFUTED]]
            print(f"{shape_name} n={size} false % {[round(100 * w / draws(size), 1) for w in wrong]}", end=" ")
            print(f"power % {[round(100 * s / draws(size)) for s in seen]}")
