import pickle
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from nasrunner.core import DataError
from nasrunner.data.cifar10 import MD5, Cifar10, CifarFile, cut_out, pad_crop_flip
from tests.data.conftest import files_of, write_batch

FOLDER = "cifar-10-batches-py"


def cifar10(root: Path, pad: int | None = 4, cutout: int | None = None) -> Cifar10:
    return Cifar10(
        in_shape=[3, 32, 32],
        num_outputs=10,
        batch_size=128,
        eval_batch_size=512,
        drop_last=True,
        validation_examples=5000,
        split_seed=0,
        equal_inputs="apart",
        root=str(root),
        pad=pad,
        cutout=cutout,
    )


@pytest.mark.slow
def test_another_checksum_warns_and_is_used(cifar_root: Path) -> None:
    module = cifar10(cifar_root)
    with pytest.warns(UserWarning, match="the checksum of .*data_batch_1.* is not the original's"):
        module.prepare_data()
    module.setup("fit")
    train, validation = module.train_dataloader(), module.val_dataloader()
    assert train.x.shape == (45_000, 3, 32, 32)
    assert validation.y.bincount().tolist() == [500] * 10
    # Class k has pixels k: mean 4.5, variance 8.25 in every channel.
    expected = (validation.y - 4.5) / 8.25**0.5
    torch.testing.assert_close(validation.x[:, 1, 5, 7], expected.float(), atol=1e-3, rtol=0)


@pytest.fixture
def damaged_root(cifar_root: Path, tmp_path: Path) -> Iterator[Path]:
    """The layout with room for one file of the test's own instead of data_batch_3."""
    (tmp_path / FOLDER).mkdir()
    for name in MD5:
        (tmp_path / FOLDER / name).symlink_to(cifar_root / FOLDER / name)
    (tmp_path / FOLDER / "data_batch_3").unlink()
    return tmp_path


X = np.zeros((10_000, 3072), np.uint8)
Y = [0] * 10_000


def test_a_missing_batch_is_named_with_its_checksum(damaged_root: Path) -> None:
    message = f"data_batch_3 is missing. Expected md5: {MD5['data_batch_3']}. Get it from https://"
    with pytest.raises(DataError, match=message):
        cifar10(damaged_root).prepare_data()


def test_a_truncated_batch_is_refused(damaged_root: Path, cifar_root: Path) -> None:
    content = (cifar_root / FOLDER / "data_batch_3").read_bytes()
    (damaged_root / FOLDER / "data_batch_3").write_bytes(content[:-1000])
    with pytest.raises(DataError, match="data_batch_3 is damaged: it is no pickled batch: "):
        cifar10(damaged_root).prepare_data()
    with pytest.raises(DataError, match="data_batch_3 is damaged: it is no pickled batch: "):
        cifar10(damaged_root).setup("fit")


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (X[:9_999], Y, r"its data must be \(10000, 3072\) of uint8, got \(9999, 3072\) uint8"),
        (X.astype(np.int8), Y, r"of uint8, got \(10000, 3072\) int8"),
        (X[:1].tolist(), Y, "of uint8, got None None"),
        (X, Y[1:], "its labels must be 10000 whole numbers from 0 to 9"),
        (X, [10, *Y[1:]], "its labels must be"),
        (X, [-1, *Y[1:]], "its labels must be"),
    ],
)
def test_a_batch_of_another_shape_is_refused(
    x: np.ndarray, y: list[int], message: str, tmp_path: Path
) -> None:
    write_batch(tmp_path / "batch", x, y)
    with pytest.raises(DataError, match=f"batch is damaged: .*{message}"):
        CifarFile(tmp_path / "batch", "", "").verify()


def test_a_pickle_without_the_two_keys_is_refused(tmp_path: Path) -> None:
    (tmp_path / "batch").write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(DataError, match="must be a dictionary with b'data' and b'labels'"):
        CifarFile(tmp_path / "batch", "", "").load()


class Attack:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (self.path,)  # type: ignore[return-value]


def test_a_pickle_cannot_run_code(tmp_path: Path) -> None:
    write_batch(tmp_path / "batch", X, Y, more=Attack(tmp_path / "touched"))
    with pytest.raises(DataError, match=r"must hold plain values and arrays only, not "):
        CifarFile(tmp_path / "batch", "", "").load()
    assert not (tmp_path / "touched").exists()


def test_the_originals_numpy_name_of_python_2_is_read(tmp_path: Path) -> None:
    content = pickle.dumps({b"data": X, b"labels": Y}, protocol=2)
    assert b"numpy._core.multiarray" in content
    old = content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    (tmp_path / "batch").write_bytes(old)
    x, y = CifarFile(tmp_path / "batch", "", "").load()
    assert x.shape == (10_000, 3, 32, 32)
    assert y.tolist() == Y


