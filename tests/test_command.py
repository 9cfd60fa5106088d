"""The command ``nasrunner`` as a user types it, in this process; bad input above all."""

import copy
import importlib.metadata
import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from nasrunner import command as search_command
from nasrunner.command import anchor, main
from nasrunner.core import ConfigError, Summary
from nasrunner.export.trained import find
from nasrunner.recorded import read_study, resumable
from nasrunner.report.study.evaluations import evaluations
from nasrunner.report.study.overview import overview_section
from nasrunner.retrain import command as retrain
from nasrunner.study_folder import StudyFolder
from tests.compose.test_shipped import DATA
from tests.sampling import one_in

Command = Callable[..., None]
TABLE = "trainer=nasbench_macro space=nasbench_macro"
MLFLOW = "nasrunner.trackers.mlflow.tracker.MlflowTracker"
SEVERAL = "nasrunner.trackers.several.SeveralTrackers"


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs nasrunner in an empty folder, in one process and without MLflow."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> None:
        GlobalHydra.instance().clear()
        monkeypatch.setattr(sys, "argv", ["nasrunner", *arguments])
        main()

    return run


@pytest.fixture(scope="module")
def evolved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of one child, with a searcher and an executor that are not the usual ones."""
    folder = tmp_path_factory.mktemp("evolved") / "study"
    with pytest.MonkeyPatch.context() as patch:
        GlobalHydra.instance().clear()
        own = ["searcher=evolution", f"hydra.run.dir={folder}", "max_children=1"]
        patch.setattr(sys, "argv", ["nasrunner", *QUICK, *own])
        main()
    return folder


@pytest.fixture(scope="module")
def all_too_large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study whose children would pause, and are all beyond a limit by their sizes."""
    folder = tmp_path_factory.mktemp("limited") / "study"
    with pytest.MonkeyPatch.context() as patch:
        GlobalHydra.instance().clear()
        limit = "{limit: {objective: parameters, beyond: 0}}"
        own = [
            *LONG,
            "searcher=asha",
            "searcher.rungs=[1,2]",
            "searcher.eta=2",
            "objectives={val_accuracy: max, parameters: {goal: min, limit: 1}}",
            f"scalarization={limit}",
            f"hydra.run.dir={folder}",
        ]
        patch.setattr(sys, "argv", ["nasrunner", *QUICK, *own])
        main()
    return folder


@pytest.fixture
def finished(evolved: Path, tmp_path: Path) -> Path:
    """A copy of that study."""
    return shutil.copytree(evolved, tmp_path.parent / f"{tmp_path.name}-finished")


LONG = ("searcher@searcher.searcher=random", "trainer.max_epochs=4")
"""What the settings of searchers that pause or stop children are about."""

QUICK = (
    "executor=serial",
    "tracker=none",
    "trainer.max_epochs=1",
    "max_children=3",
    "space=figure1",
    "space.concat.0.conv2d.filters.oneof=[2,4]",
)


def studies(folder: Path) -> list[Path]:
    return sorted(path.parent for path in folder.rglob("ledger.jsonl"))


def outcomes(study: Path) -> list[dict[str, object]]:
    events = [json.loads(line) for line in (study / "ledger.jsonl").read_text().splitlines()]
    return [event for event in events if event["event"] == "outcome"]


def test_a_search_leaves_a_ledger_a_summary_and_a_folder_per_child(
    command: Command, tmp_path: Path
) -> None:
    command(*QUICK)
    (study,) = studies(tmp_path)
    assert [outcome["index"] for outcome in outcomes(study)] == [0, 1, 2]
    summary = json.loads((study / "summary.json").read_text())
    assert summary["reason"] == "max_children=3 is spent"
    assert 0 < summary["best"][0]["reward"] <= 1
    assert (study / "children" / "0000" / "curves.jsonl").is_file()


def test_the_same_seed_gives_the_same_study(command: Command, tmp_path: Path) -> None:
    command(*QUICK)
    command(*QUICK)
    first, second = studies(tmp_path)
    for one, other in zip(outcomes(first), outcomes(second), strict=True):
        assert one["reward"] == other["reward"]


def test_a_study_is_resumed_with_its_own_configuration_and_a_larger_budget(
    command: Command, tmp_path: Path
) -> None:
    command(*QUICK, "seed=5")
    (study,) = studies(tmp_path)
    command(f"resume={study}", "max_children=5")
    assert studies(tmp_path) == [study]
    assert [outcome["index"] for outcome in outcomes(study)] == [0, 1, 2, 3, 4]


