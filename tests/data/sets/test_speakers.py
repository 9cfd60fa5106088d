import io
from pathlib import Path

import numpy as np
import pytest

from nasrunner.core import DataError
from nasrunner.data.speakers import MD5, NAME, FeatureFile, Speakers
from tests.data.conftest import files_of


def speakers(root: Path, **changes: object) -> Speakers:
    settings = {
        "in_shape": [79],
        "num_outputs": 6,
        "batch_size": 32,
        "eval_batch_size": 2048,
        "drop_last": False,
        "validation_examples": 0.2,
        "split_seed": 0,
        "root": str(root),
        **changes,
    }
    return Speakers(**settings)  # type: ignore[arg-type]


def made_up() -> dict[str, np.ndarray]:
    """Recording i is take i // 60 of digit i // 6 % 10 by speaker i % 6; its features are i."""
    i_N = np.arange(3000)
    return {
        "x": np.repeat(i_N[:, None], 79, axis=1).astype(np.float32),
        "speaker": (i_N % 6).astype(np.uint8),
        "digit": (i_N // 6 % 10).astype(np.uint8),
        "take": (i_N // 60).astype(np.uint8),
    }


def packed(arrays: dict[str, np.ndarray]) -> bytes:
    content = io.BytesIO()
    np.savez(content, **arrays)
    return content.getvalue()


def test_the_first_five_takes_of_each_digit_are_the_test(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(packed(made_up()))
    x_NF, y_N = speakers(tmp_path).read_test()
    assert x_NF[:, 0].tolist() == list(range(300))  # type: ignore[call-overload]
    assert y_N.tolist() == [0, 1, 2, 3, 4, 5] * 50
    fit_x_NF, fit_y_N, _ = speakers(tmp_path).read_fit()
    assert fit_x_NF[:, 0].tolist() == list(range(300, 3000))  # type: ignore[call-overload]
    assert np.bincount(fit_y_N).tolist() == [450] * 6


@pytest.mark.filterwarnings("ignore:data. the checksum of:UserWarning")
@pytest.mark.parametrize("split_seed", [0, 1, 2])
def test_all_that_a_speaker_says_in_one_take_stands_in_one_part(
    split_seed: int, tmp_path: Path
) -> None:
    (tmp_path / NAME).write_bytes(packed(made_up()))
    module = speakers(tmp_path, split_seed=split_seed)
    module.setup("fit")
    mean, std = module.normalization.mean, module.normalization.std  # type: ignore[union-attr]
    parts = []
    for loader in (module.train_dataloader(), module.val_dataloader()):
        numbers = np.rint(loader.x.numpy() * std + mean)[:, 0].astype(int)
        parts.append({(number // 60, number % 6) for number in numbers.tolist()})
    assert not parts[0] & parts[1]
    assert [len(part) for part in parts] == [216, 54]
    assert module.val_dataloader().y.bincount().tolist() == [90] * 6


def test_the_real_file_is_whole_and_its_speakers_are_told_apart_by_their_means() -> None:
    """A nearest centroid of standardized features has 92.3 % of the test, as its maker says."""
    module = speakers(files_of("fsdd"))
    assert module.files()[0].verify() == MD5
    module.join_validation()
    module.setup("test")
    train, test = module.train_dataloader(), module.test_dataloader()
    centroids = np.stack([train.x[train.y == each].mean(0).numpy() for each in range(6)])
    distances = np.linalg.norm(test.x.numpy()[:, None] - centroids, axis=-1)
    assert round(100 * float((distances.argmin(1) == test.y.numpy()).mean()), 1) == 92.3


def test_features_of_ones_own_are_used_with_a_warning(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(packed(made_up()))
    with pytest.warns(UserWarning, match=r"checksum of .*fsdd_features\.npz is not the original's"):
        speakers(tmp_path).prepare_data()


def test_a_missing_file_says_what_to_put_where(tmp_path: Path) -> None:
    message = r"fsdd_features\.npz is missing.*free-spoken-digit-dataset, whose recordings.*79"
    with pytest.raises(DataError, match=message):
        speakers(tmp_path).prepare_data()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": np.zeros((3000, 78), np.float32)}, r"its x must be \(3000, 79\) floats, got \(3000"),
        ({"x": np.zeros((3000, 79), np.int64)}, r"its x must be \(3000, 79\) floats, .* int64"),
        ({"take": np.zeros(2999, np.uint8)}, "its take must be 3,000 whole numbers, got"),
        ({"speaker": np.zeros(3000)}, "its speaker must be 3,000 whole numbers, got .*float64"),
        ({"speaker": np.zeros(3000, np.uint8)}, r"its speakers must be 0 to 5, got \[0\]"),
        (
            {"digit": np.array([{}] * 3000)},
            "it is no numpy archive: Object arrays cannot be loaded",
        ),
    ],
)
def test_a_damaged_archive_says_what_is_wrong(
    changes: dict[str, np.ndarray], message: str, tmp_path: Path
) -> None:
    (tmp_path / NAME).write_bytes(packed({**made_up(), **changes}))
    with pytest.raises(DataError, match=message):
        FeatureFile(tmp_path / NAME, MD5, "").verify()


@pytest.mark.parametrize("content", [b"", b"no archive", packed(made_up())[:5000]])
def test_what_is_no_archive_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(DataError, match=r"is damaged: it is no numpy archive"):
        FeatureFile(tmp_path / NAME, MD5, "").verify()
