"""The command ``nasrunner-space``: shows a search space, or writes a found architecture as one."""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table
from rich.tree import Tree

from nasrunner.arguments import composed
from nasrunner.command_line import one_sentence, version
from nasrunner.compose import config as skeleton
from nasrunner.compose.construct import construct
from nasrunner.compose.launch import build_space, in_shape_of
from nasrunner.core.annotations import fits, readable
from nasrunner.core.decision import (
    Decision,
    OneOf,
    SearchSchedule,
    is_open,
    label_of,
    readable_count,
    shown,
)
from nasrunner.core.errors import ConfigError, SpaceError, suggest
from nasrunner.core.screen.text import printable
from nasrunner.core.search_space import SearchSpace
from nasrunner.core.shapes import InShape, in_dtype_of
from nasrunner.core.space import Space, living
from nasrunner.explanation import explain
from nasrunner.recorded import RecordedChild, RecordedStudy, read_study

_PROGRAM = "nasrunner-space"
_SAMPLES, _CHECKED = 5, 200
_MOST_DECISIONS = 40
"""So many decisions of a mixture are listed."""

_PATIENCE_S = 20.0
"""So long random architectures are built where nobody said how many: some have 3,000 layers."""


def main() -> None:
    """Prints the decision tree, the exact size, samples, and the share that is valid."""
    parser = _parser()
    arguments = parser.parse_intermixed_args()
    for name, value in (("--child", arguments.child), ("--answers", arguments.answers or None)):
        if value is not None and arguments.found is None:
            parser.error(f"{name} needs --found, the study's folder")
    if arguments.found is not None and (arguments.overrides or arguments.config_dir):
        parser.error(
            "--found takes the study's own configuration: neither overrides nor --config-dir"
        )
    skeleton.register()
    console = Console()
    told = partial(explain, overrides=arguments.overrides, own_dir=arguments.config_dir)
    with one_sentence("nasrunner-space", "stopped", told):
        if arguments.found is not None:
            write = found_answers if arguments.answers else found_space
            sys.stdout.write(write(arguments.found, arguments.child, trust=arguments.trust))
            return
        if (module := _module_asked_for(arguments)) is not None:
            print_module(console, module)
            return
        overrides, is_one_shot = _without_one_shot(arguments.overrides)
        if is_one_shot:
            _check_shows_supernet(arguments)
            config = composed(
                overrides, arguments.config_dir, _PROGRAM, ("space", "data", "trainer")
            )
            widths = config["trainer"].get("shared_widths", "slices")
            print_supernet(console, build_space(config), in_shape_of(config["data"]), widths)
            return
        config = composed(overrides, arguments.config_dir, _PROGRAM, ("space", "data", "task"))
        space = build_space(config)
        console.print(tree(space))
        kinds = len(space.signature())
        size = readable_count(space.size())
        console.print(f"\n[bold]{size}[/] architectures, {kinds} kinds of decisions\n")
        print_samples(console, space, config, arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nasrunner-space",
        description="Shows a search space before training, or writes what was found as one.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Examples:\n"
        "  nasrunner-space space=small_cnn data=mnist --samples 10\n"
        "  nasrunner-space space=nasbench201 data=cifar10 one_shot=true\n"
        "  nasrunner-space module=conv2d\n"
        "  nasrunner-space --found outputs/<study>/<time> > my_conf/space/found.yaml\n"
        "  nasrunner --config-dir my_conf space=found data=mnist\n"
        "  nasrunner-space --found outputs/<study>/<time> --answers > mine.yaml\n"
        "  nasrunner start_with=mine.yaml",
    )
    parser.add_argument("--version", action="version", version=version())
    overrides = (
        "as for nasrunner: space=mlp data=digits ...; one_shot=true shows instead what networks "
        "would share in one supernet, with trainer.shared_widths; module=conv2d what a module takes"
    )
    parser.add_argument("overrides", nargs="*", help=overrides)
    found = (
        "write the best architecture of the study in this folder as a space, in YAML; the last "
        "layer's outputs are written ${data.num_outputs}"
    )
    parser.add_argument("--found", type=Path, metavar="STUDY", help=found)
    child = "for --found: this child instead of the best"
    parser.add_argument("--child", type=_at_least(0), help=child)
    answers = "for --found: write its answers instead, for start_with= of another search"
    parser.add_argument("--answers", action="store_true", help=answers)
    trust = "for --found: also of a stranger's study that names classes which could run any code"
    parser.add_argument("--trust", action="store_true", help=trust)
    samples = "random architectures to print"
    parser.add_argument("--samples", type=_at_least(0), help=f"{samples}; {_SAMPLES}, or fewer")
    built = f"random ones to build and count; {_CHECKED}, or what {_PATIENCE_S:.0f} s suffice for"
    parser.add_argument("--checked", type=_at_least(1), help=built)
    seed = "seed of the random architectures"
    parser.add_argument("--seed", type=_at_least(0), default=0, help=seed)
    parser.add_argument("--config-dir", type=Path, help="a configuration folder of your own")
    return parser


