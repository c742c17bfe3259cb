from dataclasses import fields, replace

import numpy as np
import pytest

from nodebench.errors import BadInput
from nodebench.run.film import load_film, save_film
from nodebench.spec.trajectories import Trajectories

FIRST = Trajectories(
    times=np.arange(5.0),
    true=np.full((1, 5, 2), np.nan),
    fitted=np.zeros((1, 5, 2)),
    observed_times=np.zeros((1, 2)),
    observed=np.ones((1, 2, 2)),
    trained=(0.5, 3.0),
    time_label="time (s)",
    labels=("x′", "y"),
)


def test_a_film_is_read_as_it_was_written(tmp_path):
    film = {0: FIRST, 3: replace(FIRST, fitted=np.ones((1, 5, 2))), 7: FIRST}
    save_film(tmp_path / "a.npz", film)
    again = load_film(tmp_path / "a.npz")
    assert list(again) == [0, 3, 7]
    for epoch, picture in film.items():
        for field in fields(Trajectories):
            np.testing.assert_array_equal(getattr(again[epoch], field.name), getattr(picture, field.name))
    assert again[3].labels == ("x′", "y")


def test_what_stands_still_is_stored_once(tmp_path):
    save_film(tmp_path / "a.npz", {0: FIRST, 1: replace(FIRST, fitted=np.ones((1, 5, 2)))})
    with np.load(tmp_path / "a.npz", allow_pickle=False) as arrays:
        assert [name for name in arrays if name.startswith("1/")] == ["1/fitted"]


@pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04torn"])
def test_a_damaged_file_is_told_in_one_line(tmp_path, content):
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=r"a\.npz cannot be read") as told:
        load_film(path)
    assert "\n" not in str(told.value)
