"""Text that others have written does no harm where it is shown."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from nodebench.escapes import for_json, for_matplotlib, for_spreadsheet, for_terminal

TEXT = st.text(st.characters(codec=None), max_size=40)


@given(TEXT)
def test_a_terminal_gets_no_control_or_format_character(text):
    shown = for_terminal(text)
    assert all(c.isprintable() or c in "\n\t\u200c\u200d" or c.isspace() for c in shown)
    assert not set(shown) & set("\x1b\x07\x08\r\x7f\x9b\u202e\u2066\u2028\ufeff")
    shown.encode()


@pytest.mark.parametrize("text", ["größe", "研究 2", "a [bold] b", "emoji 👩\u200d🔬", "1\u00a0000", "x\ty\nz"])
def test_text_that_can_be_read_stays_as_it_is(text):
    assert for_terminal(text) == text


def test_what_cannot_be_seen_is_told_by_its_code():
    assert for_terminal("\x1b[31m\u202e\U000e0041") == "\\x1b[31m\\u202e\\U000e0041"


@given(st.text(st.sampled_from("$\\_^{}ab\x1b\u202e<&"), max_size=12))
def test_a_drawing_shows_text_as_it_is_whatever_it_holds(text):
    drawn = Figure(figsize=(1, 1))
    label = drawn.text(0.5, 0.5, for_matplotlib(text))
    drawn.draw_without_rendering()
    shown, is_formula = label._preprocess_math(label.get_text())
    assert not is_formula
    assert shown.strip() == for_terminal(text).strip()


def test_no_label_vanishes_from_a_legend():
    drawn = Figure()
    axes = drawn.subplots()
    for name in ("_a", "__b", "$\\frac{$"):
        axes.plot([0, 1], label=for_matplotlib(name))
    assert len(axes.get_legend_handles_labels()[1]) == 3
    axes.legend()
    drawn.draw_without_rendering()


@given(TEXT)
def test_no_cell_of_text_is_a_formula(text):
    cell = for_spreadsheet(text)
    if cell[:1] in ("=", "+", "-", "@", "\t", "\r"):
        assert math.isfinite(float(cell)) or not math.isfinite(float(text))


@pytest.mark.parametrize("text", ["=1+1", "+cmd", "-x", "@SUM(A1)", "\t=1", "\r=1", '=HYPERLINK("http://x")'])
def test_a_formula_gets_an_apostrophe(text):
    assert for_spreadsheet(text) == f"'{text}"


@pytest.mark.parametrize("text", ["-1.5", "+2e-3", "", "a=b", "1-2", "研究"])
def test_numbers_and_other_text_stay_as_they_are(text):
    assert for_spreadsheet(text) == text


@given(st.dictionaries(TEXT, TEXT, max_size=3))
def test_json_stays_the_same_content_and_shows_no_invisible_character(content):
    shown = for_json(json.dumps(content, ensure_ascii=False))
    assert json.loads(shown) == content
    assert not set(shown) & set("\x1b\x7f\x9b\u202e\u2066\u2028\ufeff")
