"""Values of options, from text to the types of the API."""

from nodebench.cli.run_arguments import overrides_of


def test_an_option_of_a_task_may_be_repeated_and_its_value_may_be_empty_or_contain_an_equals_sign():
    given = ["epochs=2", "epochs = 3", "decay_epochs=", "field=mine.py:a=b"]
    assert overrides_of(given) == {"epochs": ["2", "3"], "decay_epochs": [""], "field": ["mine.py:a=b"]}
