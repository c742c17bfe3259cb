import io
import tracemalloc
from dataclasses import fields, replace
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import pytest
from numpy.lib import format as npy

from nodebench.errors import BadInput
from nodebench.reporting.plots import draw_trial
from nodebench.spec import Record, Status, Trial
from nodebench.spec.trajectories import Trajectories
from nodebench.store.snapshots import load_snapshots, save_snapshots

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
    snapshots = {0: FIRST, 3: replace(FIRST, fitted=np.ones((1, 5, 2))), 7: FIRST}
    save_snapshots(tmp_path / "a.npz", snapshots)
    again = load_snapshots(tmp_path / "a.npz")
    assert list(again) == [0, 3, 7]
    for epoch, picture in snapshots.items():
        for field in fields(Trajectories):
            np.testing.assert_array_equal(getattr(again[epoch], field.name), getattr(picture, field.name))
    assert again[3].labels == ("x′", "y")


def test_a_film_from_before_surfaces_is_read(tmp_path):
    save_arrays(tmp_path / "a.npz", surface=None)
    assert load_snapshots(tmp_path / "a.npz")[0].surface.shape == (0, 0)


def test_a_surface_must_fit_its_axes(tmp_path):
    axes = np.stack([np.arange(3.0)] * 2)
    save_arrays(tmp_path / "a.npz", axes=axes, surface=np.zeros((3, 2)))
    with pytest.raises(BadInput, match="surface"):
        load_snapshots(tmp_path / "a.npz")
    save_arrays(tmp_path / "a.npz", axes=axes, surface=np.ones((3, 3)))  # without a field
    assert load_snapshots(tmp_path / "a.npz")[0].planar


def test_each_drawing_needs_what_it_shows(tmp_path):
    """One component has no plane; one time has no course."""
    trial = Trial(task="toy/annuli", model="odenet")
    record = Record(id=trial.id, trial=trial, status=Status.OK, started="2026-01-01", duration_seconds=1.0)
    nothing = np.full((1, 1, 2), np.nan)
    axis = np.linspace(-2, 2, 5)
    surface = replace(
        FIRST,
        times=np.zeros(1),
        true=nothing,
        fitted=nothing,
        axes=np.stack([axis, axis]),
        surface=np.add.outer(axis, axis),
    )
    line = replace(FIRST, true=FIRST.true[..., :1], fitted=FIRST.fitted[..., :1], observed=FIRST.observed[..., :1])
    for shown, kind in ((surface, "portrait"), (line, "time")):
        snapshots = {0: shown, 1: shown}
        drawn = draw_trial(record, snapshots, tmp_path / kind, animate=True)
        assert {path.name.split(".")[1] for path in drawn} == ({kind, "gif"} if kind == "portrait" else {kind})


def test_what_stands_still_is_stored_once(tmp_path):
    save_snapshots(tmp_path / "a.npz", {0: FIRST, 1: replace(FIRST, fitted=np.ones((1, 5, 2)))})
    with np.load(tmp_path / "a.npz", allow_pickle=False) as arrays:
        assert [name for name in arrays if name.startswith("1/")] == ["1/fitted"]


@pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04torn"])
def test_a_damaged_file_is_told_in_one_line(tmp_path, content):
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=r"a\.npz cannot be read") as told:
        load_snapshots(path)
    assert "\n" not in str(told.value)


