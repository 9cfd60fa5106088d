"""The commands of the README and the pages that look at a study are run, on studies as small as
can be."""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

from nasrunner import child, show_space
from nasrunner import command as search
from nasrunner.export import command as export
from nasrunner.report import command as report
from nasrunner.retrain import command as retrain
from tests.documentation.pages import PAGES, Command, commands_of

MAINS = {
    "nasrunner": search.main,
    "nasrunner-space": show_space.main,
    "nasrunner-report": report.main,
    "nasrunner-retrain": retrain.main,
    "nasrunner-export": export.main,
    "python -m nasrunner.child": child.main,
}
TINY = ("executor=serial", "tracker=none", "trainer.max_epochs=1", "max_children=3")
CELLS = (
    *("space=enas_micro", "space.concat.0.cell_stack.times=1"),
    *("space.concat.0.cell_stack.filters=4", "trainer.limit_train_batches=1"),
)
SMALLER = {
    "trainer.max_epochs=50": "trainer.max_epochs=1",
    "top=3": "top=2",
    "seeds=3": "seeds=2",
    "max_children=200": "max_children=4",
    "space.concat.0.cell_stack.times=6": "space.concat.0.cell_stack.times=2",
    "space.concat.0.cell_stack.filters=36": "space.concat.0.cell_stack.filters=6",
    "grid=nasrl": "grid={optimizer.lr: [0.01, 0.02]}",  # of momentum, which adam has not
}
"""What would take minutes -> the same at the size of a test."""


def looks_at_a_study(command: Command) -> bool:
    return command.program in MAINS and any("outputs/" in each for each in command.arguments)


COMMANDS = list(
    {
        (each.program, each.arguments): each
        for page in PAGES
        for each in commands_of(page)
        if looks_at_a_study(each)
    }.values()
)


def run(program: str, arguments: Sequence[str]) -> None:
    GlobalHydra.instance().clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [program, *arguments])
        MAINS[program]()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_looks_at_a_study_runs(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(COMMANDS) > 25
    first = "hydra.run.dir=outputs/study/time"
    run("nasrunner", [*TINY, "searcher=random", "baseline=random", first])
    for name in ("a", "b"):
        shutil.copytree(place / "outputs/study/time", place / "outputs" / name)
    many = ["--multirun", "searcher=random,evolution", "seed=0,1"]
    run("nasrunner", [*many, *TINY, "hydra.sweep.dir=outputs/multirun/time"])
    cells = place / "outputs/study/cells"
    run("nasrunner", [*TINY, *CELLS, "searcher=random", f"hydra.run.dir={cells}"])
    failed = []
    for number, command in enumerate(COMMANDS):
        try:
            run(command.program, as_run(command, number))
        except SystemExit as ended:
            if ended.code not in (None, 0):
                failed.append(f"{command}\n{capsys.readouterr().err[-300:]}")
        capsys.readouterr()
    assert failed == []


def as_run(command: Command, number: int) -> list[str]:
    """The arguments of a command with what makes it quick, in a folder of its own."""
    given = [SMALLER.get(each, each) for each in command.arguments if each != ">"]
    if any("cell_stack" in each for each in given):
        given = [each.replace("study/time", "study/cells") for each in given]
    if command.program == "nasrunner-retrain" and "from=outputs/multirun/time" not in given:
        given.append(f"folder=outputs/retrained-{number}")
    if command.program == "nasrunner-retrain" and "trainer.max_epochs=1" not in given:
        given.append("trainer.max_epochs=1")
    if command.program == "nasrunner-report":
        given.append(f"to=outputs/page-{number}")
    if command.program == "nasrunner-space":
        given = [each for each in given if not each.endswith(".yaml")]
    if command.program == "nasrunner" and not any(each.startswith("resume=") for each in given):
        given += [*TINY, "max_children=5", f"hydra.run.dir=outputs/again-{number}"]
    return given
