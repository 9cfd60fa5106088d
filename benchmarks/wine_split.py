"""What a split of Wine Quality that cuts groups of equal rows measures: memory, in part.

    NASRUNNER_DATA=... python benchmarks/wine_split.py --seeds 10

For each split seed, of the validation and of the test part: the share of rows whose measurements
and class stand in what a network that is measured on them is trained on (the training part; for the
test both others, as ``nasrunner-retrain`` does by default), and the accuracy of the nearest
neighbour there (scikit-learn, normalized measurements) on all rows of the part, on those that are
repeated in the data set and on the others. Figures are means over the seeds, in brackets the
smallest and the largest.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf
from sklearn.neighbors import KNeighborsClassifier

from nasrunner.compose.construct import construct
from nasrunner.data.split import equal_inputs

# N = examples of all parts, M = of the part that is measured, F = features

SHIPPED = Path(__file__).parents[1] / "conf" / "data" / "wine_quality.yaml"
NAMES = ("stand in training", "1-NN, all", "1-NN, repeated rows", "1-NN, others")


def measured(data: Any) -> Iterator[tuple[str, tuple[float, ...]]]:
    """The figures of the validation and the test part of a data module."""
    data.setup("test")
    train, validation, test = (
        (loader.x.numpy(), loader.y.numpy())
        for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader())
    )
    groups_N = equal_inputs(np.concatenate([train[0], validation[0], test[0]]))
    num_train, num_seen = len(train[0]), len(train[0]) + len(validation[0])
    both = tuple(np.concatenate(pair) for pair in zip(train, validation, strict=True))
    yield "validation", figures(train, validation, groups_N, num_train)
    yield "test", figures(both, test, groups_N, num_seen)


def figures(trained: Any, part: Any, groups_N: np.ndarray, start: int) -> tuple[float, ...]:
    """What ``NAMES`` says, in percent, of a part whose rows begin at ``start`` among all."""
    (x, y), (x_MF, y_M) = trained, part
    seen = set(zip(groups_N[:start].tolist(), y.tolist(), strict=True))
    groups_M = groups_N[start : start + len(y_M)]
    stands_M = [pair in seen for pair in zip(groups_M.tolist(), y_M.tolist(), strict=True)]
    repeated_M = np.bincount(groups_N)[groups_M] > 1
    is_right_M = KNeighborsClassifier(1).fit(x, y).predict(x_MF) == y_M
    rights = (is_right_M, is_right_M[repeated_M], is_right_M[~repeated_M])
    return tuple(100 * float(np.mean(each)) for each in (stands_M, *rights))


def main() -> None:
    """Prints a table of both ways to split."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=10, help="how many splits, from seed 0 on")
    arguments = parser.parse_args()
    shipped: Any = OmegaConf.to_container(OmegaConf.load(SHIPPED), resolve=True)
    print(f"| data.equal_inputs | part | {' | '.join(NAMES)} |")
    print(f"|{'---|' * (len(NAMES) + 2)}")
    for way in ("apart", "together"):
        found: dict[str, list[tuple[float, ...]]] = {}
        for seed in range(arguments.seeds):
            config = {**shipped, "equal_inputs": way, "split_seed": seed}
            for part, row in measured(construct(config, "data")):
                found.setdefault(part, []).append(row)
        for part, rows in found.items():
            cells = [
                f"{np.mean(each):.1f} ({min(each):.1f} to {max(each):.1f})"
                for each in zip(*rows, strict=True)
            ]
            print(f"| {way} | {part} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
