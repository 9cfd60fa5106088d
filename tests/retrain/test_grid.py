"""What a grid may be, what it says before it starts, and the point that wins."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hydra.errors import HydraException

from nasrunner.core import NasRunnerError, OneOf, Outcome, Proposal
from nasrunner.recorded import RecordedStudy, read_study
from nasrunner.retrain.grid import Grid, epsilon_is_idle, read_grid, unreached
from nasrunner.retrain.grid_search import GridPoint, GridSearch, best_of
from nasrunner.retrain.request import RetrainRequest, changed
from nasrunner.retrain.session import Session
from nasrunner.spaces.language.parsing import parse_space
from tests.paused import pause_all

ROOT = Path(__file__).parents[2]
SHIPPED = sorted(path.stem for path in (ROOT / "conf" / "grid").glob("*.yaml"))
DECAY = "{_target_: torch.optim.lr_scheduler.MultiStepLR, _partial_: true, milestones: [%s]}"
DECAYS = f"{{scheduler: [{DECAY % 3}, {DECAY % '5,9'}]}}"


def read(recorded: RecordedStudy, text: str, *overrides: str) -> Grid:
    config = changed(recorded.config, overrides, recorded.space)
    return read_grid(text, config, overrides, recorded.space)


def test_lists_are_values_and_decisions_are_those_of_the_space_language(
    recorded: RecordedStudy,
) -> None:
    text = "{optimizer.lr: [0.1, 1e-2], optimizer.weight_decay: {logspace: [1e-4, 1e-2, 3]}}"
    assert read(recorded, text) == (
        ("optimizer.lr", OneOf((0.1, 0.01))),
        ("optimizer.weight_decay", OneOf((0.0001, 0.001, 0.01))),
    )
    text = "{optimizer.betas: [[0.8, 0.9], [0.9, 0.99]], trainer.max_epochs: {range: [1, 3, 1]}}"
    assert read(recorded, text) == (
        ("optimizer.betas", OneOf(((0.8, 0.9), (0.9, 0.99)))),
        ("trainer.max_epochs", OneOf((1, 2, 3))),
    )


def test_a_value_may_refer_to_the_studys(recorded: RecordedStudy) -> None:
    grid = read(recorded, "{optimizer.lr: [0.1, '${optimizer.eps}']}", "optimizer.eps=0.5")
    assert grid == (("optimizer.lr", OneOf((0.1, 0.5))),)


def test_the_keys_of_another_scheduler_are_there_once_it_is_chosen(recorded: RecordedStudy) -> None:
    text = "{scheduler.milestones.0: [2, 3]}"
    with pytest.raises(NasRunnerError, match=r"grid: the child's configuration has no 'scheduler"):
        read(recorded, text)
    assert read(recorded, text, "scheduler=multistep") == (
        ("scheduler.milestones.0", OneOf((2, 3))),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "grid must be an option of conf/grid, or map keys to lists of values, got {}"),
        ("[1]", r"grid must be an option of conf/grid, or map .*, got \[1\]"),
        ("7", "grid must be an option of conf/grid, or map .*, got 7"),
        ("null", "grid must be an option of conf/grid, or map .*, got None"),
        ("{optimizer.lr: []}", r"grid\.optimizer\.lr: oneof needs at least one option, got \[\]"),
        ("{optimizer.lr: [1, 1]}", "must not repeat an option, got 1 twice"),
        ("{optimizer.lr: 0.1}", r"grid\.optimizer\.lr must be a list of values, or .*, got 0\.1"),
        ("{optimizer.lr: {logspace: [0, 1, 2]}}", r"grid\.optimizer\.lr\.logspace: logspace needs"),
        ("{optimizer.lrr: [1]}", "grid: .* has no 'optimizer.lrr', did you mean 'optimizer.lr'"),
        ("{executor.workers: [1]}", "grid: the child's configuration has no 'executor.workers'"),
        ("{seed: [1]}", "grid: seed cannot change when a network is retrained"),
        ("{data.split_seed: [1]}", "grid: data.split_seed cannot change"),
        ("{task.label_smoothing: [0.1]}", "grid: task.label_smoothing cannot change"),
        ("{optimizer.eps: [1], optimizer: [{a: 1}]}", "grid: .* has no 'optimizer.eps'"),
    ],
)
def test_what_is_no_grid_is_refused(recorded: RecordedStudy, text: str, message: str) -> None:
    with pytest.raises(NasRunnerError, match=message):
        read(recorded, text)


@pytest.mark.parametrize(
    ("text", "override"),
    [
        ("{optimizer.lr: [1]}", "optimizer.lr=1"),
        ("{optimizer: [{lr: 1}]}", "optimizer.lr=1"),
        ("{scheduler: [{gamma: 1}]}", "scheduler=cosine"),
    ],
)
def test_a_key_of_the_grid_is_not_given_as_well(
    recorded: RecordedStudy, text: str, override: str
) -> None:
    with pytest.raises(NasRunnerError, match=r"grid: \w.* is in the grid, so .* cannot be given"):
        read(recorded, text, override)


def test_an_option_that_does_not_exist_is_named_with_those_that_do(
    recorded: RecordedStudy,
) -> None:
    with pytest.raises(HydraException, match=r"Could not find 'grid/nasrll'[\s\S]*nasrl"):
        read(recorded, "nasrll")


@pytest.mark.parametrize("key", ["optimizer.lr", "optimizer"])
def test_what_the_space_searches_is_the_childs_own(recorded: RecordedStudy, key: str) -> None:
    space = replace(recorded.space, hyperparameters=((key, OneOf((0.1, 0.2))),))
    with pytest.raises(NasRunnerError, match=f"grid: optimizer.lr .* the space searches {key}"):
        read_grid("{optimizer.lr: [1, 2]}", recorded.config, (), space)


def test_a_shipped_grid_is_found() -> None:
    assert "nasrl" in SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_grids_are_small_and_of_every_study(recorded: RecordedStudy, name: str) -> None:
    grid = read(recorded, name, "trainer.max_epochs=50")
    assert 2 <= math.prod(len(values.options) for _, values in grid) <= 50
    assert (
        unreached(changed(recorded.config, ["trainer.max_epochs=50"], recorded.space), grid) == []
    )


@pytest.mark.parametrize("name", SHIPPED)
def test_every_value_of_a_shipped_grid_can_be_trained_with(
    recorded: RecordedStudy, name: str
) -> None:
    optimizer = ("optimizer=sgd", "optimizer.nesterov=true", "trainer.accelerator=cpu")
    Session(recorded, RetrainRequest("", top=2, grid=name, overrides=optimizer)).rehearsal()


def test_nasrls_grid_is_over_rate_decay_epsilon_and_epoch_of_decay(recorded: RecordedStudy) -> None:
    keys = [key for key, _ in read(recorded, "nasrl")]
    expected = ["optimizer.lr", "optimizer.weight_decay", "trainer.batch_norm_epsilon", "scheduler"]
    assert keys == expected
    schedules = dict(read(recorded, "nasrl"))["scheduler"].options
    assert len({schedule["milestones"][0] for schedule in schedules}) == 2


@pytest.mark.parametrize(
    ("epochs", "late"), [(3, [[3], [5, 9]]), (5, [[5, 9]]), (6, []), (-1, []), ("null", [])]
)
def test_milestones_after_the_last_epoch_are_told(
    recorded: RecordedStudy, epochs: Any, late: list[list[int]]
) -> None:
    grid = read(recorded, DECAYS)
    config = changed(recorded.config, [f"trainer.max_epochs={epochs}"], recorded.space)
    assert unreached(config, grid) == late


def test_an_epsilon_is_idle_without_batch_normalization(recorded: RecordedStudy) -> None:
    epsilon = read(recorded, "{trainer.batch_norm_epsilon: [0.1, 0.2]}")
    rate = read(recorded, "{optimizer.lr: [0.1, 0.2]}")
    without, with_one = parse_space("relu"), parse_space({"concat": ["relu", "batch_norm"]})
    assert epsilon_is_idle(without, (4,), epsilon)
    assert not epsilon_is_idle(without, (4,), rate)
    assert not epsilon_is_idle(with_one, (4,), epsilon)


def test_a_childs_own_settings_stay_its_own_at_every_point(
    recorded: RecordedStudy, tmp_path: Path
) -> None:
    own = {"optimizer.eps": {"oneof": [0.25, 0.5]}}
    config = {**recorded.config, "space": {**recorded.config["space"], "hyperparameters": own}}
    child = recorded.best(1)[0]
    genotype = {"hyperparameters/optimizer.eps": 1, **child.proposal.genotype}
    child = replace(child, proposal=replace(child.proposal, genotype=genotype))
    grid = read(recorded, "{optimizer.lr: [0.1, 0.2]}")
    search = GridSearch(replace(recorded, config=config), child, grid, config, tmp_path)
    assert search.space.size() == 2
    frozen = search.space.freeze({"hyperparameters/optimizer.lr": 1})
    assert dict(frozen.hyperparameters) == {"optimizer.eps": 0.5, "optimizer.lr": 0.2}
    assert search.settings_of(Proposal(0, {"hyperparameters/optimizer.lr": 1})) == {
        "optimizer.lr": 0.2
    }


def test_the_first_of_the_best_points_wins_and_failed_ones_never() -> None:
    rewards = [0.5, None, 0.9, 0.9, -1.0]
    points = [
        GridPoint({"x": index}, Outcome(Proposal(index, {}), "completed", reward), 1.0, Path())
        for index, reward in enumerate(rewards)
    ]
    assert best_of(points) is points[2]
    assert best_of(points[1:2]) is None
    assert best_of([points[4], points[1]]) is points[4]
    assert best_of([]) is None


def test_the_best_of_the_longest_rung_are_retrained_and_said_to_be_that(study: Path) -> None:
    assert list(Session(read_study(study), RetrainRequest("", top=1)).warnings()) == []
    pause_all(study, 2)
    session = Session(read_study(study), RetrainRequest("", top=1))
    (warning,) = session.warnings()
    assert warning.endswith(
        "No child was trained to its end: the best are of those paused after 2 epochs."
    )
    assert len(session.children) == 1