def _at_least(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if (value := int(text)) < least:
            raise argparse.ArgumentTypeError(f"must be >= {least}, got {value}")
        return value

    number.__name__ = "int"  # what argparse calls a text that is no number
    return number


def _without_one_shot(overrides: list[str]) -> tuple[list[str], bool]:
    """The overrides of the configuration, and whether ``one_shot=true`` was among them."""
    given = [each.partition("=")[2] for each in overrides if each.startswith("one_shot=")]
    if wrong := [each for each in given if each not in ("true", "false")]:
        raise ConfigError(f"one_shot must be true or false, got {wrong[0]!r}")
    others = [each for each in overrides if not each.startswith("one_shot=")]
    return others, given[-1:] == ["true"]


def _module_asked_for(arguments: argparse.Namespace) -> str | None:
    """The module that is to be shown instead of a space."""
    asked = [each for each in arguments.overrides if each.startswith("module=")]
    if asked and len(arguments.overrides) > 1:
        raise ConfigError(f"{asked[0]} shows a module of the language: legal is that alone")
    return asked[0].partition("=")[2] if asked else None


def print_module(console: Console, name: str) -> None:
    """Prints what a module of the language is, and its arguments.

    Raises:
        ConfigError: there is no such module; names those that there are.
    """
    from nasrunner.spaces.language.parsing import MODULES  # imports torch
    from nasrunner.spaces.language.reference import reference_of

    if name not in MODULES:
        raise ConfigError(f"there is no module {name!r}, {suggest(name, sorted(MODULES))}")
    found = reference_of(MODULES[name])
    console.print(f"[bold]{found.name}[/]: {escape(_unmarked(found.summary))}")
    if found.differs:
        console.print(escape(_unmarked(found.differs)))
    if not found.arguments:
        console.print("It takes no arguments.")
        return
    table = Table("argument", "value", "default", "", box=None, padding=(0, 2, 0, 0))
    for each in found.arguments:
        default = each.default or "must be given"
        cells = (each.name, each.kind, default, _unmarked(each.text))
        table.add_row(*(escape(cell) for cell in cells))
    console.print(table)
    console.print("In the place of any value a decision may stand: {oneof: [3, 5]}.")


def _unmarked(text: str) -> str:
    return text.replace("``", "")


def _check_shows_supernet(arguments: argparse.Namespace) -> None:
    for name in ("samples", "checked"):
        if getattr(arguments, name) is not None:
            raise ConfigError(
                f"--{name} is of random architectures, and one_shot=true shows none; legal is one "
                "of these"
            )


def found_space(folder: Path, index: int | None, *, trust: bool = False) -> str:
    """Returns a child's architecture as the text of a YAML file for ``conf/space``.

    Raises:
        ConfigError: there is no such child, or the study may be a stranger's and could run code.
    """
    from nasrunner.spaces.language.writing import written  # imports torch

    study, child = _found(folder, index, trust=trust)
    frozen = study.space.freeze(child.proposal.genotype)
    config = written(frozen, int(study.config["data"]["num_outputs"]))
    return _headed(study, child, config)


def found_answers(folder: Path, index: int | None, *, trust: bool = False) -> str:
    """Returns a child's answers, decision path to value, as the text of a YAML file for
    ``start_with``.

    Raises:
        ConfigError: as of ``found_space``.
    """
    study, child = _found(folder, index, trust=trust)
    values = study.space.values(child.proposal.genotype)
    plain = json.loads(json.dumps(values, default=str))
    return _headed(study, child, {"genotypes": [plain]})


def _found(folder: Path, index: int | None, *, trust: bool) -> tuple[RecordedStudy, RecordedChild]:
    """A study, and one of its children; the best where none is named."""
    study = read_study(folder, trust=trust)
    children = study.best(1) if index is None else study.children[index : index + 1]
    if not children:
        which = "with a reward" if index is None else f"number {index}"
        raise ConfigError(f"{folder} has no child {which}; it has {len(study.children)} children")
    return study, children[0]


def _headed(study: RecordedStudy, child: RecordedChild, config: Any) -> str:
    """YAML, below a line that says where it is from."""
    proposal, outcome = child.proposal, child.outcome
    reward = "no reward" if outcome is None or outcome.reward is None else f"{outcome.reward:.5g}"
    text: str = yaml.safe_dump(config, sort_keys=False, default_flow_style=None, width=100)
    return f"# Child {proposal.index} of {study.name}, {proposal.hash}, reward {reward}\n{text}"


def tree(space: SearchSpace) -> Tree:
    """Returns the open space as a tree of modules, each with its own decisions and its size."""
    root = Tree("[bold]space[/]")
    for key, value in space.hyperparameters:
        root.add(f"{key} {_leaf(value)}")
    _grow(root, space.network)
    return root


def _grow(parent: Tree, module: Space) -> None:
    leaves, submodules, fixed = [], [], []
    for name, value in module.shown_arguments():
        if isinstance(value, Space):
            submodules.append(value)
        elif isinstance(value, tuple) and any(isinstance(item, Space) for item in value):
            submodules += value
        elif is_open(value):
            leaves.append(f"{name} {_leaf(value)}")
        elif isinstance(value, str | int | float):
            fixed.append(f"{name} {_leaf(value)}")
    title = _shown(module.title() if submodules or leaves else module.text())
    leaves = [*fixed, *leaves] if submodules else leaves
    size = module.size()
    note = f" [dim]({readable_count(size)})[/]" if size > 1 else ""
    branch = parent.add(f"[bold]{title}[/] {' '.join(leaves)}".rstrip() + note)
    for each in submodules:
        _grow(branch, each)


def _leaf(value: object) -> str:
    if isinstance(value, tuple):
        return "× ".join(f"{_leaf(item)} " for item in value).rstrip()
    if not isinstance(value, OneOf):
        return f"= {_shown(shown(label_of(value)))}"
    when = f", the next after {value.every:,} children" if isinstance(value, SearchSchedule) else ""
    return f"∈ [cyan]{_shown(value.label)}[/]{when}"


def _shown(value: object) -> str:
    """A user's value as it is, not as rich's markup or what a terminal would do."""
    return escape(printable(str(value)))


def print_samples(
    console: Console, space: SearchSpace, config: dict[str, Any], arguments: argparse.Namespace
) -> None:
    """Builds random architectures on the meta device; prints some, and how many are valid."""
    from nasrunner.children.inspecting import draw_up  # these two import torch
    from nasrunner.children.tasks.tasks import out_shape_of

    in_shape = in_shape_of(config["data"])
    in_dtype = in_dtype_of(config["data"])
    out_shape = out_shape_of(config, construct, in_shape)
    table = Table("parameters", "FLOPs", "architecture, with the shape after each step")
    reasons: dict[str, int] = {}
    rng = np.random.default_rng(arguments.seed)
    shown_ones = _SAMPLES if arguments.samples is None else arguments.samples
    wanted, asked_for = max(arguments.checked or _CHECKED, shown_ones), arguments.samples or 1
    valid = checked = 0
    ends = time.monotonic() + _PATIENCE_S
    for index in track(range(wanted), "building", console=console, transient=True):
        if arguments.checked is None and time.monotonic() > ends and index >= asked_for:
            break
        genotype = space.walk(draw_uniformly(rng))
        try:
            found = draw_up(space, genotype, in_shape, out_shape, lambda _: "", in_dtype)
            valid += 1
            facts = f"{found.parameters:,}", f"{found.flops:,}"
        except SpaceError as error:
            reasons[str(error)] = reasons.get(str(error), 0) + 1
            facts = "[red]invalid[/]", ""
        if index < shown_ones:
            table.add_row(
                *facts, " → ".join(steps(living(space.freeze(genotype)).network, in_shape))
            )
        checked += 1
    console.print(table)
    console.print(f"{valid} of {checked} random architectures are valid ({valid / checked:.1%})")
    if checked < wanted:
        more = f"--samples {shown_ones}" if checked < shown_ones else f"--checked {wanted}"
        console.print(f"  {_PATIENCE_S:.0f} s were over: {more} builds so many")
    for reason, count in sorted(reasons.items(), key=lambda item: -item[1])[:5]:
        console.print(f"  {count}: {_shown(reason)}")


def print_supernet(console: Console, space: SearchSpace, in_shape: InShape, widths: Any) -> None:
    """Prints what the architectures of a space would share in one network that holds them all.

    Args:
        console: where it is printed.
        space: what is searched.
        in_shape: of one example.
        widths: ``trainer.shared_widths``.

    Raises:
        ConfigError: ``widths`` is not legal.
    """
    from nasrunner.children.supernets.report import supernet_size  # imports torch
    from nasrunner.children.supernets.shared_weights import Widths

    if not fits(widths, Widths):
        raise ConfigError(f"trainer.shared_widths must be {readable(Widths)}, got {widths!r}")
    with console.status("looking at architectures"):
        found = supernet_size(space, in_shape, widths, _PATIENCE_S)
    table = Table("module", "whole", "slices", "copies", "parameters")
    for each in found.shared:
        counts = (each.whole, each.sliced, each.copied, each.parameters)
        table.add_row(_shown(each.module), *(f"{count:,}" for count in counts))
    console.print(table)
    cover = found.cover
    largest = f"; the largest network visited has {cover.largest:,}" if cover.largest else ""
    console.print(
        f"One supernet: {found.parameters:,} parameters, {found.megabytes:,.1f} MB{largest}"
    )
    console.print(
        "whole: taken as they are by each network that has them; slices: the first channels of the "
        "largest, a kernel's centre; copies: each size has its own"
    )
    ended = f"the last weight that was new in number {cover.news:,}"
    unsettled = "" if cover.is_settled else f"; {_PATIENCE_S:.0f} s were over, there may be more"
    console.print(f"{cover.visited:,} architectures visited, {ended}{unsettled}")
    if cover.impossible:
        console.print(f"{cover.impossible:,} of them are impossible")
    if found.refused is not None:
        console.print(f"[red]refused:[/] {_shown(found.refused)}")
        return
    _print_mixture(console, space, in_shape, widths)


def _print_mixture(console: Console, space: SearchSpace, in_shape: InShape, widths: Any) -> None:
    """Prints which decisions would be mixtures in a network that runs all options at once."""
    from nasrunner.children.supernets.relaxed.report import mixture_size  # imports torch

    found = mixture_size(space, in_shape, widths)
    if found.refused is not None:
        console.print(f"\nNo mixture, as of searcher=darts or gdas: {_shown(found.refused)}")
        return
    console.print(
        f"\nOne mixture, as of searcher=darts or gdas: {found.num_mixtures:,} sums of the options "
        f"of {len(found.decisions):,} decisions, {found.parameters:,} parameters"
    )
    table = Table("decision", "options", "places")
    for each in found.decisions[:_MOST_DECISIONS]:
        table.add_row(_shown(each.path), str(each.num_options), f"{each.num_places:,}")
    console.print(table)
    if len(found.decisions) > _MOST_DECISIONS:
        console.print(f"  and {len(found.decisions) - _MOST_DECISIONS:,} more")


def draw_uniformly(rng: np.random.Generator) -> Callable[[Decision], int]:
    """Returns a policy that answers every decision uniformly."""
    return lambda decision: int(rng.integers(len(decision.options)))


def steps(network: Space, in_shape: InShape) -> Iterator[str]:
    """Yields each step of a frozen network with the shape of one example after it."""
    import torch

    inputs = in_shape.items() if isinstance(in_shape, Mapping) else [("", in_shape)]
    sizes = (f"{name} {'×'.join(map(str, shape))}".strip() for name, shape in inputs)
    yield f"[dim]{', '.join(sizes)}[/]"
    modules = getattr(network, "modules", (network,)) if network.is_transparent else (network,)
    shape = in_shape
    for module in modules:
        try:
            with torch.device("meta"):
                _, after = module.build(shape)
        except SpaceError:
            yield f"[red]{_shown(module.text())}[/]"
            return
        changed = "" if after == shape else f" [dim]{'×'.join(map(str, after))}[/]"
        shape = after
        if (text := module.text()) != "empty":
            yield _shown(text) + changed