def save_arrays(path, **changes):
    """A stored snapshots with some of its arrays replaced; None leaves one out."""
    arrays = {field.name: np.asarray(getattr(FIRST, field.name)) for field in fields(Trajectories)}
    arrays = {f"0/{name}": array for name, array in arrays.items()} | {"epochs": np.array([0])}
    arrays |= {name if name == "epochs" else f"0/{name}": array for name, array in changes.items()}
    np.savez_compressed(path, **{name: array for name, array in arrays.items() if array is not None})


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"true": np.zeros((5, 2))}, "true: 2 dimensions"),
        ({"true": np.array(1.0)}, "true: 0 dimensions"),
        ({"true": np.zeros((1, 0, 2)), "fitted": np.zeros((1, 0, 2)), "times": np.zeros(0)}, "at least 1 time"),
        ({"true": np.zeros((0, 5, 2)), "fitted": np.zeros((0, 5, 2))}, "1 to 64 examples"),
        ({"true": np.zeros((100_000, 5, 2)), "fitted": np.zeros((100_000, 5, 2))}, "1 to 64 examples"),
        ({"fitted": np.zeros((1, 4, 2))}, "fitted"),
        ({"times": np.arange(6.0)}, "times"),
        ({"times": np.array([0, 1, np.inf, 3, 4])}, "times: a value that is not finite"),
        ({"observed": np.zeros((1, 3, 2))}, "observed"),
        ({"labels": np.array(["x"])}, "labels: 1"),
        ({"true": np.array([[["a", "b"]] * 5])}, "numbers"),
        ({"axes": np.zeros((2, 3)), "field": np.zeros((3, 3, 2))}, "axes: expected evenly spaced"),
        ({"field": np.zeros((3, 3, 2))}, "field"),
        ({"epochs": np.array([])}, "epochs"),
        ({"epochs": np.arange(5000)}, "epochs"),
        ({"true": None}, "no array"),
        ({"true": np.array([{}])}, "object"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_by_name(tmp_path, changes, says):
    save_arrays(tmp_path / "a.npz", **changes)
    with pytest.raises(BadInput, match=says) as told:
        load_snapshots(tmp_path / "a.npz")
    assert str(told.value).startswith(f"{tmp_path / 'a.npz'} cannot be read: ")
    assert "\n" not in str(told.value)


def test_a_declared_size_of_terabytes_is_refused_before_memory_is_taken(tmp_path):
    """In the header of an array, in a child that may take 2 GB more than it has."""
    with ZipFile(tmp_path / "a.npz", "w") as archive:
        header = io.BytesIO()
        npy.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (10**6, 10**6)})
        archive.writestr("epochs.npy", header.getvalue() + bytes(100))
    tracemalloc.start()
    with pytest.raises(BadInput, match="is not an array of 100 bytes"):
        load_snapshots(tmp_path / "a.npz")
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


def test_a_file_that_unpacks_to_gigabytes_is_refused_by_its_declared_size(tmp_path):
    with ZipFile(tmp_path / "a.npz", "w", ZIP_DEFLATED) as archive:
        for name in range(20):
            archive.writestr(f"{name}.npy", bytes(8 << 20))
    assert (tmp_path / "a.npz").stat().st_size < 1_000_000
    with pytest.raises(BadInput, match="arrays of 167,772,160 bytes"):
        load_snapshots(tmp_path / "a.npz")


def test_what_cannot_be_drawn_is_drawn_as_a_gap(tmp_path):
    fitted = np.array([[[np.inf, 1e308], [-np.inf, -1e308], [1, 2], [3, 4], [np.nan, 5]]])
    save_arrays(tmp_path / "a.npz", fitted=fitted)
    (picture,) = load_snapshots(tmp_path / "a.npz").values()
    np.testing.assert_array_equal(picture.fitted[0, :2], np.full((2, 2), np.nan))
    np.testing.assert_array_equal(picture.fitted[0, 2:4], [[1, 2], [3, 4]])
    nothing = np.full((1, 2, 2), np.nan)
    save_arrays(tmp_path / "a.npz", fitted=fitted, observed=nothing)  # FIRST.true is NaN too
    trial = Trial(task="toy/spiral", model="small")
    record = Record(id=trial.id, trial=trial, status=Status.OK, started="2026-01-01", duration_seconds=1.0)
    drawn = draw_trial(record, load_snapshots(tmp_path / "a.npz"), tmp_path / "figures")
    assert {path.suffix for path in drawn} == {".svg", ".png"}


DENSITY = replace(
    FIRST, axes=np.array([[0.0, 1.0, 2.0]] * 2), density=np.arange(9.0).reshape(3, 3), moved=np.ones((5, 4, 2))
)


def test_a_density_and_its_flow_are_read_as_they_were_written(tmp_path):
    save_snapshots(tmp_path / "a.npz", {1: DENSITY})
    (found,) = load_snapshots(tmp_path / "a.npz").values()
    np.testing.assert_array_equal(found.density, DENSITY.density)
    np.testing.assert_array_equal(found.moved, DENSITY.moved)


def test_a_film_of_an_earlier_version_has_no_density(tmp_path):
    save_arrays(tmp_path / "a.npz", density=None, moved=None)
    (found,) = load_snapshots(tmp_path / "a.npz").values()
    assert found.density.size == found.moved.size == 0


@pytest.mark.parametrize("changes", [{"density": np.ones((2, 3))}, {"moved": np.ones((4, 4, 2))}])
def test_a_density_that_does_not_fit_its_axes_or_times_is_refused(tmp_path, changes):
    save_snapshots(tmp_path / "a.npz", {1: replace(DENSITY, **changes)})
    with pytest.raises(BadInput, match=next(iter(changes))):
        load_snapshots(tmp_path / "a.npz")
