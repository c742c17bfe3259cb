"""The table of the axes of a trial, against the models that it is about."""

from dataclasses import fields
from typing import get_args

import pytest
from evidence import BASE, DIFFERING

from nodebench.cli.choices import Choices
from nodebench.spec import Grid, Trial
from nodebench.spec.axes import AXES, Part, as_stored, axis_names


def test_every_field_of_a_trial_is_in_the_table_and_no_other():
    assert sorted(AXES) == sorted(Trial.model_fields)


def test_every_axis_can_be_asked_for_in_a_grid():
    assert AXES.keys() <= Grid.model_fields.keys()


def test_every_axis_has_an_option_of_the_command():
    assert AXES.keys() <= {field.name for field in fields(Choices)}


def test_the_types_are_those_of_the_values():
    other = Trial(**(BASE | DIFFERING)).model_dump(mode="json")
    for axis in AXES.values():
        assert axis.type(other[axis.name]) == other[axis.name], axis.name


def test_every_axis_but_the_seed_has_a_value_to_test_with():
    assert {*DIFFERING, "seed"} == AXES.keys()
    base = Trial(**BASE)
    assert all(getattr(base, name) != value for name, value in DIFFERING.items())


def test_what_none_stands_for_is_what_a_trial_cannot_hold():
    """A trial stores such a value as None, so that there is one way to write it."""
    unset = {name: axis.unset for name, axis in AXES.items() if axis.unset is not None}
    assert unset == {"batching": "joint", "compile": "eager", "autocast": "none"}
    for name, value in unset.items():
        assert as_stored(name, value) is None
        allowed = [one for choice in get_args(Trial.model_fields[name].annotation) for one in get_args(choice)]
        assert value not in allowed
        assert {*allowed, value} == set(AXES[name].type)


def test_what_follows_names_an_axis():
    assert {name: axis.follows for name, axis in AXES.items() if axis.follows} == {
        "atol": "rtol",
        "adjoint_rtol": "rtol",
        "adjoint_atol": "rtol",
    }


@pytest.mark.parametrize("part", Part)
def test_each_part_has_its_axes_and_they_make_the_whole(part):
    assert axis_names(part)
    assert sorted(name for one in Part for name in axis_names(one)) == sorted(AXES)
    assert "seed" not in axis_names(without=("seed",))
