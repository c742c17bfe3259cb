import pytest
from pydantic import ValidationError

from nodebench.errors import BadInput
from nodebench.spec import Grid, Preset, Record, Status, Study, Trial, load_study

BAD = ["", "../x", "/abs", "a/../b", "a\\b", "a\x1b[31mred", "a\nb", "a\u202eb", "a\x9bb", " a", "x" * 201]
GOOD = ["toy/spiral", "mine:Drift", "研究", "größe ü", "a b", "a-b", "$x$", "[bold]", "نام\u200cها", "v1.2 (new)"]


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("axis", ["task", "model", "solver", "dataset", "device"])
def test_a_trial_refuses_what_is_no_name(axis, name):
    with pytest.raises(ValidationError, match="not a name"):
        Trial(**{"task": "toy/spiral", "model": "small", axis: name})


@pytest.mark.parametrize("name", GOOD)
def test_a_name_may_be_of_any_script(name):
    trial = Trial(task=name, model=name, solver=name, dataset=name, overrides={name: 1})
    study = Study(name=name, groups={name: Grid(task=name, model=name)})
    assert Trial.model_validate_json(trial.model_dump_json()) == trial
    assert Study.model_validate_json(study.model_dump_json()) == study


@pytest.mark.parametrize("change", [{"name": "../x"}, {"groups": {"../x": Grid(task="a")}}, {"claims": ["\x1b"]}])
def test_a_study_refuses_what_is_no_name(change):
    with pytest.raises(ValidationError, match="not a name"):
        Study(**({"groups": {"a": Grid(task="a")}} | change))


def test_a_study_file_says_in_one_line_which_name_is_none(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('[groups."../x"]\ntask = "toy/spiral"\n')
    with pytest.raises(BadInput, match=r"mine\.toml: groups.*not a name"):
        load_study(str(path), Preset.SMOKE)


def test_what_a_record_says_is_kept_and_its_line_shows_no_invisible_character():
    trial = Trial(task="toy/spiral", model="small")
    failure = {"message": "bell \x07 csi \x9b31m override \u202e ü 研"}
    record = Record(
        id=trial.id,
        trial=trial,
        status=Status.ERROR,
        started="2026-01-01T00:00:00Z",
        duration_seconds=1,
        failure=failure,
    )
    assert record.line().isprintable()
    assert Record.parse(record.line()) == record
