"""Sources of heart beats: synthetic hearts, the MIT-BIH Arrhythmia Database, UCR's ECG5000.

Each source returns raw beats, not normalised, split into training and test beats. No beat is in both parts. If there
are several records, no record is in both parts.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from nodebench.errors import BadInput, first_line
from nodebench.models.ecgsyn import MILLIVOLT, TABLE_1, EcgSyn, Waves
from nodebench.models.systems import exact_states
from nodebench.spec import DataSource
from nodebench.tasks.contract import DatasetInfo

SYNTHETIC, MITDB, ECG5000 = "ecgsyn", "mitdb", "ecg5000"
DATASETS = {
    SYNTHETIC: DatasetInfo("synthetic beats of varied shape, generated; needs no file", "McSharry et al. 2003"),
    MITDB: DatasetInfo("MIT-BIH Arrhythmia Database, from --data or --download", "Moody and Mark 2001, PhysioNet"),
    ECG5000: DatasetInfo("5,000 beats of one patient, from --data or --download", "Chen et al. 2015, UCR archive"),
}
ECG5000_URL = "https://www.timeseriesclassification.com/aeon-toolkit/ECG5000.zip"

POINTS = 100  # of a beat
BEFORE, AFTER = 0.3, 0.45  # seconds before and after the R peak
SMOOTHING_SECONDS = 0.03  # window of the Savitzky–Golay derivative
TEST_SHARE = 0.2
BEAT_SYMBOLS = list("NLRBAaJSVrFejnE/fQ?")  # PhysioNet annotation symbols that mark a beat
RATE = 256  # Hz, of the synthetic record


class Beats(NamedTuple):
    """Raw beats.

    Attributes:
        signal: signal and derivative ``(N, POINTS, 2)``.
        labels: class names ``(N,)``.
        noise: estimated noise of the signal over the whole set, in the unit of the signal.
        length: length of a beat, in ``time_unit``.
        time_unit: unit of time.
    """

    signal: np.ndarray
    labels: np.ndarray
    noise: float
    length: float
    time_unit: str


class Split(NamedTuple):
    """Training beats and test beats."""

    train: Beats
    test: Beats


def synthetic(hearts: int, beats: int, noise: float, seed: int) -> Split:
    """Synthetic beats: ``hearts`` records of ``beats`` beats, split by heart.

    Strengths, widths and angles vary about Table 1 of the paper, and a fifth of the hearts have an inverted T
    wave. RR intervals wander with the paper's two spectral peaks. Noise is Gaussian, in mV.
    """
    random = np.random.default_rng(seed)

    def spread(scale: float) -> torch.Tensor:
        return torch.from_numpy(np.exp(scale * random.standard_normal((hearts, 5))))

    inverted = random.permutation(np.arange(hearts) % 5 == 0)
    sign = torch.ones(hearts, 5, dtype=torch.float64)
    sign[torch.from_numpy(inverted), 4] = -1
    waves = Waves(TABLE_1.angle * spread(0.1), TABLE_1.strength * spread(0.3) * sign, TABLE_1.width * spread(0.15))
    seconds = 1.15 * (beats + 3)
    interval = _wandering_intervals(random.uniform(0.8, 1.1, hearts), 0.03, random)
    start = torch.tensor([-1.0, 0.0, 0.0], dtype=torch.float64).expand(hearts, 3)
    times = torch.arange(int(seconds * RATE), dtype=torch.float64) / RATE
    states = exact_states(EcgSyn(waves, interval), start, times, tolerance=1e-7).numpy()
    parts: dict[bool, list[tuple[np.ndarray, np.ndarray]]] = {False: [], True: []}
    test = set(random.permutation(hearts)[: max(1, round(TEST_SHARE * hearts))].tolist())
    levels = []
    for heart in range(hearts):
        x, y, z = states[:, heart].T
        signal = MILLIVOLT * z + noise * random.standard_normal(len(z))
        turns = np.unwrap(np.arctan2(y, x)) / (2 * np.pi)
        # Skip the first beat, which still depends on the initial state.
        peaks = RATE * np.interp(np.arange(1, beats + 1), turns, times.numpy())
        name = "inverted T" if inverted[heart] else "upright T"
        parts[heart in test].append((cut_beats(signal, peaks, RATE), np.full(beats, name)))
        levels.append(noise_level(signal))
    return Split(*(_joined(parts[held_out], levels) for held_out in (False, True)))


def _wandering_intervals(
    mean: np.ndarray, spread: float, random: np.random.Generator
) -> Callable[[torch.Tensor], torch.Tensor]:
    """RR intervals over time: two Gaussian peaks in the spectrum, at 0.1 and 0.25 Hz (the paper's equation 3)."""
    step, length = 0.25, 512
    frequency = np.fft.rfftfreq(length, step)
    power = np.exp(-0.5 * ((frequency - 0.1) / 0.01) ** 2) + 2 * np.exp(-0.5 * ((frequency - 0.25) / 0.01) ** 2)
    phases = np.exp(2j * np.pi * random.random((len(mean), len(frequency))))
    wander = np.fft.irfft(np.sqrt(power) * phases, length)
    wander *= spread * mean[:, None] / wander.std(1, keepdims=True)
    table = torch.from_numpy(mean[:, None] + wander)

    def interval(t: torch.Tensor) -> torch.Tensor:
        place = t / step
        i = int(place) % (length - 1)
        return table[:, i].lerp(table[:, i + 1], float(place) % 1)

    return interval


def check(dataset: str, source: DataSource) -> None:
    """Check that the files of a data set exist or may be downloaded.

    Raises:
        BadInput: the files do not exist and may not be downloaded.
    """
    folder = _folder(source, dataset)
    if source.download or dataset == SYNTHETIC:
        return
    if dataset == MITDB and not any(folder.glob("*.hea")):
        raise BadInput(f"--data {folder}: no record (*.hea) in it; add --download, or give the folder that has them")
    if dataset == ECG5000 and not (folder / "ECG5000_TRAIN.txt").is_file():
        raise BadInput(f"no ECG5000_TRAIN.txt in {folder}; add --download, or give the folder that has it as --data")


def mitdb(source: DataSource, records: list[str], lead: str) -> Split:
    """Return annotated beats of MIT-BIH records, split by record; of a single record, the end is the test set.

    Raises:
        BadInput: a record or lead does not exist, or a file is damaged.
    """
    beats = [_mitdb_record(source, record, lead) for record in records]
    if len(beats) > 1:
        cut = max(1, round(TEST_SHARE * len(beats)))
        parts = beats[:-cut], beats[-cut:]
        chosen = [[(b.signal, b.labels) for b in part] for part in parts]
    else:
        (only,) = beats
        first_test = int(len(only.signal) * (1 - TEST_SHARE))
        # One beat is left out between the parts, since windows of early beats overlap.
        chosen = [
            [(only.signal[: first_test - 1], only.labels[: first_test - 1])],
            [(only.signal[first_test:], only.labels[first_test:])],
        ]
    levels = [b.noise for b in beats]
    return Split(*(_joined(part, levels) for part in chosen))


def _mitdb_record(source: DataSource, record: str, lead: str) -> Beats:
    import wfdb

    folder = _folder(source, MITDB)
    if source.download and not (folder / f"{record}.atr").is_file():
        wfdb.dl_files("mitdb", str(folder), [f"{record}.{kind}" for kind in ("hea", "dat", "atr")])
    for kind in ("hea", "dat", "atr"):
        if not (folder / f"{record}.{kind}").is_file():
            known = ", ".join(sorted(p.stem for p in folder.glob("*.hea"))) or "none"
            raise BadInput(f"no {record}.{kind} in {folder}. Records there: {known}")
    try:
        signals = wfdb.rdrecord(str(folder / record))
        notes = wfdb.rdann(str(folder / record), "atr")
    except Exception as error:  # wfdb raises many types of exceptions
        raise BadInput(f"record {record} in {folder} cannot be read: {first_line(error)}") from error
    if lead not in signals.sig_name:
        raise BadInput(f"record {record} has no lead '{lead}'. Allowed: {', '.join(signals.sig_name)}")
    signal = signals.p_signal[:, signals.sig_name.index(lead)]
    beat = np.isin(notes.symbol, BEAT_SYMBOLS)
    peaks = notes.sample[beat]
    whole = (peaks > BEFORE * signals.fs + 1) & (peaks < len(signal) - AFTER * signals.fs - 1)
    labels = np.array(notes.symbol)[beat][whole]
    beats = cut_beats(signal, peaks[whole], signals.fs)
    return Beats(beats, labels, noise_level(signal), BEFORE + AFTER, "s")


def ecg5000(source: DataSource) -> Split:
    """Return UCR's beats of 140 samples, split as in the archive; without its test file, the last fifth is for testing.

    The beats come from one patient in random order and without their time: a split by time is not possible.

    Raises:
        BadInput: the file does not exist or is not a table of beats.
    """
    folder = _folder(source, ECG5000)
    check(ECG5000, source)
    if source.download and not (folder / "ECG5000_TRAIN.txt").is_file():
        _download_ecg5000(folder)
    train = _ecg5000_table(folder / "ECG5000_TRAIN.txt")
    if (folder / "ECG5000_TEST.txt").is_file():
        test = _ecg5000_table(folder / "ECG5000_TEST.txt")
    else:
        cut = int(len(train) * (1 - TEST_SHARE))
        train, test = train[:cut], train[cut:]
    level = float(np.median([noise_level(row) for row in train[:, 1:]]))
    return Split(*(_ecg5000_beats(table, level) for table in (train, test)))


def _ecg5000_beats(table: np.ndarray, level: float) -> Beats:
    labels, signal = table[:, 0].astype(int).astype(str), table[:, 1:]
    samples = signal.shape[1]
    slope = _slope(signal, 7, samples - 1)
    grid, places = np.linspace(0, 1, POINTS), np.linspace(0, 1, samples)
    both = [[np.interp(grid, places, row) for row in channel] for channel in (signal, slope)]
    return Beats(np.stack(both, -1), labels, level, 1.0, "beat")


def _slope(signal: np.ndarray, window: int, rate: float) -> np.ndarray:
    """The derivative of cubics fitted over ``window`` samples (Savitzky and Golay, 1964), along the last axis."""
    from scipy.signal import savgol_filter  # imported here, since the import takes a second

    return savgol_filter(signal, window, 3, deriv=1, delta=1 / rate)


def _ecg5000_table(path: Path) -> np.ndarray:
    try:
        table = np.loadtxt(path, ndmin=2)
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} is not a table of numbers: {first_line(error)}") from error
    if table.shape[1] != 141 or not np.isfinite(table).all():
        raise BadInput(f"{path}: {table.shape[1]} finite columns, expected 141 (the class and 140 samples)")
    return table


