"""A folder in which the pages' commands find what they name."""

import os
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from datasets import Dataset, DatasetDict
from hydra.core.global_hydra import GlobalHydra
from PIL import Image

from tests.documentation.pages import ROOT, blocks_of


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files of one's own, as small as they can be, and the files that the pages show."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NASRUNNER_DATA", str(_data()))
    GlobalHydra.instance().clear()
    rng = np.random.default_rng(0)
    houses = pd.DataFrame({"area": rng.uniform(50, 200, 60), "rooms": rng.integers(1, 6, 60)})
    houses["price"] = houses["area"] * 1000 + rng.normal(0, 50, 60)
    houses.to_csv("houses.csv", index=False)
    houses.to_parquet("houses.parquet")
    visits = pd.DataFrame({"patient": np.arange(60) // 3, "ward": list("abc") * 20})
    visits["age"], visits["note"] = rng.uniform(20, 90, 60).round(1), "…"
    visits["ill"] = np.arange(60) % 2
    visits.to_csv("visits.csv", index=False)
    for kind in ("cat", "dog"):
        folder = tmp_path / "photos" / kind
        folder.mkdir(parents=True)
        for number in range(10):
            pixels = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.jpg")
    y = np.arange(40) % 2
    np.savez("mine.npz", x=rng.normal(size=(40, 8)).astype(np.float32), y=y)
    np.savez("texts.npz", x=rng.integers(0, 50, (40, 12)), y=y)
    columns = {"text": [f"text {n}" for n in range(40)], "input_ids": rng.integers(0, 50, (40, 12))}
    reviews = Dataset.from_dict({**columns, "label": y})
    DatasetDict(train=reviews, test=reviews.select(range(10))).save_to_disk("reviews")
    first_search = ROOT / "docs" / "pages" / "first_search.md"
    (genotypes,) = [b for b in blocks_of(first_search, "yaml") if b.startswith("# mine.yaml")]
    (tmp_path / "mine.yaml").write_text(genotypes, encoding="utf-8")
    found = tmp_path / "my_conf" / "space" / "found.yaml"
    found.parent.mkdir(parents=True)
    found.write_text(
        textwrap.dedent("""\
            concat:
              - affine: {units: 16}
              - relu
              - affine: {units: "${data.num_outputs}"}
            """),
        encoding="utf-8",
    )
    return tmp_path


def _data() -> Path:
    return (ROOT / os.environ.get("NASRUNNER_DATA", "../shared/data")).resolve()
