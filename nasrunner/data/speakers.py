"""Six speakers told apart by features of how they say digits: Free Spoken Digit Dataset."""

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from nasrunner.data.files import DataFile
from nasrunner.data.tensors import Arrays, Grouped, TensorDataModule

# N = number of recordings, F = features

NAME = "fsdd_features.npz"
MD5 = "2eeef9b61a76a6c081d494c4aae01e16"
SOURCE = (
    "https://github.com/Jakobovski/free-spoken-digit-dataset, whose recordings it has features of: "
    "arrays x (3000, 79), speaker, digit and take (3000,)"
)
NUM_RECORDINGS = 3000
NUM_FEATURES = 79
NUM_SPEAKERS = 6
NUM_TEST_TAKES = 5
"""Takes 0 to 4 of each speaker and digit are the data set's own test part."""


@dataclass(frozen=True)
class Recordings:
    """Features of recordings, and what each is a recording of.

    Attributes:
        x_NF: the features.
        speaker_N: who speaks, 0 to 5.
        digit_N: what is said, 0 to 9.
        take_N: which repetition it is, 0 to 49.
    """

    x_NF: np.ndarray
    speaker_N: np.ndarray
    digit_N: np.ndarray
    take_N: np.ndarray


@dataclass(frozen=True)
class FeatureFile(DataFile):
    """A numpy archive of features: ``x``, ``speaker``, ``digit`` and ``take``."""

    must_match: ClassVar[bool] = False  # features of the recordings that others have computed

    def parse(self, content: bytes) -> Recordings:
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
        except (EOFError, OSError, TypeError, ValueError, zipfile.BadZipFile) as error:
            raise ValueError(f"it is no numpy archive: {error}") from error
        for name in ("speaker", "digit", "take"):
            _check_numbers(name, arrays.get(name))
        x_NF = arrays.get("x")
        if x_NF is None or x_NF.shape != (NUM_RECORDINGS, NUM_FEATURES) or x_NF.dtype.kind != "f":
            raise ValueError(f"its x must be {NUM_RECORDINGS, NUM_FEATURES} floats, {_told(x_NF)}")
        speakers = np.unique(arrays["speaker"])
        if not np.array_equal(speakers, np.arange(NUM_SPEAKERS)):
            raise ValueError(f"its speakers must be 0 to {NUM_SPEAKERS - 1}, got {speakers}")
        return Recordings(x_NF, arrays["speaker"], arrays["digit"], arrays["take"])


def _check_numbers(name: str, array_N: np.ndarray | None) -> None:
    if array_N is None or array_N.shape != (NUM_RECORDINGS,) or array_N.dtype.kind not in "iu":
        raise ValueError(f"its {name} must be {NUM_RECORDINGS:,} whole numbers, {_told(array_N)}")


def _told(array: np.ndarray | None) -> str:
    return "got none" if array is None else f"got {array.shape} {array.dtype}"


@dataclass(kw_only=True, eq=False)
class Speakers(TensorDataModule):
    """3,000 recordings of six speakers, each of whom says ten digits 50 times, six classes.

    Jackson et al., "Free Spoken Digit Dataset", 8 kHz, CC BY-SA 4.0. The 79 features of a
    recording, in this order: mean over time of 26 log-mel bands, their standard deviations, mean
    of 13 mel-frequency cepstral coefficients, their standard deviations, and the duration in
    seconds. Takes 0 to 4 are the data set's own test part: 300 recordings. What a speaker says in
    one take, all ten digits, stands in one part: validation holds out whole takes of a speaker,
    as the test does.

    Args:
        root: folder of ``fsdd_features.npz``. Another file of the same form, such as features
            of one's own, is used with a warning.

    Differs from MLPNAS of the survey "Neural Architecture Search: An Overview", section 5.1: its
    ten speakers come from a university course, are not public, and neither are their features.
    """

    root: str

    def files(self) -> list[FeatureFile]:
        return [FeatureFile(Path(self.root) / NAME, MD5, SOURCE)]

    def read_fit(self) -> Grouped:
        recordings = self._read()
        rows = np.flatnonzero(recordings.take_N >= NUM_TEST_TAKES)
        speaker_N = recordings.speaker_N[rows].astype(np.int64)
        takes_N = recordings.take_N[rows].astype(np.int64) * NUM_SPEAKERS + speaker_N
        return recordings.x_NF[rows], speaker_N, takes_N

    def read_test(self) -> Arrays:
        recordings = self._read()
        rows = np.flatnonzero(recordings.take_N < NUM_TEST_TAKES)
        return recordings.x_NF[rows], recordings.speaker_N[rows].astype(np.int64)

    def _read(self) -> Recordings:
        recordings: Recordings = self.files()[0].load()
        return recordings
