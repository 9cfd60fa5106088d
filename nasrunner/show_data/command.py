"""The command ``nasrunner-data``: shows what children will see of a data set, before training."""

import argparse
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from nasrunner.arguments import composed
from nasrunner.command_line import one_sentence, version
from nasrunner.compose import config as skeleton
from nasrunner.compose.construct import construct
from nasrunner.compose.launch import in_shape_of
from nasrunner.core.errors import ConfigError
from nasrunner.core.screen.text import printable
from nasrunner.core.shapes import shown_inputs
from nasrunner.explanation import explain
from nasrunner.show_data.grid import images_of, on_terminal, write_grid

# N = number of examples, C = channels, H, W = height and width

_PROGRAM = "nasrunner-data"
_MOST_CLASSES, _MOST_COLUMNS = 30, 60


def main() -> None:
    """Prints shapes, classes, the sizes and balance of each part, columns and images."""
    arguments = _parser().parse_intermixed_args()
    skeleton.register()
    console = Console()
    told = partial(explain, overrides=arguments.overrides, own_dir=arguments.config_dir)
    with one_sentence(_PROGRAM, "stopped", told):
        groups = ("data", "task")
        config = composed(arguments.overrides, arguments.config_dir, _PROGRAM, groups)
        data = _loaded(config)
        print_data(console, config["data"], data)
        if (grid := images_of(data)) is not None:
            if arguments.grid is not None:
                write_grid(grid, arguments.grid)
                console.print(f"{grid.shape[0]} rows of images, a class each: {arguments.grid}")
            elif console.is_terminal:
                console.print(on_terminal(grid))
        elif arguments.grid is not None:
            raise ConfigError(
                f"--grid={arguments.grid} is for images, (channels, height, width) with 1, 3 or 4 "
                f"channels; data.in_shape is {config['data']['in_shape']}"
            )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_PROGRAM,
        description="Shows what children will see of a data set, before training.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Examples:\n"
        "  nasrunner-data data=csv data.path=houses.csv data.target=price task=regression\n"
        "  nasrunner-data data=images data.root=photos data.size=64 --grid photos.png",
    )
    parser.add_argument("--version", action="version", version=version())
    parser.add_argument("overrides", nargs="*", help="as for nasrunner: data=digits ...")
    grid = "write some images of each class to this file, .png or another form that Pillow has"
    parser.add_argument("--grid", type=Path, metavar="FILE", help=grid)
    parser.add_argument("--config-dir", type=Path, help="a configuration folder of your own")
    return parser


def _loaded(config: dict[str, Any]) -> Any:
    from nasrunner.children.fit.loading import make_data  # imports Lightning

    data = make_data(config["data"], construct)
    data.prepare_data()
    data.setup("fit")
    data.setup("test")
    return data


def print_data(console: Console, config: Mapping[str, Any], data: Any) -> None:
    """Prints what is known of a data set that is set up.

    Args:
        console: where it is printed.
        config: the ``data`` part of the configuration.
        data: the data module.
    """
    in_shape = in_shape_of(config)
    is_one = not isinstance(in_shape, Mapping)
    inputs = str(tuple(in_shape)) if is_one else shown_inputs(in_shape)  # type: ignore[arg-type]
    loaders = {
        name: getattr(data, f"{key}_dataloader")()
        for name, key in (("training", "train"), ("validation", "val"), ("test", "test"))
    }
    targets = {name: _targets(loader) for name, loader in loaders.items()}
    console.print(f"inputs {inputs}, outputs {config['num_outputs']}")
    if all(each.ndim == 1 for each in targets.values()):
        console.print(_classes(targets, int(config["num_outputs"]), _labels(data)))
    else:
        console.print(_numbers(targets))
    if columns := getattr(getattr(data, "reading", None), "columns", ()):
        console.print(_columns(columns, data.reading))


def _targets(loader: Any) -> np.ndarray:
    batches = [np.asarray(batch[1].cpu()) for batch in loader]
    return np.concatenate(batches) if batches else np.zeros(0, np.int64)


def _labels(data: Any) -> Sequence[Any] | None:
    return getattr(getattr(data, "reading", None), "classes", None)


def _classes(
    targets: Mapping[str, np.ndarray], num_outputs: int, labels: Sequence[Any] | None
) -> Table:
    table = Table("class", *(f"{name}" for name in targets))
    for each in range(1, len(table.columns)):
        table.columns[each].justify = "right"
    counts = {name: np.bincount(y, minlength=num_outputs) for name, y in targets.items()}
    order = np.argsort(-sum(counts.values()), kind="stable")
    for number in order[:_MOST_CLASSES].tolist():
        label = number if labels is None else labels[number]
        shares = [f"{c[number]:,}  {c[number] / max(1, c.sum()):4.0%}" for c in counts.values()]
        table.add_row(escape(printable(str(label))), *shares)
    if num_outputs > _MOST_CLASSES:
        table.add_row(f"{num_outputs - _MOST_CLASSES} more", "", "", "")
    table.add_section()
    table.add_row("examples", *(f"{c.sum():,}      " for c in counts.values()))
    return table


def _numbers(targets: Mapping[str, np.ndarray]) -> Table:
    table = Table("targets", *targets)
    facts: dict[str, Any] = {
        "lowest": np.min,
        "mean": np.mean,
        "highest": np.max,
        "deviation": np.std,
    }
    for name, of in facts.items() if all(y.size for y in targets.values()) else ():
        table.add_row(name, *(_shown(of(y, axis=0)) for y in targets.values()))
    table.add_row("shape", *(str(y.shape) for y in targets.values()))
    return table


def _shown(values: Any) -> str:
    numbers = np.atleast_1d(values)
    more = ", …" if numbers.size > 4 else ""
    return ", ".join(f"{each:.4g}" for each in numbers.reshape(-1)[:4].tolist()) + more


def _columns(columns: Sequence[Mapping[str, Any]], reading: Any) -> Table:
    from nasrunner.data.own.columns import Column

    table = Table("column", "is a", "features", "missing", "in training")
    start = 0
    for column in map(Column.from_json, columns):
        if column.kind == "number":
            told = f"mean {reading.mean[start]:.4g}, deviation {reading.std[start]:.4g}"
        else:
            levels = ", ".join(map(str, column.levels[:6]))
            more = len(column.levels) > 6 or column.has_others
            told = levels + (", …" if more else "")
        if len(table.rows) < _MOST_COLUMNS:
            features, missing = str(column.num_features), f"{column.num_missing:,}"
            table.add_row(
                escape(printable(column.name)),
                column.kind,
                features,
                missing,
                escape(printable(told)),
            )
        start += column.num_features
    if len(columns) > _MOST_COLUMNS:
        table.add_row(f"{len(columns) - _MOST_COLUMNS} more", "", "", "", "")
    return table
