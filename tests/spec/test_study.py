import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodebench.errors import BadInput
from nodebench.spec import Grid, Preset, load_study, shipped_studies

STUDY = """
about = "a test"
seeds = 3
smoke = { seeds = 1 }
limits = { timeout = 60 }

[groups.first]
task = "toy/spiral"
solver = "rk4"
overrides = { noise = [0.0, 0.1], epochs = 2 }
smoke = { overrides = { epochs = 1 } }
paper = { solver = ["dopri5", "rk4"] }

[groups.second]
task = "toy/spiral"
seed = 7
exclude = [{ reason = "too slow", model = "deep" }]
"""


@pytest.fixture
def read(tmp_path):
    def read(text: str, preset: Preset = Preset.QUICK):
        path = tmp_path / "mine.toml"
        path.write_text(text)
        return load_study(str(path), preset)

    return read


def test_a_study_is_its_groups_at_a_scale(read):
    quick, smoke, paper = (read(STUDY, preset) for preset in (Preset.QUICK, Preset.SMOKE, Preset.PAPER))
    assert quick.name == "mine"
    assert quick.limits.timeout == 60
    assert quick.groups["first"].seed == [0, 1, 2]
    assert quick.groups["first"].overrides == {"noise": [0.0, 0.1], "epochs": [2]}
    assert smoke.groups["first"].seed == [0]
    assert smoke.groups["first"].overrides == {"noise": [0.0, 0.1], "epochs": [1]}
    assert smoke.groups["first"].preset is Preset.SMOKE
    assert paper.groups["first"].solver == ["dopri5", "rk4"]
    assert quick.groups["second"].seed == smoke.groups["second"].seed == [7]


WRONG = [
    ("", "no table [groups.NAME]"),
    ("groups = 3", "no table [groups.NAME]"),
    ("[groups]", "groups"),
    ("about = [", "study"),
    (STUDY + "\n[groups.third]\n", "groups.third.task: field required"),
    (STUDY.replace("seeds = 3", "seds = 3"), "no key named 'seds'; did you mean seeds?"),
    (STUDY.replace('solver = "rk4"', 'solvr = "rk4"'), "no key named 'groups.first.solvr'; did you mean solver?"),
    (STUDY.replace("model =", "modle ="), "no key named 'groups.second.exclude.0.modle'; did you mean model?"),
    (STUDY.replace("timeout", "timout"), "no key named 'limits.timout'; did you mean timeout?"),
    (STUDY.replace('"dopri5", "rk4"', "3, 4"), "groups.first.solver.0"),  # under another scale
    (STUDY.replace("{ seeds = 1 }", "1"), "smoke = 1: must be a table of the settings that differ"),
    (STUDY.replace("seeds = 3", "seeds = 0"), "at least 1"),
]


@pytest.mark.parametrize(("text", "message"), WRONG, ids=[message for _, message in WRONG])
def test_a_wrong_study_is_told_in_one_line_with_the_nearest_key(read, text, message):
    with pytest.raises(BadInput, match=re.escape(message)) as refused:
        read(text)
    assert "\n" not in str(refused.value)
    assert "mine.toml" in str(refused.value)


def test_an_unknown_or_absent_study_is_refused():
    with pytest.raises(BadInput, match="did you mean table1"):
        load_study("tabel1", Preset.QUICK)
    with pytest.raises(BadInput, match=r"nowhere\.toml: No such file"):
        load_study("nowhere.toml", Preset.QUICK)


def test_the_eleven_studies_are_there():
    names = "coarse ecg fig3 gradients memory observations solvers table1 table2 tolerance toys"
    assert set(names.split()) <= set(shipped_studies())


@pytest.mark.parametrize("name", shipped_studies())
def test_a_shipped_study_says_what_it_asks_and_whom_it_feeds(name):
    study = load_study(name, Preset.QUICK)
    assert study.about
    assert study.source
    if name in (
        "stiffness",
        "hybrid",
        "backward-tolerance",
        "detest",
        "stiff-learning",
        "precision",
        "compile",
        "devices",
    ):  # nobody has published a number for them
        return
    assert study.claims
    assert all(len(grid.seed) >= 5 for grid in study.groups.values())  # replicates of a verdict


@given(st.sampled_from(["rk4", "dopri5"]), st.floats(1e-9, 1))
def test_one_value_stands_for_a_list_of_one(solver, rtol):
    assert Grid(task="t", solver=solver, rtol=rtol) == Grid(task="t", solver=[solver], rtol=[rtol])


@pytest.mark.parametrize("name", ["toys", "reproduced", "recommend"])
def test_names_of_nodebench_are_refused_for_a_users_file(tmp_path, name):
    path = tmp_path / f"{name}.toml"
    path.write_text('[groups.one]\ntask = "toy/spiral"\n')
    with pytest.raises(BadInput, match=f"the name '{name}' is reserved; rename the file"):
        load_study(str(path), Preset.QUICK)


def test_a_copy_of_a_shipped_study_is_that_study(tmp_path):
    path = tmp_path / "toys.toml"
    path.write_bytes(shipped_studies()["toys"].read_bytes())
    assert load_study(str(path), Preset.QUICK) == load_study("toys", Preset.QUICK)


@pytest.mark.parametrize("seeds", ["1_000_001", "9223372036854775807", "true", "0"])
def test_a_number_of_seeds_beyond_all_measure_is_refused_before_they_are_listed(tmp_path, seeds):
    path = tmp_path / "mine.toml"
    path.write_text(f'seeds = {seeds}\n[groups.one]\ntask = "toy/spiral"\n')
    with pytest.raises(BadInput, match="seeds"):
        load_study(str(path), Preset.QUICK)


@pytest.mark.parametrize(
    "content",
    [b"\xff\xfe", b"a = " + b"[" * 100_000, b"a." * 100_000 + b"a = 1", b"a = " + b"9" * 5000],
    ids=["no UTF-8", "nested deep", "deep key", "integer of 5,000 digits"],
)
def test_a_damaged_file_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "mine.toml"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=r"study .*mine\.toml: ") as refused:
        load_study(str(path), Preset.QUICK)
    assert "\n" not in str(refused.value)
