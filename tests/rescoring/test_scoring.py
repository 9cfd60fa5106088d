"""Children of recorded studies have another reward: that which a study with it would have given."""

import functools
import json
import shutil
import sys
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

from nasrunner import command as nasrunner
from nasrunner.core import ConfigError, Outcome
from nasrunner.core.machine.files import keep_file
from nasrunner.recorded import RecordedStudy, read_study
from nasrunner.report.study.evaluations import reward_label
from nasrunner.rescoring.request import read_rescoring
from nasrunner.rescoring.scoring import rescored
from tests.report.recordings import Recording, recorded

SPACE = "{concat:[{affine:{units:{oneof:[2,4,8]}}},relu,{affine:{units:10}}]}"
QUICK = ("executor=serial", "tracker=none", "trainer.max_epochs=3", "searcher=random")
BY_LOSS = ("task.reward.metric=val_loss", "task.reward.mode=min")


def searched(folder: Path, *arguments: str) -> Path:
    """Runs a search of three children in a folder of its own; returns the study's."""
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        GlobalHydra.instance().clear()
        given = (*QUICK, "~space", f"+space={SPACE}", "max_children=3", *arguments)
        patch.setattr(sys, "argv", ["nasrunner", *given])
        nasrunner.main()
    (ledger,) = folder.glob("outputs/*/*/ledger.jsonl")
    return ledger.parent


def read(folder: Path, *arguments: str) -> RecordedStudy:
    """A study with the reward that is asked for."""
    rescoring = read_rescoring(arguments)
    assert rescoring is not None
    return read_study(folder, rescore=functools.partial(rescored, rescoring=rescoring))


def refused(folder: Path, *arguments: str) -> str:
    with pytest.raises(ConfigError) as raised:
        read(folder, *arguments)
    return str(raised.value).removeprefix(f"{folder}: ")


def told(study: RecordedStudy) -> list[tuple[object, ...]]:
    """What is known of each child's reward, in the order of the children."""
    return [
        (o.status, o.reward, dict(o.metrics), dict(o.objectives), o.error)
        for _, o in sorted(study.state.outcomes.items())
    ]


@pytest.fixture(scope="module")
def by_accuracy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return searched(tmp_path_factory.mktemp("a") / "accuracy")


# What a study with this reward has recorded


@pytest.mark.slow
@pytest.mark.parametrize(
    "how",
    [
        [],
        ["reduce=last"],
        ["reduce=mean_last", "last_epochs=2"],
        ["power=-2"],
    ],
    ids=str,
)
def test_children_have_what_a_search_with_that_reward_gives_them(
    by_accuracy: Path, tmp_path: Path, how: list[str]
) -> None:
    other = searched(tmp_path / "b", *BY_LOSS, *(f"task.reward.{each}" for each in how))
    found = read(by_accuracy, "reward=val_loss", *(f"reward.{each}" for each in how))
    assert told(found) == told(read_study(other))
    assert told(found) != told(read_study(by_accuracy))
    assert reward_label(found) == reward_label(read_study(other))


@pytest.mark.slow
def test_the_mean_of_several_trainings_is_that_of_their_rewards(tmp_path: Path) -> None:
    several = ("evaluation.repeats=2", "max_children=2")
    mine = searched(tmp_path / "a", *several)
    other = searched(tmp_path / "b", *several, *BY_LOSS)
    found = read(mine, "reward=val_loss")
    assert told(found) == told(read_study(other))
    shutil.rmtree(next((mine / "children").iterdir()) / "trainings")
    assert refused(mine, "reward=val_loss").startswith(
        "reward.metric: 'val_loss' was recorded of 1 of 2 children; recorded were "
    )


@pytest.mark.slow
def test_goals_are_judged_as_a_search_with_them_does(by_accuracy: Path, tmp_path: Path) -> None:
    goals = (
        "objectives={reward: max, val_loss: min, flops: {goal: min, limit: 500}}",
        "scalarization=product",
    )
    limited = (goals[0].replace("val_loss: min, ", ""), goals[1])
    other = searched(tmp_path / "b", *limited)
    assert told(read(by_accuracy, *limited)) == told(read_study(other))
    # and back: what the product has replaced is the objective "reward"
    back = read(other, "scalarization=null", "objectives=null")
    assert told(back) == told(read_study(by_accuracy))
    assert "objectives.val_loss.limit must be a number > 0" in refused(by_accuracy, *goals)


@pytest.mark.slow
def test_rewards_of_children_beyond_a_limit_are_made_of_their_curves(
    by_accuracy: Path, tmp_path: Path
) -> None:
    _, limit, _ = sorted(
        o.metrics["val_loss"] for o in read_study(by_accuracy).state.history.outcomes
    )
    other = searched(tmp_path / "b", f"objectives={{val_loss: {{goal: min, limit: {limit}}}}}")
    recorded_there = read_study(other).state.outcomes.values()
    assert [o.reward is None for o in recorded_there] != [False, False, False]
    assert told(read(other, "objectives=null")) == told(read_study(by_accuracy))


