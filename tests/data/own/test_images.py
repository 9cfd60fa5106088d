from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nasrunner.core import ConfigError, DataError
from nasrunner.data.own.images import ImageFolder
from nasrunner.data.own.reading import Reading

COMMON: dict[str, Any] = {
    "batch_size": 4,
    "eval_batch_size": 64,
    "drop_last": False,
    "validation_examples": 0.2,
    "split_seed": 0,
}


def draw(path: Path, seed: int, size: tuple[int, int] = (9, 7), mode: str = "RGB") -> None:
    """Writes an image of so many rows and columns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)


def guessed(root: Path, **settings: Any) -> ImageFolder:
    settings = {**COMMON, "root": str(root), **settings}
    return ImageFolder(**settings, **ImageFolder(**settings).guess("classes").settings)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Twenty images of each of two classes, 9 rows and 7 columns."""
    for number in range(40):
        draw(tmp_path / "photos" / ("cat", "dog")[number % 2] / f"{number}.png", number)
    return tmp_path / "photos"


def test_folders_are_classes(root: Path) -> None:
    (root / "cat" / "notes.txt").write_text("not an image")
    found = ImageFolder(**COMMON, root=str(root)).guess("classes")
    expected = {"in_shape": [3, 9, 7], "num_outputs": 2, "target_kind": "classes"}
    assert found.settings.items() >= expected.items()
    assert "classes cat 50%, dog 50%" in found.told()
    assert "1 files that are no images are left out" in found.told()


def test_pixels_come_back_from_a_reading(root: Path) -> None:
    module = guessed(root)
    module.setup("fit")
    reading = module.reading
    assert Reading.from_json(reading.to_json()) == reading
    assert reading.classes == ("cat", "dog")
    assert reading.settings == {"size": [9, 7], "colours": "rgb"}
    x, y = next(iter(module.val_dataloader()))
    mean, std = (np.reshape(each, (3, 1, 1)) for each in (reading.mean, reading.std))
    pixels = np.round(x[0].numpy() * std + mean)
    label = reading.classes[int(y[0])]
    files = sorted((root / str(label)).glob("*.png"))
    assert any(np.array_equal(np.moveaxis(np.asarray(Image.open(f)), -1, 0), pixels) for f in files)


def test_a_test_that_lies_apart_is_the_test(root: Path, tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    root.rename(tmp_path / "whole" / "train")
    for number in range(6):
        draw(tmp_path / "whole" / "test" / ("cat", "dog")[number % 2] / f"{number}.png", number)
    module = guessed(tmp_path / "whole")
    module.setup("test")
    assert len(module.test_dataloader().y) == 6
    assert len(module.train_dataloader().y) == 32
    draw(tmp_path / "whole" / "test" / "fox" / "0.png", 0)
    with pytest.raises(DataError, match=r"the test has classes that training never saw: 'fox'"):
        guessed(tmp_path / "whole")


def test_images_of_several_sizes_and_modes_are_named_and_made_alike(root: Path) -> None:
    for number, mode in enumerate(["L", "RGBA", "P", "1", "CMYK"]):
        name = f"{mode}.{'jpg' if mode == 'CMYK' else 'png'}"
        draw(root / "cat" / name, number, (5 + number, 12), mode)
    told = r"has images of 6 sizes, 5×12 to 9×12; legal are .* data.size=5, to which all are"
    with pytest.raises(DataError, match=told):
        guessed(root)
    settings = {**COMMON, "root": str(root), "size": 6}
    found = ImageFolder(**settings).guess("classes")
    assert found.settings["in_shape"] == [3, 6, 6]
    assert "converted: 1 1, 1 CMYK, 1 L, 1 P, 1 RGBA" in found.told()
    assert guessed(root, size=[4, 8], colours="grey").in_shape == [1, 4, 8]


def test_images_that_changed_are_refused(root: Path) -> None:
    module = guessed(root)
    (root / "cat" / "notes.txt").write_text("not an image")
    module.prepare_data()
    draw(root / "cat" / "99.png", 99)
    with pytest.raises(DataError, match=r"photos has changed: its digest is "):
        module.prepare_data()


def test_only_files_of_pixels_are_opened(root: Path) -> None:
    for name in ("drawing.eps", "paper.pdf", "arrays.h5"):
        (root / "cat" / name).write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 7 9\n")
    told = ImageFolder(**COMMON, root=str(root)).guess("classes").told()
    assert "3 files that are no images are left out" in told
    (root / "cat" / "drawing.eps").rename(root / "cat" / "drawing.png")
    with pytest.raises(DataError, match=r"cat/drawing.png is broken: cannot identify image file"):
        guessed(root)


def test_images_without_colours_have_one_channel(tmp_path: Path) -> None:
    for number in range(20):
        draw(tmp_path / "ab"[number % 2] / f"{number}.png", number, mode="L")
    assert guessed(tmp_path).in_shape == [1, 9, 7]


def test_a_turned_image_is_turned_back(tmp_path: Path) -> None:
    for number in range(20):
        draw(tmp_path / "ab"[number % 2] / f"{number}.png", number)
    turned = Image.open(tmp_path / "a" / "0.png").transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = np.asarray(Image.open(tmp_path / "a" / "0.png"))
    turned.save(tmp_path / "a" / "0.png", exif=exif)
    x = ImageFolder(**COMMON, root=str(tmp_path)).read().x
    assert np.array_equal(np.moveaxis(x[0], 0, -1), upright)


@pytest.mark.parametrize("form", ["png", "jpg"])
def test_a_broken_file_is_named(root: Path, form: str) -> None:
    draw(root / "dog" / f"99.{form}", 99, (9, 7))
    content = (root / "dog" / f"99.{form}").read_bytes()
    (root / "dog" / f"99.{form}").write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(DataError, match=rf"dog/99.{form} is broken: .*; put a whole file there"):
        guessed(root)
    (root / "dog" / f"99.{form}").write_bytes(b"")
    with pytest.raises(DataError, match=rf"dog/99.{form} is broken: cannot identify image file"):
        guessed(root)


def test_images_are_no_tokens(root: Path) -> None:
    with pytest.raises(ConfigError, match=r"data.in_dtype=int64 is of tokens, but images are pixe"):
        ImageFolder(**COMMON, root=str(root), in_dtype="int64")


def test_more_than_eight_bits_are_refused(root: Path) -> None:
    Image.fromarray(np.zeros((9, 7), np.uint16)).save(root / "cat" / "deep.png")
    with pytest.raises(DataError, match=r"deep.png is an image of mode I;16; legal are those"):
        guessed(root)


def test_folders_without_images_are_named(root: Path, tmp_path: Path) -> None:
    (root / "fox").mkdir()
    with pytest.raises(DataError, match=r"the folder .*/fox has no images"):
        guessed(root)
    with pytest.raises(DataError, match=r"dog has no folders; legal is one for each class"):
        guessed(root / "dog")
    with pytest.raises(DataError, match=r"gone is missing"):
        guessed(tmp_path / "gone")


def test_a_file_that_changed_is_read_again(root: Path) -> None:
    before = ImageFolder(**COMMON, root=str(root)).read().x[0]
    (root / "cat" / "0.png").unlink()
    draw(root / "cat" / "0.png", 1000)
    assert not np.array_equal(ImageFolder(**COMMON, root=str(root)).read().x[0], before)