def _download_ecg5000(folder: Path) -> None:
    import io
    import urllib.request
    import zipfile

    try:
        with urllib.request.urlopen(ECG5000_URL, timeout=60) as answer:
            archive = zipfile.ZipFile(io.BytesIO(answer.read()))
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("ECG5000_TRAIN.txt", "ECG5000_TEST.txt"):
            archive.extract(name, folder)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise BadInput(f"ECG5000 cannot be fetched from {ECG5000_URL}: {first_line(error)}") from error


def cut_beats(signal: np.ndarray, peaks: np.ndarray, rate: float) -> np.ndarray:
    """Beats ``(N, POINTS, 2)`` about R peaks given in samples: the signal, and its Savitzky–Golay derivative per s."""
    window = max(5, 2 * round(SMOOTHING_SECONDS * rate / 2) + 1)
    slope = _slope(signal, window, rate)
    offsets = rate * np.linspace(-BEFORE, AFTER, POINTS)
    places = peaks[:, None] + offsets
    samples = np.arange(len(signal))
    return np.stack([np.interp(places, samples, signal), np.interp(places, samples, slope)], -1)


def noise_level(signal: np.ndarray) -> float:
    """Estimate the standard deviation of white noise in a smooth signal from the median of its second differences.

    Source: after Donoho and Johnstone 1994 (median absolute deviation of the finest scale); robust against the
    few samples of a QRS complex.
    """
    second = np.diff(signal, 2)
    return float(np.median(np.abs(second)) / 0.6745 / np.sqrt(6))


def _joined(parts: list[tuple[np.ndarray, np.ndarray]], levels: list[float]) -> Beats:
    signal, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return Beats(signal, labels, float(np.median(levels)), BEFORE + AFTER, "s")


def _folder(source: DataSource, name: str) -> Path:
    """The folder of a set: the one given, or its subfolder of that name."""
    folder = source.folder or Path.home() / ".cache" / "nodebench"
    return folder / name if (folder / name).is_dir() or source.folder is None else folder
