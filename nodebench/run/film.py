"""Pictures of a training as one small ``.npz`` file, read without pickle.

An array is stored only where it differs from the picture before it: truth and observations stand still.
"""

import os
from dataclasses import fields
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from nodebench.errors import BadInput
from nodebench.paths import open_file
from nodebench.spec.trajectories import Film, Trajectories

_FIELDS = [field.name for field in fields(Trajectories)]


def save_film(path: Path, film: Film) -> None:
    """Write a film; the file is there whole or not at all."""
    arrays: dict[str, np.ndarray] = {}
    before: dict[str, np.ndarray] = {}
    for epoch in sorted(film):
        for name in _FIELDS:
            array = np.asarray(getattr(film[epoch], name))
            array = array.astype(np.float32) if array.dtype == np.float64 else array
            if name not in before or not _same(array, before[name]):
                arrays[f"{epoch}/{name}"] = before[name] = array
    path.parent.mkdir(exist_ok=True)
    part = path.with_suffix(".part")
    with open_file(path.parent, part.name, mode="wb") as file:
        np.savez_compressed(file, epochs=np.array(sorted(film)), **arrays)  # type: ignore[arg-type]
    os.replace(part, path)


def load_film(path: Path) -> Film:
    """Read a film.

    Raises:
        BadInput: the file is no film.
    """
    film: Film = {}
    current: dict[str, np.ndarray] = {}
    try:
        with np.load(path, allow_pickle=False) as arrays:
            for epoch in arrays["epochs"].tolist():
                current |= {name: arrays[f"{epoch}/{name}"] for name in _FIELDS if f"{epoch}/{name}" in arrays}
                film[epoch] = _trajectories(current)
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise BadInput(f"{path} cannot be read: {str(error).splitlines()[0]}") from error
    return film


def _trajectories(arrays: dict[str, np.ndarray]) -> Trajectories:
    start, end = arrays["trained"].tolist()
    plain = {
        "trained": (start, end),
        "time_label": str(arrays["time_label"]),
        "labels": tuple(arrays["labels"].tolist()),
    }
    return Trajectories(**(arrays | plain))  # type: ignore[arg-type]


def _same(first: np.ndarray, second: np.ndarray) -> bool:
    return np.array_equal(first, second, equal_nan=first.dtype.kind == "f")
