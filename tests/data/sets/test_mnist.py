import shutil
from pathlib import Path

import numpy as np
import pytest

from nasrunner.core import DataError
from nasrunner.data.mnist import IdxFile, Mnist
from tests.data.conftest import files_of

SMALL = bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6])
"""An idx file of a (2, 3) array, by hand."""
MD5 = "1a774071ebf25ebafb01d634933b5146"


def mnist(root: Path) -> Mnist:
    return Mnist(
        in_shape=[1, 28, 28],
        num_outputs=10,
        batch_size=128,
        eval_batch_size=2048,
        drop_last=True,
        validation_examples=5000,
        split_seed=0,
        root=str(root),
    )


def test_an_idx_file_is_read_by_hand(tmp_path: Path) -> None:
    (tmp_path / "small").write_bytes(SMALL)
    values = IdxFile(tmp_path / "small", MD5, "", shape=(2, 3)).load()
    np.testing.assert_array_equal(values, [[1, 2, 3], [4, 5, 6]])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (SMALL[:-1], "it must hold 18 bytes unpacked, got 17"),
        (SMALL + b"x", "it must hold 18 bytes unpacked, got 19"),
        (SMALL[:10], "its header has 12 bytes, got 10"),
        (b"", "starts with .*, got b''"),
        (b"\0\0\x0d" + SMALL[3:], r"starts with .* got b'\\x00\\x00\\r\\x02'"),
        (SMALL[:7] + b"\x03" + SMALL[8:], r"its shape must be \(2, 3\), got \(3, 3\)"),
        (SMALL[:-1] + b"\x07", "has another checksum"),
    ],
)
def test_a_damaged_idx_file_says_what_is_wrong(
    content: bytes, message: str, tmp_path: Path
) -> None:
    (tmp_path / "small").write_bytes(content)
    with pytest.raises(DataError, match=message):
        IdxFile(tmp_path / "small", MD5, "", shape=(2, 3)).verify()


def test_a_missing_file_is_named_with_where_to_get_it(tmp_path: Path) -> None:
    message = (
        r"train-images-idx3-ubyte is missing. Expected md5: 6bbc9ace898e44ae57da46a324031adb. "
        r"Get it from https://.*/train-images-idx3-ubyte.gz"
    )
    with pytest.raises(DataError, match=message):
        mnist(tmp_path).prepare_data()


def test_the_real_files_are_whole_and_have_the_known_statistics() -> None:
    module = mnist(files_of("mnist"))
    module.prepare_data()
    x, y = module.read_fit()
    histogram = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(y).tolist() == histogram
    assert x.mean() / 255 == pytest.approx(0.1307, abs=5e-5)
    _, test_y = module.read_test()
    test_histogram = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert np.bincount(test_y).tolist() == test_histogram
    module.setup("fit")
    assert len(module.train_dataloader().x) == 55_000
    assert len(module.val_dataloader().x) == 5_000


def test_a_search_does_not_open_the_test_files(tmp_path: Path) -> None:
    source = files_of("mnist")
    for name in ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"):
        shutil.copy(source / name, tmp_path)
    module = mnist(tmp_path)
    module.setup("fit")
    assert module.val_dataloader().x.shape == (5000, 1, 28, 28)
    with pytest.raises(DataError, match="t10k-images-idx3-ubyte is missing"):
        module.setup("test")
