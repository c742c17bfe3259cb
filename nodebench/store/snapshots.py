"""Snapshots of a training in one small ``.npz`` file, read without pickle.

An array is stored only if it differs from the previous snapshot: true trajectories and observations do not change.
Reading checks the declared sizes before it allocates memory, and then shapes, lengths and values.
"""

import io
import math
import os
from dataclasses import fields
from pathlib import Path
from zipfile import ZipFile, ZipInfo

import numpy as np
from numpy.lib import format as npy

from nodebench.errors import BadInput
from nodebench.paths import open_file
from nodebench.spec.bounded import open_regular, reason
from nodebench.spec.trajectories import Snapshots, Trajectories

_FIELDS = [field.name for field in fields(Trajectories)]
_LATER = ("density", "moved", "given_until", "surface")  # missing in files of earlier versions
MOST_BYTES = 64 << 20  # of all arrays of a file together
MOST_ARRAYS = 10_000
MOST_EPOCHS = 1000
MOST_EXAMPLES = 64  # each has a panel of its own
MOST_COMPONENTS = 64
MOST_POINTS = 2000  # of a flow
MOST_LABEL = 200  # characters
LARGEST = 1e30  # absolute value; matplotlib cannot scale an axis to much larger values


def save_snapshots(path: Path, snapshots: Snapshots) -> None:
    """Write snapshots to a file atomically: the file is complete or not created."""
    arrays: dict[str, np.ndarray] = {}
    before: dict[str, np.ndarray] = {}
    for epoch in sorted(snapshots):
        for name in _FIELDS:
            array = np.asarray(getattr(snapshots[epoch], name))
            array = array.astype(np.float32) if array.dtype == np.float64 else array
            if name not in before or not _same(array, before[name]):
                arrays[f"{epoch}/{name}"] = before[name] = array
    path.parent.mkdir(exist_ok=True)
    part = path.with_suffix(".part")
    with open_file(path.parent, part.name, mode="wb") as file:
        np.savez_compressed(file, epochs=np.array(sorted(snapshots)), **arrays)  # type: ignore[arg-type]
    os.replace(part, path)


def load_snapshots(path: Path) -> Snapshots:
    """Read snapshots from a file. Infinite values, and absolute values above ``LARGEST``, become NaN.

    Raises:
        BadInput: the file is not a valid snapshot file.
    """
    try:
        arrays = _read_arrays(path)
        snapshots: Snapshots = {}
        current: dict[str, np.ndarray] = {}
        for epoch in _epochs(arrays):
            current |= {name: arrays[f"{epoch}/{name}"] for name in _FIELDS if f"{epoch}/{name}" in arrays}
            snapshots[epoch] = _trajectories(current)
    except Exception as error:  # zipfile and numpy raise many types for a damaged file
        message = f"no array {error}" if isinstance(error, KeyError) else reason(error)
        raise BadInput(f"{path} cannot be read: {message.removeprefix(f'{path}: ')}") from error
    return snapshots


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    with open_regular(path, MOST_BYTES) as file, ZipFile(file) as archive:
        members = archive.infolist()
        if len(members) > MOST_ARRAYS:
            raise BadInput(f"{len(members):,} arrays; at most {MOST_ARRAYS:,}")
        if (total := sum(member.file_size for member in members)) > MOST_BYTES:
            raise BadInput(f"arrays of {total:,} bytes; at most {MOST_BYTES:,}")
        return {member.filename.removesuffix(".npy"): _array(archive, member) for member in members}


def _array(archive: ZipFile, member: ZipInfo) -> np.ndarray:
    """Read one array, after checking that its declared size equals the number of its bytes."""
    content = io.BytesIO(archive.read(member))
    version = npy.read_magic(content)
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read_header(content)
    declared, there = math.prod(shape) * dtype.itemsize, len(content.getbuffer()) - content.tell()
    if dtype.hasobject or declared != there:
        raise BadInput(f"{member.filename}: {dtype} {shape} is not an array of {there:,} bytes")
    content.seek(0)
    array: np.ndarray = npy.read_array(content, allow_pickle=False)
    return array


