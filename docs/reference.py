"""Writes the pages of modules, shipped spaces and settings from the code and conf/."""

import inspect
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

from hydra import compose, initialize_config_dir
from module_examples import Example, module_examples  # beside this file

import nasrunner.spaces
from nasrunner.compose import config as skeleton
from nasrunner.compose.launch import build_space
from nasrunner.compose.searched import resolved
from nasrunner.core.decision import readable_count
from nasrunner.core.search_space import SearchSpace
from nasrunner.core.space import Space
from nasrunner.spaces.language.reference import reference_of
from nasrunner.spaces.pictures.drawing import draw

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs" / "pages" / "spaces"
SETTINGS = ROOT / "docs" / "pages" / "settings.md"
GROUPS = {
    "composite": "Composition",
    "branches": "Composition",
    "string": "Composition",
    "share": "Composition",
    "named": "Composition",
    "inputs": "Composition",
    "basic": "Layers",
    "activations": "Activations",
    "images": "Images",
    "mobile": "Images",
    "windows.pools": "Images and signals",
    "windows.signals": "Signals",
    "cell": "Cells",
    "cells": "Cells",
    "skips": "Skip connections",
    "skip_graph": "Skip connections",
    "recurrent": "Sequences and recurrent cells",
}
"""Rooms and files of ``nasrunner/spaces`` -> the heading on the page of modules, in its order."""

DATA = {
    "signals": ("data.in_shape=[6,100]",),
    "text_classifier": ("data.in_shape=[16]", "+data.in_dtype=int64"),
    "segmentation": ("data.in_shape=[3,32,32]",),
}
"""Shipped spaces whose modules take no images with classes -> what they take."""


OPTIONS = {
    "searcher": "Who proposes: [which to choose](searchers/all.md).",
    "surrogate": "What `smbo`, `pnas` and `filter` predict rewards with, by "
    "`surrogate@searcher.surrogate=` (`predicted`: by `surrogate@searcher.predictor=`).",
    "data": "[Your own data](data.md), and shipped data sets.",
    "task": "What is learnt, measured and rewarded.",
    "optimizer": "How weights are stepped.",
    "scheduler": "How the learning rate changes.",
    "trainer": "[How a child is trained](training.md), or scored, or looked up.",
    "executor": "[Where children run](cluster.md).",
    "tracker": "[Where they are recorded](reports.md#trackers).",
    "baseline": "What runs beside a search.",
    "grid": "Of `nasrunner-retrain`: settings to try for the best children.",
}
"""Groups of the configuration -> what they are, in the order of the page of settings."""


def main() -> None:
    """Writes the pages, and the pictures of the spaces."""
    SETTINGS.write_text(settings_page(), encoding="utf-8")
    examples = module_examples()
    (PAGES / "modules.md").write_text(modules_page(examples), encoding="utf-8")
    _write_pictures(
        PAGES / "pictures" / "modules",
        {name: svg for each in examples.values() for name, svg in each.pictures.items()},
    )
    spaces = shipped_spaces()
    _write_pictures(
        PAGES / "pictures", {name: picture(name, each) for name, each in spaces.items()}
    )
    (PAGES / "shipped.md").write_text(shipped_page(), encoding="utf-8")


def _write_pictures(folder: Path, pictures: dict[str, str]) -> None:
    """Writes SVG files by their names, and removes those of a folder that are no more."""
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob("*.svg"):
        stale.unlink()
    for name, svg in pictures.items():
        (folder / f"{name}.svg").write_text(svg, encoding="utf-8")


def modules_page(examples: dict[str, Example]) -> str:
    """Returns the page of all modules of the language, with their arguments and an example."""
    lines = [
        "# Modules",
        "",
        "Written by `python docs/reference.py` from the classes and `docs/modules.yaml`. A "
        "decision may stand in the place of any value ([the language](language.md)); arguments "
        "without a default must be given. Each module has an example, with the shapes that go in "
        "and come out, without the batch, the parameters that are trained, and the FLOPs of one "
        "example's forward pass: two for each multiply-add of matrices and convolutions.",
    ]
    for heading in dict.fromkeys(GROUPS.values()):
        lines += ["", f"## {heading}"]
        for module in (each for each in language() if heading_of(each) == heading):
            lines += ["", *_of_module(module), "", *_shown(examples[module.name()])]
    return "\n".join(lines) + "\n"


def _shown(example: Example) -> Iterator[str]:
    yield '<div class="example" markdown="1">'
    yield '<div markdown="1">'
    yield ""
    yield "```yaml"
    yield example.yaml
    yield "```"
    yield ""
    yield example.facts
    yield ""
    yield "</div>"
    yield ""
    yield " ".join(f"![{name}](pictures/modules/{name}.svg)" for name in example.pictures)
    yield ""
    yield "</div>"