def test_a_baseline_runs_beside_a_study_and_may_be_asked_for_afterwards(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command(*QUICK)
    (study,) = studies(tmp_path)
    command(f"resume={study}", "baseline=random")
    assert re.search(r"Baseline: against RandomSearch with 3 children: ", capsys.readouterr().out)
    assert [outcome["index"] for outcome in outcomes(study / "baseline")] == [0, 1, 2]
    first, beside = (
        [json.loads(line) for line in (folder / "ledger.jsonl").read_text().splitlines()]
        for folder in (study, study / "baseline")
    )
    assert first[0]["space"] == beside[0]["space"]
    assert first[0]["seed"] == beside[0]["seed"]  # which splits the data, and trains children
    drawn = [[e["genotype"] for e in each if e["event"] == "proposed"] for each in (first, beside)]
    assert drawn[0] != drawn[1]  # though both are random search


@pytest.mark.slow
def test_a_searchers_own_seed_changes_what_it_proposes_and_nothing_else(
    command: Command, tmp_path: Path
) -> None:
    for seed in ("", "+searcher.seed=0", "+searcher.seed=7"):
        command(*QUICK, *filter(None, [seed]))
    found = [
        [json.loads(line) for line in (study / "ledger.jsonl").read_text().splitlines()]
        for study in sorted(studies(tmp_path))
    ]
    assert [events[0]["seed"] for events in found] == [0, 0, 0]
    drawn = [[e["genotype"] for e in events if e["event"] == "proposed"] for events in found]
    assert drawn[0] == drawn[1] != drawn[2]


def test_multirun_runs_every_combination_in_a_folder_of_its_own(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command("--multirun", *QUICK, "searcher=random,evolution", "seed=range(0,2)")
    assert len(studies(tmp_path)) == 4
    (noted,) = tmp_path.rglob("multirun.yaml")
    place = noted.parent.relative_to(tmp_path)
    told = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert told[-1] == f"Compare them: nasrunner-report from={place}"
    rows = [line.split() for line in told[told.index("Best child of each study") + 2 : -1]]
    best = {
        s.name: json.loads((s / "summary.json").read_text())["best"][0] for s in studies(tmp_path)
    }
    assert {row[0]: row[1:3] for row in rows} == {
        name: [f"{each['reward']:.5g}", f"{each['index']:04d}"] for name, each in best.items()
    }
    assert [float(row[1]) for row in rows] == sorted((float(row[1]) for row in rows), reverse=True)
    assert {" ".join(row[4:]) for row in rows} == {
        f"searcher={searcher} seed={seed}"
        for searcher in ("random", "evolution")
        for seed in (0, 1)
    }
    prepared = [line.split(":")[0] for line in told if line.startswith("preparing ")]
    names = ("random", "random", "evolution", "evolution")
    assert prepared == [f"preparing {name}-figure1" for name in names]
    assert all(len(outcomes(study)) == 3 for study in studies(tmp_path))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sercher=random"], r"no key 'sercher', did you mean 'searcher'\? Legal: .*seed"),
        (["trainer.max_epoch=3"], r"'trainer.max_epoch', did you mean 'max_epochs'\?"),
        (["optimizer.lrr=3"], r"no key 'optimizer.lrr', did you mean 'lr'\?"),
        (["optimizer.learning_rate=3"], r"'optimizer.learning_rate', did you mean 'lr'\?"),
        (["trainer.epochs=3"], r"'trainer.epochs', did you mean 'max_epochs' or 'min_epochs'\?"),
        (
            ["population_size=3"],
            r"searcher.population_size \(with searcher=evolution or sear.*=pbt\)",
        ),
        (["max_epochs=3"], r"no key 'max_epochs', did you mean 'trainer.max_epochs'\?$"),
        (["optimizer.batch_size=3"], r"'optimizer.batch_size', did you mean 'data.batch_size'\?$"),
        (["space.concat.0.conv2d.filters=[8,16]"], r"is a decision, .*\{oneof: \[8, 16\]\}"),
        (["trainer.max_epoch.x.y=3"], r"no key 'trainer.max_epoch', did you mean 'max_epochs'\?"),
        (["limits.parameter=3"], r"no key 'limits.parameter', did you mean 'parameters'\?"),
        (
            ["searcher=radnom"],
            r"there is no searcher=radnom, did you mean 'random'\? Legal: asha, .*, tpe$",
        ),
        (["seed=abc"], r"^nasrunner: seed must be a whole number in digits alone, got abc$"),
        (["limits.parameters=1e6"], r": limits.parameters must be a whole number .*, got 1e6$"),
        (["max_hours=01:30:00"], "max_hours must be a number without a unit, got 01:30:00$"),
        (["study=null"], "study cannot be null$"),
        (["limits=100"], "limits holds keys of its own, got 100$"),
        (["limits.memory_gb=4GB"], "limits.memory_gb must be a number without a unit, got 4GB$"),
        (["seed=range(0,5)"], r": seed=range\(0,5\): a study for each: --multirun seed=range"),
        (["seed=interval(0,5)"], "an interval is searched only in the space and in data, task"),
        (["optimizer.lr=range(1,5)"], r"written optimizer.lr=\{range: .*; a study for each"),
        (
            ["experiment.lr=3"],
            "the experiment's file must begin with the line '# @package _global_'",
        ),
        (["+max_childern=3"], r"no key 'max_childern', .*did you mean 'max_children'\?"),
        (
            ["searcher.num_random=3", "searcher=evolution"],
            "no key 'searcher.num_random', legal: _target_, ageing, crossover, learns, popula",
        ),
        (["study=a=b"], r"study=a=b cannot be read: a value .* in quotes .*: 'study=\"a=b\"'"),
        (["hydra.run.dir=ü/s"], r"hydra.run.dir=ü/s cannot be read: .*: 'hydra.run.dir=\"ü/s\"'"),
        (["space={concat: [relu}"], r"relu\} cannot be read: legal are \[value, …\] and \{key: "),
        (["max_children=0"], "max_children must be int >= 1 or null, got 0"),
        (["limits.parameters=0"], "limits.parameters must be int >= 1 or null, got 0"),
        (
            ["space.concat.0.conv2d.filters.oneof=[]"],
            r"space.concat.0.conv2d.filters: oneof needs at least one option",
        ),
        (
            ["space.concat=[{affine:{units:{range:[8,16,0]}}}]"],
            "space.concat.0.affine.units.range: range needs a step that leads from low to high",
        ),
        (
            ["space.concat.1={maybe_swap:[batch_norm,rellu]}"],
            r"space.concat.1.maybe_swap.1: there is no module 'rellu', did you mean 'relu'\?",
        ),
        (
            ["space.concat.1={maybe_swap:[relu]}"],
            "space.concat.1.maybe_swap takes exactly 2 modules, got 1",
        ),
        (
            ["space.concat=[{_target_:no_such_package.Module}]"],
            "space.concat.0._target_: cannot import 'no_such_package.Module'",
        ),
        (["searcher._target_=nasrunner.searchers.nope.Nope"], "searcher._target_: cannot import"),
        (["+searcher.populaton_size=3"], "searcher.*takes no 'populaton_size'.*legal: "),
        (
            ["searcher=evolution", "searcher.population_size=3"],
            "tournament_size must be at most population_size",
        ),
        (["optimizer.lr=-1"], "optimizer: Invalid learning rate: -1"),
        (["+trainer.max_epoch=3"], r"trainer.*'?max_epoch'?.*did you mean 'max_epochs'"),
        (["trainer.max_epochs=three"], "trainer.*max_epochs.*three"),
        (["data.batch_size=0"], "data.batch_size must be int >= 1, got 0"),
        (["data=mnist", "data.root=nowhere"], "nowhere.*train-images-idx3-ubyte"),
        (["executor=local", "executor.workers=0"], "executor.*workers.*0"),
        (["resume=nowhere"], "resume=.*nowhere is no study's folder"),
        (["task.reward.metric=val_acuracy"], "val_acuracy"),
        (
            ["tracker=mlflow", "tracker.tracking_uri=localhost:5000"],
            r"tracker\.tracking_uri: 'localhost:5000' has no scheme, did you mean http://localhost",
        ),
        (["hydra.run.dir=/proc/nasrunner"], "/proc/nasrunner"),
        (["hydra.run.dir=.", "+trainer.dummy=1"], "trainer.dummy"),
        (["hydra.run.dir=a/b/c", "+trainer.dummy=1"], "trainer.dummy"),
        (["trainer.overfit_batches=1"], r"has no 'trainer.overfit_batches' yet: \+trainer.overf"),
        (["optimizer.amsgrad=true"], r"yet: \+optimizer.amsgrad=true adds it"),
        (
            ["space=small_cnn", "space.concat.0.conv2d.init=he"],
            r"yet: \+space.concat.0.conv2d.init=he adds it",
        ),
        (["--multirun", "seed=range(0,2)", "searcher.foo=1"], "no key 'searcher.foo'"),
        (["~seed"], "seed is missing, which every study needs"),
        (["searcher=1"], "searcher=1 is no option of the group searcher"),
        (
            ["baseline.seed=1"],
            r"'baseline.seed', as baseline is off: baseline=random comes .*, and \+baseline.seed=",
        ),
        (["optimizer.lr.x=1"], "no key 'optimizer.lr.x': optimizer.lr is 0.001"),
        (["data.batch_size={logspace: [8, 64, 5]}"], r"whole.*rounded: \{8, 13, 23, 38, 64\}"),
        (["objectives={val_accuracy:mix}"], r"objectives.val_accuracy: 'mix' is no direction"),
        (["objectives={val_acuracy:max}"], "no child measures 'val_acuracy', did you mean 'val_ac"),
        (
            ["objectives={latency_ms:min}", "executor=local", "executor.workers=2"],
            "the 2 workers of this machine would disturb one another; legal: executor.workers=1",
        ),
        (
            ["objectives={energy_j:min}", "executor=local", "executor.workers=2"],
            "objectives.energy_j is measured after each training, and the 2 workers of this machi",
        ),
        (["searcher=nsga2"], "nsga2 compares children by objectives, and there are none: set obj"),
        (
            ["searcher=nsga2", "objectives={reward:max,flops:min}", "failed_reward=0"],
            "failed_reward=0 is a reward, and nsga2 is told objectives: legal with it are worst",
        ),
        (
            ["searcher=motpe", "objectives={reward:max,flops:min}", "searcher.max_history=9"],
            "max_history=9 keeps the best rewards; legal with learns=objectives is null",
        ),
        (
            ["objectives={val_accuracy:max,flops:{goal:min,limit:0}}"],
            "objectives.flops.limit must be > 0, as no network costs less, got 0",
        ),
        (
            [*LONG, "searcher=asha", "searcher.rungs=[1]", "trainer.check_val_every_n_epoch=2"],
            "rungs, min_epochs or interval: until=1 pauses training before val_accuracy is measur",
        ),
        (
            [*LONG, "searcher=asha_stopping", "trainer.check_val_every_n_epoch=2"],
            "n_epoch=2 measures no val_accuracy after epoch 1, when .* legal are multiples of 2",
        ),
        (
            [*LONG, "searcher=median_stopping", "searcher.metric=val_f1", "searcher.mode=max"],
            "searcher.metric: no child measures 'val_f1', .*val_accuracy",
        ),
        (
            [*LONG, "searcher=asha", "searcher.rungs=[1,2]", "searcher.min_epochs=3"],
            r"min_epochs=3 is of the first rung .* rungs is \[1, 2\]; legal .* min_epochs=1$",
        ),
        (
            ["searcher=asha", "searcher.max_epochs=3", "trainer.max_epochs=8"],
            "searcher.max_epochs=3 must be the epochs of a whole training, which has 8 by trainer",
        ),
        (
            [
                "searcher=asha",
                "searcher.rungs=[1]",
                "trainer.max_epochs=-1",
                "+trainer.max_steps=9",
            ],
            "searcher.max_epochs must be int >= 1 or null, got -1; .* searcher.max_epochs=null",
        ),
        (
            [*LONG, "searcher=asha_stopping", "evaluation.repeats=2"],
            "evaluation.repeats=2, folds=null: a child of several .* evaluation.repeats=1",
        ),
        (
            ["searcher=inheriting", "searcher@searcher.searcher=tpe", "searcher.morphism_share=1"],
            "morphism_share=1 is of proposals that mutate a child, and tpe mutates none; legal are",
        ),
        (["scalarization=product"], "makes a reward of objectives, and there are none"),
        (["task.reward=val_loss"], "must be Reward, .* keys of its own: task.reward.metric, "),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_sentence_and_leaves_nothing_behind(
    command: Command,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    with pytest.raises(SystemExit) as exit_:
        command(*QUICK, *arguments)
    assert exit_.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("nasrunner: ")
    assert "Traceback" not in error
    assert error.count("\n") == 1
    assert re.search(message, error), error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (PermissionError(13, "Permission denied", "/x/y"), 2, "/x/y: Permission denied"),
        (
            OSError(28, "No space left on device", "/x/y"),
            75,
            "No space left on device: /x/y; stopped before the study began: start it again",
        ),
    ],
)
@pytest.mark.parametrize("mode", [[], ["--multirun"]])
def test_a_fault_outside_training_is_told_without_a_line_of_hydras_own(
    command: Command,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: OSError,
    code: int,
    told: str,
    mode: list[str],
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(StudyFolder, "note_call", fail)
    with pytest.raises(SystemExit) as ended:
        command(*QUICK, *mode, "hydra.sweep.dir=all")
    assert ended.value.code == code
    lines = capsys.readouterr().err.splitlines()
    of_all = f"nasrunner: {tmp_path}/all/0: {told.partition(';')[0]}"
    assert lines[0] == (of_all if mode else f"nasrunner: {told}")
    assert len(lines) == len(mode) + 1
    if mode:
        assert lines[1].startswith("nasrunner: 1 of 1 studies failed: #0; their reasons stand")
        assert ("go on with all studies: nasrunner resume=all" in lines[1]) == (code == 75)


def test_what_a_resumed_study_must_not_change_is_refused(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command(*QUICK)
    (study,) = studies(tmp_path)
    before = (study / "ledger.jsonl").read_bytes()
    with pytest.raises(SystemExit):
        command(f"resume={study}", "seed=7")
    assert "seed cannot change when a study is resumed. Legal: max_children" in (
        capsys.readouterr().err
    )
    assert (study / "ledger.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (
            "  max_epochs: 4\n  fidelity",
            "  max_epochs: 5\n  fidelity",
            "searcher.max_epochs=5 must be",
        ),
        ("  min_epochs: 1\n", "  min_epochs: 3\n", "searcher: min_epochs=3 is of the first rung"),
        ("limit: 1\n", "limit: 0\n", "objectives.parameters.limit must be > 0, as no network"),
    ],
    ids=["max_epochs", "min_epochs", "limit"],
)
def test_a_study_goes_on_with_settings_that_are_refused_today(
    command: Command,
    all_too_large: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    before: str,
    after: str,
    told: str,
) -> None:
    study = Path(shutil.copytree(all_too_large, tmp_path / "study"))
    config = study / "config.yaml"
    text = config.read_text()
    assert text.count(before) == 1
    config.write_text(text.replace(before, after))
    command(f"resume={study}", "max_children=4")
    said = " ".join("".join(capsys.readouterr()).split())
    assert re.search(f"warning: {re.escape(told)}.* this one goes on as it began", said), said
    assert "Children: 4 too large, not trained" in said


def test_children_that_are_too_large_are_not_said_to_be_trained(
    all_too_large: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert json.loads((all_too_large / "summary.json").read_text())["counts"] == {"too_large": 3}
    study = read_study(all_too_large)
    assert any(child.proposal.continues is not None for child in study.children)
    assert [each.is_trained for each in evaluations(study)] == [False] * 3
    facts = dict(overview_section(study, None).parts[0].items)
    assert (facts["evaluations"], facts["too large, not trained"]) == ("3", "3")
    assert not {"continued trainings", "paused, not gone on with"} & facts.keys()
    reason = r"was trained, as they are too large \(objectives.parameters.limit=1: parameters is "
    with pytest.raises(ConfigError, match=rf"no child of the study {reason}\d+\); legal: the fol"):
        find(str(all_too_large), None)
    copied = shutil.copytree(all_too_large, tmp_path / "study")
    arguments = ["nasrunner-retrain", f"from={copied}", "top=1", "start=child"]
    monkeypatch.setattr(sys, "argv", arguments)
    GlobalHydra.instance().clear()
    with pytest.raises(SystemExit):
        retrain.main()
    assert re.search("has no child with a reward to retrain", capsys.readouterr().err)


def test_the_best_of_children_that_are_too_large_goes_on_with_nothing(
    command: Command,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limited = "objectives={val_accuracy: max, parameters: {goal: min, limit: 1}}"
    command(*QUICK, limited, "scalarization={limit: {objective: parameters, beyond: 0}}")
    (study,) = studies(tmp_path)
    reason = r"was not trained, as it is too large \(objectives.parameters.limit=1: parameters is "
    with pytest.raises(
        ConfigError, match=rf"its best child, \d+, {reason}\d+\); legal: the folder"
    ):
        find(str(study), None)
    arguments = ["nasrunner-retrain", f"from={study}", "top=1", "start=child"]
    monkeypatch.setattr(sys, "argv", arguments)
    GlobalHydra.instance().clear()
    with pytest.raises(SystemExit):
        retrain.main()
    assert re.search(rf"child \d+ {reason}\d+\): legal is start=scratch", capsys.readouterr().err)


def test_a_ledger_that_was_cut_off_is_repaired_and_the_user_is_told(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command(*QUICK)
    (study,) = studies(tmp_path)
    ledger = study / "ledger.jsonl"
    lines = ledger.read_bytes().splitlines(keepends=True)
    outcome = max(i for i, line in enumerate(lines) if b'"outcome"' in line)
    ledger.write_bytes(b"".join(lines[:outcome]) + lines[outcome][:20])
    capsys.readouterr()
    command(f"resume={study}")
    assert "cut off: 20 bytes were removed" in "".join(capsys.readouterr())
    assert [each["index"] for each in outcomes(study)] == [0, 1, 2]


def test_a_space_that_changed_since_is_refused_and_the_decision_named(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command(*QUICK)
    (study,) = studies(tmp_path)
    config = study / "config.yaml"
    text = config.read_text()
    changed = text.replace("- 2\n", "- 3\n", 1)
    assert changed != text
    config.write_text(changed)
    with pytest.raises(SystemExit):
        command(f"resume={study}")
    assert re.search(r"another space: decision '0/conv2d/filters'", capsys.readouterr().err)


def test_a_misspelt_key_does_not_hide_behind_another(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        command("searcher=evolution", "searcher.populaton_size=3")
    assert "did you mean 'population_size'" in capsys.readouterr().err


@pytest.mark.parametrize("searchers", ["asha,hyperband", "glob([asha,hyperband])"])
def test_a_multirun_takes_what_only_the_searchers_that_it_sweeps_have(
    command: Command, tmp_path: Path, searchers: str
) -> None:
    keys = [f"searcher={searchers}", "searcher@searcher.searcher=evolution"]
    keys += ["searcher.searcher.tournament_size=2", "searcher.eta=2"]
    command("--multirun", *QUICK, *keys, "trainer.max_epochs=2", "max_children=1")
    found = [OmegaConf.load(study / "config.yaml").searcher for study in studies(tmp_path)]
    assert [(each.eta, each.searcher.tournament_size) for each in found] == [(2, 2), (2, 2)]
    (noted,) = tmp_path.rglob("multirun.yaml")
    assert set(keys) <= set(OmegaConf.load(noted).hydra.overrides.task)


@one_in(
    2,
    0,
    ("arguments", "message"),
    [
        (
            ["searcher=tpe,nsga2", "searcher.learns=reward"],
            r"no key 'searcher.learns' with searcher=tpe yet: \+\+searcher.learns=reward sets",
        ),
        (
            ["searcher=nsga2,tpe,random", "searcher.learns=reward"],
            "no key 'searcher.learns' with searcher=random, legal: _target_$",
        ),
        (
            ["searcher=tpe,cmaes", "searcher.learns=reward"],
            r"has no 'searcher.learns' yet: \+searcher.learns=reward adds it",
        ),
        (
            ["searcher=random,evolution,nsga2", "searcher.population_size=7"],
            "no key 'searcher.population_size' with searcher=random or searcher=nsga2, legal: _tar",
        ),
        (
            ["searcher=asha,random", "searcher@searcher.searcher=evolution"],
            "no searcher at 'searcher.searcher' with searcher=random to exchange; one is in searc",
        ),
        (
            ["experiment=mlpnas,nasbench_macro", "searcher.temperature=2"],
            "no key 'searcher.temperature' with experiment=nasbench_macro, legal: ",
        ),
        (
            ["--config-dir=sweeps", "--config-name=searchers", "searcher.tournament_size=7"],
            "'searcher.tournament_size' with searcher=smbo or searcher=tpe or searcher=local_sea",
        ),
        (["searcher=asha,hyperband", "trainer.max_epoch=3"], "did you mean 'max_epochs'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_key_that_options_of_a_multirun_lack_is_told_with_them_before_anything_is_made(
    command: Command,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    with pytest.raises(SystemExit):
        command("--multirun", "tracker=none", *arguments)
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert re.search(message, error), error
    assert list(tmp_path.iterdir()) == []


@one_in(2, 0, "searchers", ["random,evolution", "evolution,random"])
def test_a_key_that_one_searcher_of_a_multirun_lacks_is_told_with_that_searcher(
    command: Command, capsys: pytest.CaptureFixture[str], searchers: str
) -> None:
    keys = ["searcher.population_size=10", "seed=range(0,2)"]
    with pytest.raises(SystemExit):
        command("--multirun", *QUICK, f"searcher={searchers}", *keys)
    error = capsys.readouterr().err
    told = "nasrunner: there is no key 'searcher.population_size' with searcher=random, legal: _"
    assert error.splitlines()[-1].startswith(told)
    assert "Traceback" not in error


@one_in(2, 1, "searchers", ["random,evolution", "evolution,tpe"])
def test_a_key_that_no_searcher_of_a_multirun_has_is_told_with_the_keys_of_all(
    command: Command, capsys: pytest.CaptureFixture[str], searchers: str
) -> None:
    with pytest.raises(SystemExit):
        command("--multirun", *QUICK, f"searcher={searchers}", "searcher.tournament_siz=10")
    one, other = searchers.split(",")
    told = (
        f"nasrunner: there is no key 'searcher.tournament_siz' with searcher={one} or "
        f"searcher={other}, did you mean 'tournament_size'? Legal: _target_, "
    )
    assert capsys.readouterr().err.splitlines()[-1].startswith(told)


def test_a_folder_with_files_of_the_users_own_keeps_them_when_a_study_does_not_start(
    command: Command, tmp_path: Path
) -> None:
    own = tmp_path / "own"
    (own / "notes").mkdir(parents=True)
    (own / "notes" / "a.txt").write_text("mine")
    (own / "config.yaml").write_text("mine")
    with pytest.raises(SystemExit):
        command(*QUICK, f"hydra.run.dir={own}", "max_children=0")
    assert sorted(path.name for path in own.rglob("*")) == ["a.txt", "config.yaml", "notes"]
    assert (own / "config.yaml").read_text() == "mine"


def test_a_second_run_or_sweep_in_a_studys_folder_is_refused_and_changes_nothing(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command(*QUICK, "hydra.run.dir=study", "max_children=1")
    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for arguments in (
        ["hydra.run.dir=study", "searcher=random"],
        ["--multirun", "hydra.sweep.dir=.", "searcher=random"],
    ):
        with pytest.raises(SystemExit) as exit_:
            command(*QUICK, *arguments)
        assert exit_.value.code == 2
        assert re.search(
            "hydra.(run|sweep).dir=.* already.*nasrunner resume=", capsys.readouterr().err
        )
        assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == files


@pytest.mark.slow
def test_a_multirun_goes_on_with_all_of_its_studies_those_not_begun_too(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command("--multirun", *QUICK, "seed=3,4", "searcher=random", "max_children=2")
    (noted,) = tmp_path.rglob("multirun.yaml")
    before = outcomes(noted.parent / "0")
    shutil.rmtree(noted.parent / "1")
    command(f"resume={noted.parent}", "max_children=3")
    assert studies(tmp_path) == [noted.parent / "0", noted.parent / "1"]
    assert outcomes(noted.parent / "0")[:2] == before
    assert [len(outcomes(study)) for study in studies(tmp_path)] == [3, 3]
    assert "seed: 4\n" in (noted.parent / "1" / "config.yaml").read_text()
    with pytest.raises(SystemExit):
        command(f"resume={noted.parent}", "seed=3")
    assert "seed cannot change when a study is resumed" in capsys.readouterr().err


@pytest.mark.slow
def test_a_study_is_resumed_whatever_its_folder_is_called(
    command: Command, finished: Path, tmp_path: Path
) -> None:
    name = "a=b,c (1) it's ö"
    finished.rename(tmp_path / name)
    command(f"resume={name}", "max_children=2", "executor.threads=2")
    assert [outcome["index"] for outcome in outcomes(tmp_path / name)] == [0, 1]
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["searcher.tournament_size=2"], "searcher.tournament_size cannot change when a study"),
        (["executor.thread=2"], "no key 'executor.thread', did you mean 'threads'"),
        (["executor=seriel"], "there is no executor=seriel, did you mean 'serial'"),
        (["executor.threads={oneof: [1, 2]}"], "executor.threads: oneof is a decision, which only"),
        (["executor=local", "executor.thread=2"], "no key 'executor.thread', did you mean"),
        (["max_children=many"], "max_children must be a whole number in digits alone, got many$"),
        (["max_children=1,2"], "max_children=1,2: legal are key=value and"),
        (["--multirun"], "resume= continues what was begun"),
    ],
)
def test_changes_of_a_resumed_study_are_checked_against_its_own_configuration(
    finished: Path,
    command: Command,
    capsys: pytest.CaptureFixture[str],
    changes: list[str],
    message: str,
) -> None:
    before = (finished / "ledger.jsonl").read_bytes()
    with pytest.raises(SystemExit) as exit_:
        command(f"resume={finished}", *changes)
    assert exit_.value.code == 2
    error = capsys.readouterr().err
    assert re.search(message, error), error
    assert (finished / "ledger.jsonl").read_bytes() == before


def test_the_only_study_of_a_name_is_taken_without_a_word(tmp_path: Path) -> None:
    told: list[str] = []
    for time in ("2026-01-02_03-04-05-678901", "2026-01-02_13-04-05-678901"):
        (tmp_path / time).mkdir()
        (tmp_path / time / "ledger.jsonl").touch()
        assert resumable(str(tmp_path), told.append) == tmp_path / time
    assert told == [f"resume: the latest of 2 studies in {tmp_path} is taken, {time}"]


def test_the_latest_multirun_is_taken_and_of_other_folders_what_lies_in_them(
    tmp_path: Path,
) -> None:
    told: list[str] = []
    for time in ("2026-01-02_03-04-05-678901", "2026-01-02_13-04-05-678901"):
        (tmp_path / "multirun" / time / "0").mkdir(parents=True)
        (tmp_path / "multirun" / time / "multirun.yaml").touch()
        (tmp_path / "multirun" / time / "0" / "ledger.jsonl").touch()
    assert resumable(str(tmp_path / "multirun"), told.append) == tmp_path / "multirun" / time
    assert told == [f"resume: the latest of 2 studies in {tmp_path}/multirun is taken, {time}"]
    own = tmp_path / "smbo-mlp" / time
    own.mkdir(parents=True)
    (own / "ledger.jsonl").touch()
    listed = f"choose one in it: .*/multirun/{time}, .*/smbo-mlp/{time}$"
    with pytest.raises(ConfigError, match=listed):
        resumable(str(tmp_path), told.append)
    with pytest.raises(ConfigError, match=r"smbo-mlp/new is no study's folder: there is no ledger"):
        resumable(str(own.parent / "new"), told.append)
    with pytest.raises(ConfigError, match=rf"; did you mean {tmp_path}/smbo-mlp\?$"):
        resumable(str(tmp_path / "smbo-mnist"), told.append)
    with pytest.raises(ConfigError, match=rf"; did you mean {own}\?$"):
        resumable(str(own.parent / time[:-3]), told.append)


def test_a_folder_that_is_named_as_a_reference_is_not_resumed(
    command: Command, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(finished, tmp_path / "${x}")
    with pytest.raises(SystemExit):
        command("resume=${x}", "max_children=4")
    assert capsys.readouterr().err.endswith("${…} in a name for a reference; rename it\n")


@pytest.mark.slow
def test_of_the_studies_of_one_name_the_latest_is_resumed(
    command: Command, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for time in ("2026-01-02_03-04-05-678901", "2026-01-02_13-04-05-678901"):
        shutil.copytree(finished, tmp_path / "smbo-figure1" / time)
    command("resume=smbo-figure1", "max_children=2")
    told = capsys.readouterr().err
    assert "latest of 2 studies" in told
    first, last = studies(tmp_path)
    assert [len(outcomes(study)) for study in (first, last)] == [1, 2]
    shutil.rmtree(first)
    command("resume=smbo-figure1", "max_children=2")
    assert "latest" not in capsys.readouterr().err
    (tmp_path / "smbo-figure1" / "other").mkdir()
    (tmp_path / "smbo-figure1" / "other" / "ledger.jsonl").touch()
    with pytest.raises(SystemExit):
        command("resume=smbo-figure1")
    assert re.search("holds 2 studies, choose one: nasrunner resume=", capsys.readouterr().err)


@pytest.mark.slow
def test_a_baseline_is_not_exchanged_for_another(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command(*QUICK, "hydra.run.dir=study", "max_children=1", "baseline=random")
    (tmp_path / "mine" / "baseline").mkdir(parents=True)
    other = (Path(__file__).parent.parent / "conf" / "searcher" / "evolution.yaml").read_text()
    (tmp_path / "mine" / "baseline" / "other.yaml").write_text(other)
    with pytest.raises(SystemExit):
        command("--config-dir", "mine", "resume=study", "baseline=other")
    assert re.search("study/baseline holds another study.*searcher", capsys.readouterr().err)


@pytest.mark.parametrize("mode", [[], ["--multirun"]])
def test_a_study_without_a_completed_child_fails(
    command: Command, monkeypatch: pytest.MonkeyPatch, mode: list[str]
) -> None:
    def run_study(config: dict[str, Any], folder: Path) -> Summary:
        return Summary("over", {"failed": 3}, [], 0.0, 1.0, failure="no child was completed")

    monkeypatch.setattr(search_command, "run_study", run_study)
    with pytest.raises(SystemExit) as exit_:
        command(*QUICK, *mode)
    assert exit_.value.code == (2 if mode else 1)


@pytest.mark.parametrize("mode", [[], ["--multirun"]])
def test_limits_that_no_architecture_is_within_are_refused(
    command: Command, capsys: pytest.CaptureFixture[str], mode: list[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        command(*QUICK, *mode, "limits.parameters=2")
    assert exit_.value.code == 2
    told = " ".join("".join(capsys.readouterr()).split())
    assert "limits.parameters=2: no architecture" in told


OWN_DATA = """
import torch
from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader, TensorDataset


class Corners(LightningDataModule):
    def __init__(self, batch_size):
        super().__init__()
        self.batch_size = batch_size

    def train_dataloader(self):
        x = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]).repeat(8, 1)
        return DataLoader(TensorDataset(x, (x[:, 0] != x[:, 1]).long()), self.batch_size)

    val_dataloader = test_dataloader = train_dataloader
"""


def test_a_module_beside_the_user_is_found_and_remembered_wherever_the_study_goes_on(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "conf" / "data").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "own_corners.py").write_text(OWN_DATA)
    (tmp_path / "conf" / "data" / "corners.yaml").write_text(
        "_target_: own_corners.Corners\nin_shape: [2]\nnum_outputs: 2\nbatch_size: 8\n"
    )
    quick = QUICK[:4]
    command(*quick, "--config-dir", "conf", "data=corners", "hydra.job.chdir=true")
    (study,) = studies(tmp_path)
    monkeypatch.delitem(sys.modules, "own_corners")
    sys.path.remove(str(tmp_path))
    monkeypatch.chdir(tmp_path / "elsewhere")
    command(f"resume={study}", "max_children=4")
    assert [outcome["status"] for outcome in outcomes(study)] == ["completed"] * 4


def test_own_files_are_found_from_where_the_command_was_started(
    command: Command, tmp_path: Path
) -> None:
    (tmp_path / "mine.csv").write_text("a,b\n" + "".join(f"{n / 7},{n % 2}\n" for n in range(40)))
    own = ["data=csv", "data.path=mine.csv", "data.target=b", "data.batch_size=8"]
    command(*QUICK[:4], *own, "max_children=1", "hydra.job.chdir=true")
    (study,) = studies(tmp_path)
    assert [outcome["status"] for outcome in outcomes(study)] == ["completed"]


def test_a_key_that_a_users_own_class_takes_is_offered_with_a_plus(
    command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "conf" / "data").mkdir(parents=True)
    (tmp_path / "keyed_corners.py").write_text(OWN_DATA)
    (tmp_path / "conf" / "data" / "corners.yaml").write_text(
        "_target_: keyed_corners.Corners\nin_shape: [2]\nnum_outputs: 2\n"
    )
    with pytest.raises(SystemExit):
        command("--config-dir", "conf", "data=corners", "data.batch_size=8")
    error = capsys.readouterr().err
    assert "the configuration has no 'data.batch_size' yet: +data.batch_size=8 adds it" in error


def test_the_configuration_of_a_resumed_study_is_its_own(
    command: Command, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command(f"resume={finished}", "max_children=7", "--cfg", "job")
    shown = OmegaConf.create(capsys.readouterr().out)
    saved = OmegaConf.load(finished / "config.yaml")
    assert shown.searcher == saved.searcher
    assert (saved.max_children, shown.max_children) == (1, 7)


@pytest.mark.parametrize("missing", ["in_shape", "num_outputs"])
def test_data_that_does_not_say_what_networks_are_for_is_one_sentence(
    command: Command, capsys: pytest.CaptureFixture[str], missing: str
) -> None:
    with pytest.raises(SystemExit) as exit_:
        command(*QUICK, f"~data.{missing}")
    assert exit_.value.code == 2
    assert re.match(rf"nasrunner: data.{missing} is missing: the .*\+data", capsys.readouterr().err)


def test_relative_places_stay_where_the_command_was_started(tmp_path: Path) -> None:
    mlflow = {"_target_": "nasrunner.trackers.mlflow.tracker.MlflowTracker"}
    own = {"tracking_uri": "sqlite:///outputs/mlflow.db", "artifact_uri": "s3://bucket"}
    config = {
        "tracker": {**mlflow, **own},
        "data": {"root": "data/mnist"},
    }
    anchor(config, tmp_path)
    assert config == {
        "tracker": {
            **mlflow,
            "tracking_uri": f"sqlite:///{tmp_path}/outputs/mlflow.db",
            "artifact_uri": "s3://bucket",
        },
        "data": {"root": f"{tmp_path}/data/mnist"},
    }
    server = {
        "tracker": {**mlflow, "tracking_uri": "http://server", "artifact_uri": None},
        "data": {},
    }
    there = copy.deepcopy(server)
    anchor(there, tmp_path)
    assert there == server


def test_the_version_is_ours(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    command("--version")
    assert capsys.readouterr().out == f"nasrunner {importlib.metadata.version('nasrunner')}\n"


@pytest.mark.slow
def test_a_study_that_goes_on_in_another_folder_is_recorded_where_it_was(
    command: Command,
    evolved: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    store = "sqlite:///outputs/mlflow.db"
    study = shutil.copytree(evolved, tmp_path / "outputs" / "study")
    config = OmegaConf.load(study / "config.yaml")
    tracker = {"_target_": MLFLOW, "tracking_uri": store, "artifact_uri": None}
    config.tracker = {"_target_": SEVERAL, "trackers": {"one": tracker}}
    OmegaConf.save(config, study / "config.yaml")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")

    def place(*changes: str) -> str:
        capsys.readouterr()
        command(f"resume={study}", "trust=true", *changes, "--cfg", "job")
        found = OmegaConf.create(capsys.readouterr().out).tracker.trackers.one.tracking_uri
        return str(found)

    there = f"sqlite:///{tmp_path}/outputs/mlflow.db"
    (study / "mlflow.json").write_text(json.dumps({"tracking_uri": there}))
    assert place() == there
    assert place("tracker.trackers.one.tracking_uri=sqlite:///mine.db") == "sqlite:///mine.db"
    (study / "mlflow.json").write_text(json.dumps({"tracking_uri": "sqlite:////a/mlflow.db"}))
    assert place() == store  # it was moved since, and the file with it or not


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            ("searcher=random", "searcher@searcher.searcher=smbo"),
            "there is no searcher at 'searcher.searcher' with searcher=random to exchange; one is "
            "in searcher=asha (searcher@searcher.searcher), searcher=asha_stopping (searcher@sear",
        ),
        (
            ("tracker@tracker.trackers.csv=csv",),
            "there is no tracker at 'tracker.trackers.csv' to exchange; one is in tracker=several "
            "(tracker@tracker.trackers.mlflow, tracker@tracker.trackers.csv)",
        ),
        (
            ("searcher=random", "surrogate@searcher.surrogate=forest"),
            "there is no surrogate at 'searcher.surrogate' with searcher=random to exchange; one "
            "is in searcher=filter (surrogate@searcher.surrogate), searcher=pnas (surrogate@sear",
        ),
        (("data@data.inner=mnist",), "there is no key 'data@data', did you mean 'data'?"),
    ],
)
def test_an_option_inside_another_that_has_none_says_which_have(
    command: Command, capsys: pytest.CaptureFixture[str], given: tuple[str, ...], message: str
) -> None:
    with pytest.raises(SystemExit):
        command(*given)
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_children_are_compared_by_objectives_beside_a_baseline_and_when_resumed(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    goals = ["objectives={val_accuracy:max,val_loss:{goal:min,limit:0}}", "baseline=random"]
    command(*QUICK, *goals, "scalarization={limit:{beyond:-1}}")
    study = next(each for each in studies(tmp_path) if each.name != "baseline")
    command(f"resume={study}", "max_children=4")
    for folder in (study, study / "baseline"):
        assert len(outcomes(folder)) == 4
        for outcome in outcomes(folder):
            assert outcome["reward"] == -1
            assert outcome["objectives"] == {
                name: outcome["metrics"][name] for name in ("val_accuracy", "val_loss")
            }
    told = " ".join(capsys.readouterr().out.split())
    assert "no child is within objectives.val_loss.limit=0: the best has " in told
    assert "Front: 0 children that no other dominates; hypervolume 0 from val_accuracy=" in told


def test_children_whose_size_is_beyond_a_limit_are_not_trained(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    goals = "objectives={val_accuracy:max,parameters:{goal:min,limit:1}}"
    command(*QUICK, goals, "scalarization={limit:{beyond:-1}}")
    (study,) = studies(tmp_path)
    command(f"resume={study}", "max_children=4")
    assert len(outcomes(study)) == 4
    assert not list(study.glob("children/*/*.ckpt"))
    for outcome in outcomes(study):
        parameters = outcome["metrics"]["parameters"]  # type: ignore[index]
        assert (outcome["status"], outcome["reward"], outcome["cost_s"]) == ("completed", -1, 0)
        assert outcome["objectives"] == {"parameters": parameters}
        assert outcome["error"] == f"objectives.parameters.limit=1: parameters is {parameters:g}"
    told = " ".join(capsys.readouterr().out.split())
    assert "no child is within objectives.parameters.limit=1: the best has " in told


FEW_OF_DARTS = "{trainer.max_epochs: 1, data.batch_size: 4}"


@pytest.mark.parametrize(
    ("experiment", "few", "num_trained"),
    [
        ("enas_ptb", [f"searcher.{key}=1" for key in ("controller_steps", "num_estimates")], 2),
        # Two steps of the paper's rate, 20, are far from where many of them lead.
        ("darts_ptb", [f"searcher.supernet={FEW_OF_DARTS}", "optimizer.lr=1"], 2),
        ("enas_ptb_small", [], 1),
    ],
)
@pytest.mark.slow
def test_an_experiment_of_recurrent_cells_trains_a_few_steps(
    experiment: str,
    few: list[str],
    num_trained: int,
    command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not (DATA / "ptb").is_dir():
        pytest.skip(f"no Penn Treebank in {DATA}")
    monkeypatch.setenv("NASRUNNER_DATA", str(DATA))
    short = [f"trainer.{key}=2" for key in ("limit_train_batches", "limit_val_batches")]
    own = ["executor=serial", "tracker=none", "max_children=1", "trainer.max_epochs=1"]
    command(f"experiment={experiment}", *own, *few, *short, f"hydra.run.dir={tmp_path / 'study'}")
    curves = [*(tmp_path / "study").rglob("curves.jsonl")]
    assert len(curves) == num_trained  # a supernet among them
    for lines in curves:
        curve = [json.loads(each) for each in lines.read_text().splitlines()]
        assert [each["step"] for each in curve] == [2]
        assert 1 < curve[0]["val_perplexity"] < 20_000
