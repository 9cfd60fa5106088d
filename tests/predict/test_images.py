"""New images in memory and in files, prepared alike."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from nasrunner.core import DataError
from nasrunner.predict.images import NewImages
from tests.predict.studies import images_of

DRAWS = np.random.default_rng(0)
GREY_NHW = DRAWS.integers(0, 256, (3, 9, 7), dtype=np.uint8)
COLOURS_NHWC = DRAWS.integers(0, 256, (3, 9, 7, 3), dtype=np.uint8)


def images(*, is_grey: bool, size: tuple[int, int] = (9, 7)) -> NewImages:
    """Reads images for a network that was trained on those of a size."""
    return NewImages(images_of(Path("photos")), size, is_grey, ("cat", "dog"))


def prepared(new: NewImages, x: Any) -> np.ndarray:
    (piece,) = new.of(x)
    return np.asarray(piece.x)


@pytest.mark.parametrize("is_grey", [True, False])
@pytest.mark.parametrize("pixels", [GREY_NHW, COLOURS_NHWC, DRAWS.bytes(3 * 9 * 7 * 4)])
def test_images_in_memory_are_prepared_as_those_in_files(
    tmp_path: Path, pixels: Any, is_grey: bool
) -> None:
    if isinstance(pixels, bytes):
        pixels = np.frombuffer(pixels, np.uint8).reshape(3, 9, 7, 4)  # with transparency
    for number, each in enumerate(pixels):
        Image.fromarray(each).save(tmp_path / f"{number}.png")
    folder = images_of(tmp_path, size=[4, 5], colours="grey" if is_grey else "rgb")
    new = NewImages(folder, (4, 5), is_grey, None)
    in_files = prepared(new, tmp_path)
    assert in_files.shape == (3, 1 if is_grey else 3, 4, 5)
    x_NHWC = pixels if pixels.ndim == 4 else pixels[..., None]
    given = [x_NHWC, torch.from_numpy(x_NHWC.copy()), x_NHWC.transpose(0, 3, 1, 2)]
    given += [x_NHWC.astype(np.float32), x_NHWC.astype(np.int64), list(x_NHWC)]
    given += [pixels] if is_grey else []
    for each in given:
        np.testing.assert_array_equal(prepared(new, each), in_files)


@pytest.mark.parametrize(
    ("x", "is_grey", "message"),
    [
        (
            COLOURS_NHWC / 255,
            False,
            "^x has floats from .* to 1, .* legal are bytes .*any scaling$",
        ),
        (COLOURS_NHWC - 127.5, False, r"^x has numbers from -127.5 to 127.5; legal are bytes \(ui"),
        (np.full((1, 9, 7, 3), np.nan), False, "^x has numbers from nan to nan; legal are bytes"),
        (COLOURS_NHWC > 9, False, "^x holds bool; legal are bytes"),
        (COLOURS_NHWC, True, "^x has colours, RGB, and the images of training are grey; legal are"),
        (GREY_NHW[:, :5], True, "^x is 5×7, and the images of training are 9×7; legal are"),
        (GREY_NHW, False, r"^x is \(3, 9, 7\); legal are images \(N, H, W, C\) or .* 1, 3 or 4$"),
        (COLOURS_NHWC[0], True, r"^x is \(9, 7, 3\); legal are .*, or grey ones \(N, H, W\)$"),
        ([GREY_NHW[0], GREY_NHW[0, :4]], True, "^x is list and makes no array: .* equal lengths$"),
    ],
)
def test_images_in_memory_that_may_be_something_else_are_one_sentence(
    x: Any, is_grey: bool, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        prepared(images(is_grey=is_grey), x)


def test_very_narrow_images_have_the_axis_of_those_of_training() -> None:
    x_NCHW = DRAWS.integers(0, 256, (2, 3, 9, 3), dtype=np.uint8)
    new = images(is_grey=False, size=(9, 3))
    np.testing.assert_array_equal(prepared(new, x_NCHW), x_NCHW)
    x_NHWC = x_NCHW.transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(prepared(new, x_NHWC), x_NCHW)


def test_images_are_measured_where_their_folder_is_a_class(tmp_path: Path) -> None:
    for name in ("cat/1.png", "new/bird/2.png", "dog/.thumbs/3.png", "3.png", "__MACOSX/4.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(GREY_NHW[0]).save(tmp_path / name)
    (tmp_path / "cat" / "._1.png").write_bytes(b"of macOS")
    (piece,) = images(is_grey=True).of(tmp_path)
    assert piece.files == ("3.png", "cat/1.png", "new/bird/2.png")
    assert piece.y is not None
    assert piece.y.tolist() == [None, "cat", "bird"]
    (alone,) = images(is_grey=True).of(tmp_path / "new")
    assert alone.y is None
