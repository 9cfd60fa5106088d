"""Draws and measures an example of each module of the language: those of ``modules.yaml``."""

import functools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from nasrunner.children.inspecting import measured_operation
from nasrunner.core import InShape, Shape, SpaceError
from nasrunner.core.decision import readable_count
from nasrunner.core.search_space import SearchSpace
from nasrunner.core.shapes import as_in_shape
from nasrunner.core.space import living
from nasrunner.show_space import draw_uniformly
from nasrunner.spaces.language.parsing import parse_space
from nasrunner.spaces.pictures.drawing import draw

EXAMPLES = Path(__file__).parent / "modules.yaml"


@dataclass(frozen=True)
class Example:
    """An example of a module.

    Attributes:
        yaml: it, in the space language.
        facts: how large it is, in Markdown.
        pictures: name of a file -> SVG: the module as it is open, if there is anything to
            decide, and one architecture.
    """

    yaml: str
    facts: str
    pictures: dict[str, str]


@functools.cache
def module_examples() -> dict[str, Example]:
    """Returns the example of each module by its name.

    Raises:
        ValueError: one is impossible; names it.
    """
    found = yaml.safe_load(EXAMPLES.read_text(encoding="utf-8"))
    return {name: _example(name, **given) for name, given in found.items()}


def _example(name: str, **given: Any) -> Example:
    space, in_shape = parse_space(given["space"], name), as_in_shape(given["in"])
    frozen = space.freeze(space.walk(draw_uniformly(np.random.default_rng(0))))
    try:
        size, out_shape = measured_operation(
            frozen.network, in_shape, given.get("dtype", "float32")
        )
    except SpaceError as error:
        raise ValueError(f"{EXAMPLES.name}: {name}: {error}") from error
    facts = (
        f"{_shown(in_shape)} → {_shown(out_shape)}, {_counted(size.trained, 'parameter')}, "
        f"{_counted(size.flops, 'FLOP')}"
    )
    pictures = {name: _titled(f"{name}, an example", living(frozen))}
    if space.size() > 1:
        facts = f"{readable_count(space.size())} architectures; the last picture is one: {facts}"
        pictures = {f"{name}-open": _titled(f"{name}, open", space), **pictures}
    written = yaml.safe_dump(given["space"], sort_keys=False, default_flow_style=None, width=56)
    return Example(written.removesuffix("\n...\n").strip(), facts, pictures)


def _titled(title: str, space: SearchSpace) -> str:
    return re.sub(r"<title>.*?</title>", f"<title>{title}</title>", draw(space), flags=re.DOTALL)


def _shown(shape: InShape | Shape) -> str:
    if isinstance(shape, tuple):
        return "×".join(map(str, shape))
    return " and ".join(f"{name} {_shown(each)}" for name, each in shape.items())


def _counted(count: int, unit: str) -> str:
    return f"{count:,} {unit}{'' if count == 1 else 's'}"