def _epochs(arrays: dict[str, np.ndarray]) -> list[int]:
    epochs = arrays["epochs"]
    if epochs.ndim != 1 or epochs.dtype.kind not in "iu" or not 1 <= len(epochs) <= MOST_EPOCHS:
        raise BadInput(f"epochs: {epochs.dtype} {epochs.shape}; expected 1 to {MOST_EPOCHS:,} integers")
    found: list[int] = epochs.tolist()
    return found


def _trajectories(arrays: dict[str, np.ndarray]) -> Trajectories:
    labels, time_label = arrays["labels"], arrays["time_label"]
    if labels.dtype.kind != "U" or labels.ndim != 1 or time_label.dtype.kind != "U" or time_label.ndim != 0:
        raise BadInput("labels: expected strings")
    names = arrays.get("names", np.array([], dtype=str))
    if names.size and (names.dtype.kind != "U" or names.ndim != 1):
        raise BadInput("names: expected strings")
    texts = ("labels", "time_label", "names")
    wanted = [name for name in _FIELDS if name not in texts and (name in arrays or name not in _LATER)]
    numbers = {name: _drawable(name, arrays[name]) for name in wanted}
    trained = numbers.pop("trained")
    _check_shape("trained", trained, (2,))
    start, end = trained.tolist()
    found = Trajectories(
        **numbers,
        trained=(start, end),
        time_label=str(time_label)[:MOST_LABEL],
        labels=tuple(label[:MOST_LABEL] for label in labels.tolist()),
        names=tuple(str(name)[:MOST_LABEL] for name in names.tolist()),
    )
    _check(found)
    return found


def _drawable(name: str, array: np.ndarray) -> np.ndarray:
    if array.dtype.kind not in "fiu":
        raise BadInput(f"{name}: {array.dtype}; expected numbers")
    if array.dtype.kind == "f" and not np.all(np.abs(array) <= LARGEST):  # also copies arrays with NaN
        return np.where(np.abs(array) <= LARGEST, array, np.nan)
    return array


def _check(one: Trajectories) -> None:
    """Raise ``BadInput`` for invalid or inconsistent arrays; see ``Trajectories`` for their shapes."""
    if one.true.ndim != 3:
        raise BadInput(f"true: {one.true.ndim} dimensions; expected 3")
    examples, times, components = one.true.shape
    if not 1 <= examples <= MOST_EXAMPLES or not 1 <= components <= MOST_COMPONENTS or times < 1:
        limits = f"1 to {MOST_EXAMPLES} examples, 1 to {MOST_COMPONENTS} components, at least 1 time"
        raise BadInput(f"true: {one.true.shape}; expected {limits}")
    _check_shape("times", one.times, (times,))
    _check_shape("fitted", one.fitted, one.true.shape)
    observations = one.observed_times.shape[-1] if one.observed_times.ndim else 0
    _check_shape("observed_times", one.observed_times, (examples, observations))
    _check_shape("observed", one.observed, (examples, observations, components))
    if len(one.labels) < components:
        raise BadInput(f"labels: {len(one.labels)}; expected one for each of the {components} components")
    if not np.all(np.isfinite(one.times)) or not np.all(np.isfinite(one.trained)):
        raise BadInput("times: a value that is not finite")
    if one.names and len(one.names) != examples:
        raise BadInput(f"names: {len(one.names)}; expected one for each of the {examples} examples")
    if one.given_until.size:
        _check_shape("given_until", one.given_until, (examples,))
    side = one.axes.shape[-1] if one.axes.ndim else 0
    _check_shape("axes", one.axes, (2, side))
    for name, array, tail in (("field", one.field, (2,)), ("surface", one.surface, ()), ("density", one.density, ())):
        if array.size or array.shape != (0, 0, *tail):
            _check_shape(name, array, (side, side, *tail))
    points = one.moved.shape[1] if one.moved.ndim == 3 else 0
    if one.moved.size:
        _check_shape("moved", one.moved, (times, min(points, MOST_POINTS), 2))
    steps = np.diff(one.axes)
    if side and (side < 2 or not np.all(steps > 0) or not np.allclose(steps, steps[:, :1], rtol=1e-3)):
        raise BadInput("axes: expected evenly spaced, increasing values")


def _check_shape(name: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise BadInput(f"{name}: shape {array.shape}; expected {shape}")


def _same(first: np.ndarray, second: np.ndarray) -> bool:
    return np.array_equal(first, second, equal_nan=first.dtype.kind == "f")
