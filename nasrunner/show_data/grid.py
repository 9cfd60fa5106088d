"""Some images of each class of a data set, as one picture or on a terminal."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.text import Text

from nasrunner.core.errors import ConfigError

# C = channels, H, W = height and width

_ROWS, _COLUMNS = 10, 8
"""Classes in a grid of images, and images of each."""

_TILE = 64
"""Pixels that the side of an image in a grid has at least."""

_ON_TERMINAL = 64
"""Columns of a terminal that images are shown in."""


def images_of(data: Any) -> np.ndarray | None:
    """Returns some training images of each class, (rows, columns, H, W, 3) of bytes; None: there
    are none.

    What a class has too few of is black.
    """
    for batch in data.train_dataloader():
        x = batch[0]
        if isinstance(x, Mapping) or x.ndim != 4 or x.shape[1] not in (1, 3, 4):
            return None
        break
    tiles: dict[int, list[np.ndarray]] = {}
    for x, y, *_ in data.train_dataloader():
        labels = y.tolist() if y.ndim == 1 else [0] * len(y)
        for image, label in zip(x, labels, strict=True):
            of_class = tiles.setdefault(label, [])
            if len(of_class) < _COLUMNS and (label in sorted(tiles)[:_ROWS]):
                of_class.append(_as_bytes(np.asarray(image.cpu()), data))
        if len(tiles) >= _ROWS and all(len(each) == _COLUMNS for each in tiles.values()):
            break
    rows = [tiles[label] for label in sorted(tiles)[:_ROWS]]
    empty = np.zeros_like(next(each[0] for each in rows if each))
    return np.stack([np.stack([*row, *[empty] * (_COLUMNS - len(row))]) for row in rows])


def _as_bytes(x_CHW: np.ndarray, data: Any) -> np.ndarray:
    """An image (H, W, 3) of bytes: as it was before normalization, if that is known."""
    if (found := getattr(data, "normalization", None)) is not None:
        x_CHW = x_CHW * np.asarray(found.std) + np.asarray(found.mean)
    low, high = float(x_CHW.min()), float(x_CHW.max())
    if low >= -0.5 and 17 < high < 255.5:
        low, high = 0.0, 255.0
    x_HWC = np.moveaxis((x_CHW - low) / max(high - low, 1e-9), 0, -1)[..., :3]
    x_HWC = np.repeat(x_HWC, 3, axis=-1) if x_HWC.shape[-1] == 1 else x_HWC
    return np.asarray(np.round(np.clip(x_HWC, 0, 1) * 255), dtype=np.uint8)


def write_grid(grid: np.ndarray, path: Path) -> None:
    """Writes rows of images as one.

    Args:
        grid: (rows, columns, H, W, 3) of bytes.
        path: of the file; its ending says its form.

    Raises:
        ConfigError: there is no such form, or the file cannot be written.
    """
    from PIL import Image

    R, K, H, W, _ = grid.shape
    times = max(1, -(-_TILE // max(H, W)))
    tiles = grid.repeat(times, axis=2).repeat(times, axis=3)
    framed = np.pad(tiles, [(0, 0), (0, 0), (1, 1), (1, 1), (0, 0)], constant_values=255)
    whole = framed.swapaxes(1, 2).reshape(R * (H * times + 2), K * (W * times + 2), 3)
    try:
        Image.fromarray(whole).save(path)
    except (OSError, ValueError) as error:
        raise ConfigError(f"--grid={path} cannot be written: {error}") from error


def on_terminal(grid: np.ndarray) -> Text:
    """Returns the first images of some classes as coloured half blocks, two rows a line."""
    _, _, H, W, _ = grid.shape
    step = max(1, -(-max(H, W) // 16))
    small = grid[:4, :, ::step, ::step]
    num_columns = max(1, min(small.shape[1], _ON_TERMINAL // (small.shape[3] + 1)))
    text = Text()
    for row in small[:, :num_columns]:
        whole = np.pad(row, [(0, 0), (0, row.shape[1] % 2), (0, 1), (0, 0)])
        whole_HW3 = whole.swapaxes(0, 1).reshape(whole.shape[1], -1, 3)
        for top, bottom in zip(whole_HW3[::2], whole_HW3[1::2], strict=True):
            for above, below in zip(top.tolist(), bottom.tolist(), strict=True):
                colours = "rgb({},{},{}) on rgb({},{},{})".format(*above, *below)
                text.append("▀", style=colours)
            text.append("\n")
        text.append("\n")
    return text
