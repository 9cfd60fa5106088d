"""Where the data sets' files are, and small or made-up ones where the form is what counts."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


def files_of(name: str) -> Path:
    """Folder of a data set's real files; skips the test where there is none."""
    folder = (ROOT / os.environ.get("NASRUNNER_DATA", "../shared/data") / name).resolve()
    if not folder.is_dir():
        pytest.skip(f"no {folder}: set NASRUNNER_DATA to the folder that holds {name}/")
    return folder


def write_batch(path: Path, x: np.ndarray, y: list[int], **more: object) -> None:
    batch = {b"data": x, b"labels": y, **{key.encode(): value for key, value in more.items()}}
    path.write_bytes(pickle.dumps(batch, protocol=2))


@pytest.fixture(scope="session")
def cifar_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CIFAR-10's layout with made-up images: class k of image i is i % 10, its pixels are k."""
    root = tmp_path_factory.mktemp("cifar10")
    (root / "cifar-10-batches-py").mkdir()
    y = np.arange(10_000) % 10
    x = np.repeat(y[:, None], 3072, axis=1).astype(np.uint8)
    for name in [f"data_batch_{number}" for number in range(1, 6)] + ["test_batch"]:
        write_batch(root / "cifar-10-batches-py" / name, x, y.tolist())
    return root