@pytest.mark.slow
@pytest.mark.parametrize(
    "given",
    [
        ("searcher=asha", "searcher.rungs=[1,2]", "searcher@searcher.searcher=random"),
        ("searcher=median_stopping", "searcher@searcher.searcher=random", "evaluation.repeats=1"),
        ("evaluation.folds=2", "duplicates=reuse"),
    ],
    ids=" ".join,
)
def test_the_searchs_own_reward_changes_nothing(tmp_path: Path, given: tuple[str, ...]) -> None:
    folder = searched(tmp_path / "a", *given, "max_children=7")
    again = read(folder, "reward=val_accuracy", "reward.mode=max")
    assert len(told(again)) >= 7
    assert told(again) == told(read_study(folder))
    best = [(child.proposal.index, child.spread) for child in read_study(folder).best(9)]
    assert [(child.proposal.index, child.spread) for child in again.best(9)] == best


# By hand


def curves(study: Recording, index: int, *values: float) -> None:
    folder = study.folder / "children" / f"{index:04d}"
    folder.mkdir(parents=True)
    lines = [
        {"epoch": epoch, "step": epoch, "time": 0.0, "train_loss": 1.0, "val_f1": value}
        for epoch, value in enumerate(values)
    ]
    keep_file(folder / "curves.jsonl", "".join(f"{json.dumps(line)}\n" for line in lines))


def f1_study(folder: Path) -> Recording:
    study = Recording(folder)
    for index, values in enumerate([(0.1, 0.6, 0.2), (0.3, 0.4, 0.5), (0.9, 0.1, 0.1)]):
        study.child(0.5 + index / 10)
        curves(study, index, *values)
    return study


def rewards(study: RecordedStudy) -> list[float | None]:
    return [outcome.reward for outcome in study.state.outcomes.values()]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["reward=val_f1", "reward.mode=max"], [0.6, 0.5, 0.9]),
        (["reward.metric=val_f1", "reward.mode=max", "reward.reduce=last"], [0.2, 0.5, 0.1]),
        (["reward={metric: val_f1, mode: min}"], [-0.1, -0.3, -0.1]),
        (
            ["reward=val_f1", "reward.mode=max", "reward.reduce=mean_last", "reward.last_epochs=2"],
            [0.4, 0.45, 0.1],
        ),
        (["reward=flops"], [-200.0, -200.0, -200.0]),
        (["objectives={val_accuracy: max, flops: min}", "scalarization={weighted_sum: "
          "{val_accuracy: 1, flops: 0.001}}"], [0.3, 0.4, 0.5]),
    ],
)  # fmt: skip
def test_a_reward_is_what_its_rule_makes_of_the_curve(
    tmp_path: Path, arguments: list[str], expected: list[float]
) -> None:
    folder = f1_study(tmp_path / "s").end()
    before = (folder / "ledger.jsonl").read_bytes()
    found = read(folder, *arguments)
    assert rewards(found) == pytest.approx(expected)
    (best,) = found.best(1)
    assert best.proposal.index == max(range(3), key=lambda i: (expected[i], -i))
    assert (folder / "ledger.jsonl").read_bytes() == before


def test_metrics_are_of_the_epoch_that_the_reward_is_of(tmp_path: Path) -> None:
    found = read(f1_study(tmp_path / "s").end(), "reward=val_f1", "reward.mode=max")
    (outcome,) = (o for o in found.state.outcomes.values() if o.proposal.index == 1)
    assert outcome.metrics["reward_epoch"] == 2
    assert outcome.metrics["val_accuracy"] == 0.6  # has no curve: as recorded


def test_a_curve_of_the_ledger_stands_for_a_folder_that_is_gone(tmp_path: Path) -> None:
    study = Recording(tmp_path / "s")
    proposal = study.propose(3)
    metrics = {"val_accuracy": 0.9, "val_loss": 0.7, "epochs": 3.0, "reward_epoch": 2.0}
    curve = {"val_accuracy": [0.1, 0.2, 0.9], "val_loss": [0.8, 0.5, 0.7]}
    study.record(Outcome(proposal, "completed", 0.9, metrics, curve=curve))
    found = read(study.end(), "reward=val_loss")
    assert rewards(found) == [-0.5]
    (outcome,) = found.state.outcomes.values()
    assert (outcome.metrics["reward_epoch"], outcome.metrics["epochs"]) == (1, 3)
    assert outcome.metrics["val_accuracy"] == 0.2
    assert "Of 1 of 1 children the curves are the ledger's" in found.about_rescored


def test_a_damaged_curve_is_told_with_what_the_child_is_scored_by_without_it(
    tmp_path: Path,
) -> None:
    study = f1_study(tmp_path / "s")
    (study.folder / "children" / "0001" / "curves.jsonl").write_text('{"epoch": 0}\n[]\n')
    told = refused(study.end(), "reward=val_f1", "reward.mode=max")
    assert "0001/curves.jsonl is damaged in line" in told
    assert told.endswith("Without the file, the child is scored by what the ledger has of it")


