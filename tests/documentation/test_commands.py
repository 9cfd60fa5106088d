"""Every command of the README and the pages is one that its program takes, up to the training."""

import itertools
import re
import sys
import tomllib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import open_dict

from nasrunner import show_space
from nasrunner.arguments import checked_without_job, read_arguments
from nasrunner.arguments import composed as composed_without_job
from nasrunner.calibrate import arguments as calibrate
from nasrunner.command import plain
from nasrunner.compose import config as skeleton
from nasrunner.compose.launch import (
    build_searcher,
    build_space,
    build_trainer,
    check_compares,
)
from nasrunner.compose.start_with import read_start
from nasrunner.core import DataError
from nasrunner.core.ledger.goal_settings import read_goals
from nasrunner.core.machine.user_modules import find_user_modules
from nasrunner.export.command import parse as parse_export
from nasrunner.predict.command import parse as parse_predict
from nasrunner.report import arguments as report
from nasrunner.retrain.request import parse as parse_retrain
from nasrunner.show_data import command as show_data
from tests.documentation.pages import PAGES, ROOT, Command, commands_of, name_of

COMMANDS = {name_of(page): list(commands_of(page)) for page in PAGES}
OF_OTHERS = {".", "eval", "make", "pip", "python"}
"""Programs that are not ours: of make, pip and python it is seen that what they name is there."""

FILES = ("csv", "parquet", "images", "arrays", "huggingface")
"""Options of data that are read from the files of the place."""


def test_the_pages_have_commands() -> None:
    ours = [each for found in COMMANDS.values() for each in found if each.program not in OF_OTHERS]
    assert len(ours) > 120
    programs = yaml.safe_load(_scripts())
    assert {each.program for each in ours} == {*programs, "python -m nasrunner.child"}


def _scripts() -> str:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    lines = text.partition("[project.scripts]\n")[2].partition("\n\n")[0].splitlines()
    return "\n".join(f"- {line.partition(' =')[0]}" for line in lines)