def settings_page() -> str:
    """Returns the page of all options of the configuration, with their keys as they are shipped."""
    lines = [
        "# All settings",
        "",
        "Written by `python docs/reference.py` from `conf/`: every option of every group, with its "
        "keys, their defaults and what they mean. A key of an option is set below the name of its "
        "group, such as `searcher.eta=4`; one of an option inside another below both, such as "
        "`searcher.searcher.population_size=20`.",
        "",
        "## Of a study",
        "",
        *_file(ROOT / "conf" / "config.yaml"),
    ]
    for group, about in OPTIONS.items():
        lines += ["", f"## {group}", "", about]
        for path in sorted((ROOT / "conf" / group).glob("*.yaml")):
            lines += ["", f"### {group}={path.stem}", "", *_file(path)]
    return "\n".join(lines) + "\n"


def _file(path: Path) -> list[str]:
    name = path.relative_to(ROOT).as_posix()
    return ["```yaml", f"# {name}", *path.read_text(encoding="utf-8").splitlines(), "```"]


def language() -> list[type[Space]]:
    """Returns every module of the language, in the order of their names."""
    found = {each for each in vars(nasrunner.spaces).values() if inspect.isclass(each)}
    return sorted((each for each in found if issubclass(each, Space)), key=lambda e: e.name())


def heading_of(module: type[Space]) -> str:
    """Returns the heading that a module stands below."""
    place = module.__module__.removeprefix("nasrunner.spaces.")
    return GROUPS.get(place) or GROUPS[place.partition(".")[0]]


def _of_module(module: type[Space]) -> Iterator[str]:
    found = reference_of(module)
    yield f"### {found.name}"
    yield ""
    yield _marked(found.summary)
    if found.differs:
        yield ""
        yield _marked(found.differs)
    if not found.arguments:
        return
    yield ""
    yield "| argument | value | default | |"
    yield "|---|---|---|---|"
    for each in found.arguments:
        default = each.default if each.default in ("", "none") else f"`{each.default}`"
        cells = (f"`{each.name}`", each.kind, default, _marked(each.text))
        yield f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"


def _marked(text: str) -> str:
    """A docstring's text in Markdown."""
    return text.replace("``", "`").replace("*", "\\*").replace("<", "&lt;")


def shipped_spaces() -> dict[str, SearchSpace]:
    """Returns every space of ``conf/space`` as it is open, by its name."""
    skeleton.register()
    found = {}
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        for path in sorted((ROOT / "conf" / "space").glob("*.yaml")):
            given = [f"space={path.stem}", "study=docs", *DATA.get(path.stem, ())]
            config = compose("config", overrides=given)
            found[path.stem] = build_space(resolved(config, ("space", "data")))
    return found


def picture(name: str, space: SearchSpace) -> str:
    """Returns a space as SVG, with all options of its decisions."""
    return re.sub(r"<title>.*?</title>", f"<title>{name}</title>", draw(space), flags=re.DOTALL)


def shipped_page() -> str:
    """Returns the page of the shipped spaces: what they are, their size, and a picture."""
    lines = [
        "# Shipped spaces",
        "",
        "Written by `python docs/reference.py` from `conf/space/`. `nasrunner-space space=mlp` "
        "prints more: the tree of decisions, and random architectures with their shapes. Sizes are "
        "of ten classes.",
        "",
        "| space | architectures | kinds of decisions |",
        "|---|---|---|",
    ]
    spaces = shipped_spaces()
    for name, space in spaces.items():
        size = readable_count(space.size())
        lines.append(f"| [{name}](#{name}) | {size} | {len(space.signature())} |")
    for name in spaces:
        comment = _comment(ROOT / "conf" / "space" / f"{name}.yaml")
        lines += ["", f"## {name}", "", comment, ""]
        lines += ['<details markdown="1"><summary>picture</summary>', ""]
        lines += [f"![{name}](pictures/{name}.svg)", "", "</details>"]
    return "\n".join(lines) + "\n"


def _comment(path: Path) -> str:
    """What a file says of itself at its top; its indented lines are commands."""
    lines = path.read_text(encoding="utf-8").splitlines()
    top = lines[: next(place for place, line in enumerate(lines) if not line.startswith("#"))]
    parts: list[str] = []
    for is_code, group in itertools.groupby(top, lambda line: line.startswith("#   ")):
        if is_code:
            parts += ["```bash", *(line.removeprefix("#").strip() for line in group), "```"]
        else:
            parts.append(" ".join(_marked(line.removeprefix("#").strip()) for line in group))
    return "\n".join(parts).replace("\n```bash", "\n\n```bash")


if __name__ == "__main__":
    main()