@pytest.mark.slow
def test_a_search_does_not_open_the_test_batch(damaged_root: Path, cifar_root: Path) -> None:
    (damaged_root / FOLDER / "data_batch_3").symlink_to(cifar_root / FOLDER / "data_batch_3")
    (damaged_root / FOLDER / "test_batch").unlink()
    module = cifar10(damaged_root)
    module.setup("fit")
    with pytest.raises(DataError, match="test_batch is missing"):
        module.setup("test")


@pytest.mark.slow
def test_augmentation_is_for_training_batches_only(cifar_root: Path) -> None:
    module = cifar10(cifar_root)
    module.setup("fit")
    assert module.train_dataloader().augment is not None
    assert module.val_dataloader().augment is None
    assert cifar10(cifar_root, pad=None).augmentation() is None


def crop_by_hand(x: torch.Tensor, pad: int) -> torch.Tensor:
    """One image after another, with the same random numbers."""
    batch, _, height, width = x.shape
    top, left = torch.randint(0, 2 * pad + 1, (2, batch, 1))
    is_mirrored = torch.rand(batch, 1) < 0.5
    images = []
    for index in range(batch):
        image = torch.zeros(x.shape[1], height + 2 * pad, width + 2 * pad)
        image[:, pad : pad + height, pad : pad + width] = x[index]
        row, column = int(top[index]), int(left[index])
        image = image[:, row : row + height, column : column + width]
        images.append(image.flip(2) if is_mirrored[index] else image)
    return torch.stack(images)


def test_images_are_padded_cropped_and_mirrored_each_on_its_own() -> None:
    x = torch.arange(64 * 2 * 5 * 6, dtype=torch.float32).view(64, 2, 5, 6) + 1
    torch.manual_seed(0)
    augmented = pad_crop_flip(x, 2)
    torch.manual_seed(0)
    assert torch.equal(augmented, crop_by_hand(x, 2))
    assert len({image.ne(0).sum().item() for image in augmented}) > 3  # offsets differ


def test_a_square_is_cut_out_of_each_image_at_a_place_of_its_own() -> None:
    x = torch.rand(500, 2, 7, 9) + 1
    torch.manual_seed(0)
    cut = cut_out(x, 4)
    is_cut = cut == 0
    assert torch.equal(cut[~is_cut], x[~is_cut])
    assert torch.equal(is_cut[:, 0], is_cut[:, 1])
    rows, columns = is_cut[:, 0].any(dim=2), is_cut[:, 0].any(dim=1)
    assert torch.equal(is_cut[:, 0], rows[:, :, None] & columns[:, None, :])
    # Centres are drawn among all pixels, so that squares reach over the edges.
    assert set(rows.sum(dim=1).tolist()) == set(columns.sum(dim=1).tolist()) == {2, 3, 4}
    assert rows.any(dim=0).all()
    assert columns.any(dim=0).all()


def test_cutout_comes_after_the_other_augmentation(cifar_root: Path) -> None:
    x = torch.ones(8, 3, 32, 32)
    both = cifar10(cifar_root, pad=4, cutout=16).augmentation()
    alone = cifar10(cifar_root, pad=None, cutout=16).augmentation()
    assert both is not None
    assert alone is not None
    torch.manual_seed(0)
    changed = both(x)
    torch.manual_seed(0)
    assert torch.equal(changed, cut_out(pad_crop_flip(x, 4), 16))
    torch.manual_seed(0)
    expected = cut_out(x, 16)
    torch.manual_seed(0)
    assert torch.equal(alone(x), expected)


@pytest.mark.slow
def test_the_restored_batches_are_the_real_images(tmp_path: Path) -> None:
    script = files_of("cifar10") / "restore.py"
    subprocess.run([sys.executable, str(script), str(tmp_path)], check=True)
    module = cifar10(tmp_path)
    with pytest.warns(UserWarning, match="is not the original's"):
        module.prepare_data()
    x, y = module.read_fit()
    assert y[:10].tolist() == [6, 9, 9, 4, 1, 1, 2, 7, 8, 3]
    assert np.bincount(y).tolist() == [5000] * 10
    np.testing.assert_allclose(x.mean((0, 2, 3)) / 255, [0.4914, 0.4822, 0.4465], atol=5e-5)
    np.testing.assert_allclose(x.std((0, 2, 3)) / 255, [0.2470, 0.2435, 0.2616], atol=5e-5)
    shutil.rmtree(tmp_path / FOLDER)