@pytest.mark.parametrize("page", [name for name, found in COMMANDS.items() if found])
def test_the_commands_of_a_page_can_be_read(
    page: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    skeleton.register()
    run(COMMANDS[page], place, monkeypatch, is_whole=False)


@pytest.mark.parametrize(
    "page",
    [
        name if name == "README.md" else pytest.param(name, marks=pytest.mark.slow)
        for name, found in COMMANDS.items()
        if found
    ],
)
def test_the_studies_of_a_page_are_built_up_to_the_training(
    page: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    skeleton.register()
    try:
        run(COMMANDS[page], place, monkeypatch, is_whole=True)
    finally:
        HydraConfig.instance().cfg = None


def run(
    commands: Sequence[Command], place: Path, monkeypatch: pytest.MonkeyPatch, *, is_whole: bool
) -> None:
    """Checks commands where they are to be run; whole: with the steps that take their time."""
    for command in dict.fromkeys(commands):
        if command.arguments == ("--help",):
            continue
        folder = ROOT / command.folder if command.folder else place
        with monkeypatch.context() as patch:
            patch.chdir(folder)
            patch.setattr(sys, "path", [*sys.path, str(folder)])
            try:
                for step in CHECKS[command.program](command):
                    if is_whole:
                        step()
            except (Exception, SystemExit) as error:
                pytest.fail(f"{command}\n{type(error).__name__}: {error}")


Steps = Iterator[Callable[[], object]]
"""What takes its time of a check, after what does not."""


def check_search(command: Command) -> Steps:
    """Composes each study of the command, and builds it up to its first proposal."""
    arguments = read_arguments(command.arguments)
    if "--help" in arguments.flags or "-sc" in arguments.flags:
        return
    if arguments.resumed is not None:
        assert is_place(arguments.resumed)
        return
    OverridesParser.create().parse_overrides(list(arguments.overrides))
    name = option_of(arguments.flags, "--config-name") or "config"
    is_multirun = arguments.is_multirun or "-m" in arguments.flags
    for overrides in studies_of(arguments.overrides, is_multirun):
        yield partial(build, name, overrides, arguments.own_dir)


def option_of(flags: Sequence[str], name: str) -> str | None:
    """The value of a flag."""
    return flags[flags.index(name) + 1] if name in flags else None


def studies_of(overrides: Sequence[str], is_multirun: bool) -> Iterator[list[str]]:
    """The overrides of so many studies of a multirun that each value stands in one."""
    if not is_multirun:
        yield [each for each in overrides if not each.startswith("hydra/")]
        return
    parser = OverridesParser.create()
    lists = []
    for each in overrides:
        parsed = parser.parse_override(each)
        key = each.partition("=")[0]
        is_list = parsed.is_sweep_override()
        values = list(parsed.sweep_string_iterator()) if is_list else None
        lists.append([f"{key}={value}" for value in values] if values else [each])
    for place in range(max(map(len, lists), default=1)):
        given = [values[min(place, len(values) - 1)] for values in lists]
        yield [each for each in given if not each.startswith("hydra")]


def build(name: str, overrides: Sequence[str], own_dir: Path | None) -> None:
    """Composes a configuration, and builds all of a study but its workers and records."""
    folder = own_dir if name != "config" and own_dir else skeleton.config_dir()
    folders = [skeleton.config_dir(), *([own_dir] if own_dir else [])]
    places = ",".join(f"'file://{each.absolute()}'" for each in folders)
    with initialize_config_dir(str(folder.absolute()), version_base="1.3"):
        ours = (f"hydra.searchpath=[{places}]", "hydra.runtime.output_dir=.", "study=docs")
        composed = compose(name, overrides=[*overrides, *ours], return_hydra_config=True)
    HydraConfig.instance().set_config(composed)
    with open_dict(composed):
        del composed["hydra"]
    config = plain(composed, Path.cwd())
    find_user_modules(config, lambda: [Path.cwd()])
    rules, space = skeleton.rules_from(config), build_space(config)
    searcher = build_searcher(config, space)
    check_compares(searcher, read_goals(config), rules)
    start = config["start_with"]
    if start is not None:
        entries = start if isinstance(start, list) else [start]
        kept = [each for each in entries if not is_place(str(each))]
        read_start({**config, "start_with": kept}, space, rules, searcher)
    if searcher.propose() is None:
        pytest.fail("nothing is proposed")
    try:
        build_trainer(config, space)
    except DataError:
        if any(f"data={each}" in overrides for each in FILES):
            raise


def is_place(text: str) -> bool:
    """Whether it is where a study or a multirun would lie, as the pages write it."""
    return bool(re.fullmatch(r"outputs/(study/time|multirun(/time(/0)?)?|[ab])", text))


def check_from(command: Command, value: str) -> None:
    """Sees that ``from=`` is a place of studies, or a run."""
    for place in value.split(","):
        assert is_place(place) or place.startswith("runs:/"), str(command)


def check_report(command: Command) -> Steps:
    """Parses the command."""
    for place in report.parse(command.arguments).places:
        check_from(command, place)
    yield from ()


def check_retrain(command: Command) -> Steps:
    """Parses the command."""
    check_from(command, parse_retrain(command.arguments).source)
    yield from ()


def check_predict(command: Command) -> Steps:
    """Parses the command."""
    check_from(command, str(parse_predict(command.arguments).source))
    yield from ()


def check_export(command: Command) -> Steps:
    """Parses the command."""
    check_from(command, str(parse_export(command.arguments).source))
    yield from ()


def check_space(command: Command) -> Steps:
    """Parses the command, and composes the space."""
    words = list(itertools.takewhile(lambda word: word != ">", command.arguments))
    given = show_space._parser().parse_intermixed_args(words)
    if given.found is not None:
        assert is_place(str(given.found))
        return
    if show_space._module_asked_for(given) is not None:
        return
    overrides, _ = show_space._without_one_shot(given.overrides)
    groups = ("space", "data", "task")
    yield lambda: build_space(
        composed_without_job(overrides, given.config_dir, command.program, groups)
    )


def check_data(command: Command) -> Steps:
    """Runs the command."""
    show_data._parser().parse_intermixed_args(command.arguments)

    def show() -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", [command.program, *command.arguments])
            show_data.main()

    yield show


def check_calibrate(command: Command) -> Steps:
    """Parses the command, and composes what would be trained."""
    if command.arguments == ("what=inherited",):  # a part of one
        return
    given = calibrate.parse(command.arguments)
    if given.source is not None:
        assert is_place(str(given.source))
        return
    overrides = checked_without_job(given.overrides, None, command.program)
    yield partial(build, "config", overrides, None)


def check_child(command: Command) -> Steps:
    """Sees that it names a child of a study."""
    (folder,) = command.arguments
    assert re.fullmatch(r"outputs/study/time/children/\d{4}", folder)
    yield from ()


def check_make(command: Command) -> Steps:
    """Sees that the target is there."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{command.arguments[0]}:.*## ", text, re.MULTILINE)
    yield from ()


def check_python(command: Command) -> Steps:
    """Sees that the file is there."""
    assert (ROOT / command.arguments[0]).is_file()
    yield from ()


def check_pip(command: Command) -> Steps:
    """Sees that a wheel of this version is installed with constraints that are there."""
    install, option, constraints, wheel = command.arguments
    assert (install, option) == ("install", "-c")
    assert (ROOT / constraints).is_file()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert wheel == f"{project['name']}-{project['version']}-py3-none-any.whl"
    yield from ()


def check_shell(command: Command) -> Steps:
    """Sees that what the shell reads is of this project."""
    assert command.arguments in ((".venv/bin/activate",), ("$(nasrunner -sc install=bash)",))
    yield from ()


CHECKS: dict[str, Callable[[Command], Steps]] = {
    "nasrunner": check_search,
    "nasrunner-report": check_report,
    "nasrunner-retrain": check_retrain,
    "nasrunner-export": check_export,
    "nasrunner-predict": check_predict,
    "nasrunner-space": check_space,
    "nasrunner-data": check_data,
    "nasrunner-calibrate": check_calibrate,
    "python -m nasrunner.child": check_child,
    "python": check_python,
    "make": check_make,
    "pip": check_pip,
    ".": check_shell,
    "eval": check_shell,
}