def test_failed_and_repeated_children_are_what_they_were(tmp_path: Path) -> None:
    study = Recording(tmp_path / "s")
    study.child(0.5, metrics={"val_f1": 0.8})
    study.child(None)
    again = study.propose(0)
    repeated = {"val_accuracy": 0.5, "val_f1": 0.8, "parameters": 7.0}
    study.record(Outcome(again, "completed", 0.5, repeated, reused_from=0))
    found = read(study.end(), "reward=val_f1", "reward.mode=max")
    assert rewards(found) == [0.8, None, 0.8]
    last = found.state.outcomes[2]
    assert (last.reused_from, last.metrics["parameters"]) == (0, 7.0)
    assert found.state.outcomes[1].status == "failed"


def test_children_that_were_too_large_to_be_trained_have_no_reward(tmp_path: Path) -> None:
    study = Recording(tmp_path / "s")
    study.child(0.5, metrics={"val_f1": 0.8, "flops": 4.0})
    study.record(
        Outcome(
            study.propose(1),
            "completed",
            -1,
            {"parameters": 7.0, "flops": 900.0, "epochs": 0.0},
            error="objectives.flops.limit=10: flops is 900",
            objectives={"flops": 900.0},
        )
    )
    folder = study.end()
    assert rewards(read(folder, "reward=val_f1", "reward.mode=max")) == [0.8, None]
    goals = "objectives={val_f1: max, flops: {goal: min, limit: 800}}"
    found = read(folder, goals, "scalarization={limit: {beyond: -3}}")
    assert rewards(found) == [0.8, -3]
    assert found.state.outcomes[1].error == "objectives.flops.limit=800: flops is 900"


def test_a_child_whose_value_is_none_has_failed(tmp_path: Path) -> None:
    study = Recording(tmp_path / "s")
    study.child(0.5)
    study.child(0.6)
    curves(study, 0, 0.1, 0.2)
    curves(study, 1, 0.3, float("nan"))
    assert rewards(read(study.folder, "reward=val_f1", "reward.mode=max")) == [0.2, None]
    kept = read(study.folder, "reward=val_f1", "reward.mode=max", "reward.diverged=keep")
    assert rewards(kept) == [0.2, 0.3]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["reward=val_f2", "reward.mode=max"],
            "reward.metric: 'val_f2' was recorded of none of 3 children; did you mean 'val_f1'? "
            "recorded were flops, parameters, train_loss, val_accuracy, val_f1 (of 3)",
        ),
        (["reward=val_f2"], "reward.metric: 'val_f2' was recorded of none of 3 children"),
        (["reward=odd", "reward.mode=max"], "reward.metric: 'odd' was recorded of 1 of 3 children"),
        (["reward=val_f1"], "reward.mode is needed: max if a higher val_f1 is better, min if a "),
        (["reward=val_f1", "reward.mode=up"], "reward.mode must be one of max, min, got 'up'"),
        (["reward.mode=min", "reward.power=0"], "task.reward.power must be a number other than 0"),
        (["objectives={odd: max}"], "objectives.odd: 'odd' was recorded of 1 of 3 children; reco"),
        (["objectives={flops: mix}"], "objectives.flops: 'mix' is no direction"),
        (["scalarization=product"], "scalarization=product makes a reward of objectives"),
    ],
)
def test_what_was_not_recorded_of_all_children_is_refused(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    study = f1_study(tmp_path / "s")
    lines = (study.folder / "ledger.jsonl").read_text()
    changed = lines.replace('"flops": 200.0}', '"flops": 200.0, "odd": 1.0}', 1)
    assert changed != lines
    (study.folder / "ledger.jsonl").write_text(changed)
    if arguments[0] == "reward=val_f2":
        (study.folder / "ledger.jsonl").write_text(lines)
    assert refused(study.end(), *arguments).startswith(message)


def test_a_tables_reward_before_a_scalarization_was_recorded_or_is_gone(tmp_path: Path) -> None:
    table = {"_target_": "nasrunner.children.tables.tabular.TabularTrainer", "reward": "mean_acc"}
    goals = {"flops": "min", "parameters": {"goal": "max", "limit": 1.0}}
    weights = {"weighted_sum": {"flops": 1, "parameters": 1}}
    folder = recorded(tmp_path / "s", [0.1], trainer=table, objectives=goals, scalarization=weights)
    assert refused(folder, "scalarization=null").startswith(
        "scalarization: 'reward' was recorded of none of 1 children; recorded were flops, param"
    )
    found = read(folder, "reward=val_accuracy", "reward.mode=max", "objectives=null")
    assert (rewards(found), reward_label(found)) == ([0.1], "reward (val_accuracy)")


def test_a_diverged_child_has_what_the_rule_says(tmp_path: Path) -> None:
    study = Recording(tmp_path / "s")
    study.child(0.5, metrics={"diverged": 1.0, "val_loss": 3.0})
    study.child(0.6, metrics={"val_loss": 2.0})
    folder = study.end()
    assert rewards(read(folder, "reward=val_loss", "reward.diverged=keep")) == [-3.0, -2.0]
    assert rewards(read(folder, "reward=val_loss", "reward.diverged=failed")) == [None, -2.0]
    assert refused(folder, "reward=val_loss", "reward.diverged=chance").startswith(
        "reward.diverged=chance: which val_loss a guess has was not recorded, and child 0000"
    )
