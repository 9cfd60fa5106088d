"""Children that are scored instead of trained, and estimates beside trained ones."""

import contextlib
import json

import pytest
import pytorch_lightning as pl
import torch
from torch.nn import functional

from nasrunner.children.proxies.scores import scores
from nasrunner.compose.construct import construct
from nasrunner.compose.launch import in_shape_of
from nasrunner.core import ConfigError, DataError, Proposal, Source, StudyInfo, child_folder
from nasrunner.executors.local import LocalExecutor
from nasrunner.executors.serial import SerialExecutor
from nasrunner.searchers.sampling.random import RandomSearch
from nasrunner.searchers.wrappers.filter import Filter
from nasrunner.study.ledger import Ledger
from nasrunner.study.loop import Study
from tests.children.blobs import BLOBS, GROUPS, IMAGES, OWN, Batches, configured, drawing
from tests.children.blobs import make_trainer as make_lightning
from tests.study.test_loop import Crash, events
from tests.toys import RULES, train_one

MLP = {"concat": [{"affine": {"units": {"oneof": [80, 90]}}}, "relu", {"affine": {"units": 3}}]}
TANH = {"concat": [{"affine": {"units": 8}}, "tanh", {"affine": {"units": 3}}]}
EITHER = {"concat": [{"affine": {"units": 80}}, {"or": ["tanh", "relu"]}, {"affine": {"units": 3}}]}
WIDTHS = {
    "concat": [
        {"affine": {"units": {"oneof": [4, 8, 12, 16, 20, 24]}}},
        "relu",
        {"affine": {"units": {"oneof": [4, 6, 8, 10]}}},
        "relu",
        {"affine": {"units": 3}},
    ]
}


def made(*overrides, is_rehearsed=True, space=MLP, **groups):
    """A trainer that scores, on one CPU."""
    given = ("trainer.accelerator=cpu", *overrides)
    space, config = configured(*given, trainer="zero_cost", space=space, **groups)
    trainer = construct(
        config["trainer"],
        "trainer",
        space=space,
        config={group: config[group] for group in GROUPS},
        in_shape=in_shape_of(config["data"]),
        construct=construct,
        draw=drawing,
    )
    if is_rehearsed:
        trainer.rehearsal()()
    return trainer


def proposed(trainer, option=0, **fields):
    genotype = trainer.space.walk(lambda decision: option)
    return Proposal(0, genotype, **{"seed": 7, **fields})


def outcome_of(folder, *overrides, option=0, kind="train", **groups):
    trainer = made(*overrides, **groups)
    return train_one(trainer.task(folder, 0), proposed(trainer, option, kind=kind))


def by_hand(space, names, batch_size=16, data=BLOBS):
    """The scores of the first child on the first batch, put together with torch and Lightning."""
    space, config = configured(space=space, data={**data, "batch_size": batch_size})
    pl.seed_everything(0, workers=True, verbose=False)
    module = construct(config["data"], "data")
    module.setup("fit")
    x, target = next(iter(module.train_dataloader()))
    assert len(x) == batch_size
    pl.seed_everything(7, workers=True, verbose=False)
    network, _ = space.freeze(space.walk(lambda decision: 0)).build(tuple(data["in_shape"]))
    return scores(network, x, lambda p: functional.cross_entropy(p, target), names).values


FEW = {**OWN, "_target_": "tests.children.proxies.test_zero_cost.Stubborn"}
NO_BATCH = {**OWN, "_target_": "tests.children.proxies.test_zero_cost.Empty"}
ALL = ["grad_norm", "snip", "grasp", "fisher", "synflow", "jacob_cov", "naswot"]
NAMED = f"trainer.proxies=[{','.join(ALL)}]"


def test_a_child_is_scored_with_its_first_weights_on_the_first_batch(tmp_path):
    outcome = outcome_of(tmp_path, NAMED, "trainer.proxy=snip")
    expected = by_hand(MLP, ALL)
    assert outcome.status == "completed"
    assert outcome.metrics == pytest.approx(expected, rel=1e-6)
    assert next(iter(outcome.metrics)) == "snip"
    assert outcome.reward == outcome.metrics["snip"]
    assert outcome.curve == {}
    folder = child_folder(tmp_path, 0)
    assert sorted(path.name for path in folder.iterdir()) == ["outcome.json", "proposal.json"]
    assert json.loads((folder / "outcome.json").read_text())["reward"] == outcome.reward


def test_so_many_examples_are_scored_as_the_trainer_says(tmp_path):
    outcome = outcome_of(tmp_path, NAMED, "trainer.batch_size=40")
    assert outcome.metrics == pytest.approx(by_hand(MLP, ALL, batch_size=40), rel=1e-6)


def test_an_estimate_scores_the_weights_that_training_begins_with(tmp_path):
    given = ("trainer.proxies=[synflow,parameters,grad_norm]",)
    given += ("optimizer.lr=0", "trainer.max_epochs=1", "trainer.checkpoint=last")
    trainer = make_lightning(*given, space=MLP)
    task = trainer.task(tmp_path / "own", 0)
    trained = train_one(task, proposed(trainer))
    state = torch.load(child_folder(tmp_path / "own", 0) / "last.ckpt", weights_only=False)
    network, _ = trainer.space.freeze(proposed(trainer).genotype).build((4,))
    prefix = "network."
    weights = {n.removeprefix(prefix): v for n, v in state["state_dict"].items() if prefix in n}
    network.load_state_dict(weights)
    (estimate,) = trainer.task(tmp_path / "other", 0)([proposed(trainer, kind="estimate")])
    found = scores(network, torch.zeros(2, 4), torch.sum, ["synflow", "parameters"]).values
    assert estimate.reward == found["synflow"]
    assert estimate.metrics["parameters"] == found["parameters"]
    assert trained.status == estimate.status == "completed"
    scored = outcome_of(tmp_path / "zero", "trainer.proxies=[grad_norm]")
    assert scored.metrics["grad_norm"] == estimate.metrics["grad_norm"]


def test_all_children_are_scored_on_one_batch_that_is_loaded_once(tmp_path, monkeypatch):
    from nasrunner.children.proxies import scoring

    loaded = []
    load = scoring.first_batch
    monkeypatch.setattr(scoring, "first_batch", lambda *a: loaded.append(load(*a)) or loaded[-1])
    trainer = made(space=WIDTHS)
    rows = [trainer.space.walk(lambda decision, i=i: i) for i in range(4)]
    proposals = [Proposal(i, row, kind="estimate", seed=i) for i, row in enumerate(rows)]
    outcomes = list(trainer.task(tmp_path, 0)(proposals))
    assert len(loaded) == 1
    assert [each.status for each in outcomes] == ["completed"] * 4
    alone = [next(iter(trainer.task(tmp_path, 0)([each]))) for each in proposals]
    assert [each.metrics for each in alone] == [each.metrics for each in outcomes]


def test_searched_data_are_scored_on_their_own_batches(tmp_path):
    space = {**MLP, "hyperparameters": {"data.batch_size": {"oneof": [16, 40]}}}
    for option, size in enumerate((16, 40)):
        trainer = made("trainer.proxy=snip", space=space)
        choose = lambda d, o=option: o if "batch_size" in d.path else 0  # noqa: E731
        proposal = Proposal(0, trainer.space.walk(choose), seed=7)
        outcome = train_one(trainer.task(tmp_path, 0), proposal)
        assert outcome.reward == pytest.approx(by_hand(MLP, ["snip"], size)["snip"], rel=1e-6)


def test_a_network_without_a_score_is_a_failed_child_that_says_so(tmp_path):
    failed = outcome_of(tmp_path, "trainer.proxy=naswot", "trainer.proxies=[snip]", space=EITHER)
    assert (failed.status, failed.reward) == ("failed", None)
    assert failed.error.splitlines()[-1].endswith(
        "naswot compares which rectifiers are switched on; legal are networks with layers of ReLU, "
        "ReLU6, LeakyReLU, PReLU, and this one has none"
    )
    done = outcome_of(
        tmp_path, "trainer.proxy=naswot", "trainer.proxies=[snip]", space=EITHER, option=1
    )
    assert set(done.metrics) == {"naswot", "snip"}


def test_a_proxy_beside_the_reward_that_says_nothing_is_told_in_the_childs_log(tmp_path):
    done = outcome_of(tmp_path, "trainer.proxy=snip", "trainer.proxies=[naswot]", space=EITHER)
    assert done.status == "completed"
    assert set(done.metrics) == {"snip"}
    log = (child_folder(tmp_path, 0) / "log.txt").read_text()
    assert "naswot compares which rectifiers are switched on" in log


@pytest.mark.parametrize(
    ("overrides", "groups", "error", "message"),
    [
        (["trainer.proxy=synflw"], {}, ConfigError, r"trainer\.proxy must be one of parameters, f"),
        (["trainer.proxies=[snip,1]"], {}, ConfigError, r"trainer\.proxies must be list of one of"),
        (["trainer.proxies=snip"], {}, ConfigError, r"trainer\.proxies must be list of one of"),
        (["trainer.batch_size=0"], {}, ConfigError, r"trainer\.batch_size must be int >= 1 or nul"),
        (["trainer.num_at_once=0"], {}, ConfigError, r"trainer\.num_at_once must be int >= 1, go"),
        (["trainer.accelerator=gpus"], {}, ConfigError, r"^trainer: .*gpus"),
        (
            ["trainer.max_epochs=3"],
            {},
            ConfigError,
            r"trainer.max_epochs: ZeroCostTrainer takes",
        ),
        (
            ["trainer.batch_size=1000"],
            {},
            ConfigError,
            r"^trainer\.batch_size=1000 takes the place of data\.batch_size: data\.batch_size must",
        ),
        (
            ["trainer.proxies=[naswot]"],
            {"space": TANH},
            ConfigError,
            "trainer: naswot says nothing of the network that was tried: naswot compares which",
        ),
        (["data.path=nowhere"], {}, DataError, "nowhere is missing"),
        ([], {"data": NO_BATCH}, DataError, "data: Empty has no training batch"),
        (
            ["trainer.batch_size=64"],
            {"data": FEW},
            ConfigError,
            r"trainer\.batch_size=64 is not what Stubborn gives, whose first batch has 6 examples;",
        ),
        (["task.metrics.accuracy.task=no"], {}, ConfigError, "task"),
    ],
)
def test_what_no_child_could_be_scored_with_is_refused_in_a_sentence(
    overrides, groups, error, message
):
    with pytest.raises(error, match=message) as refused:
        made(*overrides, **groups)
    assert "\n" not in str(refused.value)


def test_data_without_a_batch_size_of_their_own_are_refused_another(tmp_path):
    own = {**OWN, "_target_": "tests.children.proxies.test_zero_cost.Fixed"}
    del own["batch_size"]
    assert outcome_of(tmp_path, data=own).status == "completed"
    with pytest.raises(ConfigError, match=r"takes the place of data\.batch_size, which tests"):
        made("trainer.batch_size=8", data=own)


class Stubborn(pl.LightningDataModule):
    """Batches of six, whatever it is told."""

    def __init__(self, **arguments):
        super().__init__()

    def train_dataloader(self):
        x = torch.randn(12, 4, generator=torch.Generator().manual_seed(0))
        return Batches(x, torch.arange(12) % 3, 6, is_shuffled=False)


class Nothing:
    """A loader without a batch."""

    def __len__(self):
        return 0

    def __iter__(self):
        return iter(())


class Empty(Stubborn):
    """Data without examples."""

    def train_dataloader(self):
        return Nothing()


class Fixed(Stubborn):
    """The same, and no argument that says otherwise."""

    def __init__(self, in_shape, num_outputs, is_regression):
        super().__init__()


def test_hyperparameters_that_change_no_score_are_told():
    space = {
        **MLP,
        "hyperparameters": {
            "optimizer.lr": {"oneof": [0.1, 0.2]},
            "data.batch_size": {"oneof": [16, 32]},
        },
    }
    assert made(space=space, is_rehearsed=False).rehearsal()() == [
        "optimizer.lr changes no score: zero-cost proxies look at networks before training"
    ]
    assert made(space=MLP, is_rehearsed=False).rehearsal()() == []


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "supernet"},
        {"until": 2},
        {"sources": (Source(0, "weights"),)},
        {"fidelity": {"data.batch_size": 8}},
    ],
)
def test_what_cannot_be_scored_is_refused_in_a_sentence(fields):
    trainer = made(is_rehearsed=False)
    with pytest.raises(ConfigError, match="legal are proposals of kind=train and kind=estimate"):
        trainer.check(proposed(trainer, **fields))


def test_lightnings_estimates_are_asked_for_and_looked_at_before_the_first():
    trainer = make_lightning(is_rehearsed=False)
    message = r"makes no kind=estimate; legal: train, or estimate with trainer.proxies=\[synflow\]"
    with pytest.raises(ConfigError, match=message):
        trainer.check(proposed(trainer, kind="estimate"))
    trainer = make_lightning("trainer.proxies=[snip,naswot]", is_rehearsed=False)
    trainer.check(proposed(trainer, kind="estimate"))
    assert trainer.estimates == ("snip", "naswot")
    assert trainer.num_at_once("estimate") == 100
    with pytest.raises(ConfigError, match="neither paused nor begun with others"):
        trainer.check(proposed(trainer, kind="estimate", until=1))
    with pytest.raises(ConfigError, match=r"trainer\.proxies must be list of one of parameters"):
        make_lightning("trainer.proxies=[speed]", is_rehearsed=False)
    with pytest.raises(ConfigError, match="naswot says nothing of the network that was tried"):
        make_lightning("trainer.proxies=[snip,naswot]", space=TANH)


def test_estimates_do_not_change_what_children_are_trained_by():
    plain, estimating = make_lightning(), make_lightning("trainer.proxies=[snip]")
    assert estimating.config == plain.config


def test_images_are_scored_with_batch_normalization_as_configured(tmp_path):
    layers = [{"conv2d": {"filters": 4, "kernel_size": 3}}, "batch_norm", "relu"]
    space = {"concat": [*layers, "flatten", {"affine": {"units": 3}}]}
    given = ("trainer.proxies=[grad_norm]", "trainer.max_epochs=1")
    found = []
    for epsilon in ("null", "2.5"):
        trainer = make_lightning(
            *given, f"trainer.batch_norm_epsilon={epsilon}", space=space, data=IMAGES
        )
        task = trainer.task(tmp_path, 0)
        found.append(train_one(task, proposed(trainer, kind="estimate")).reward)
    expected = by_hand(space, ["grad_norm"], data=IMAGES)["grad_norm"]
    assert found[0] == pytest.approx(expected, rel=1e-5)
    assert found[1] != pytest.approx(expected, rel=1e-2)


def study(folder, executor, searcher, trainer, max_children=6):
    """One session of a study."""
    ledger = Ledger(folder / "ledger.jsonl")
    return Study(
        space=trainer.space,
        searcher=searcher(space=trainer.space, seed=3),
        trainer=trainer,
        executor=executor,
        trackers=[],
        ledger=ledger,
        rules=RULES.__class__(**{**vars(RULES), "max_children": max_children}),
        info=StudyInfo("proxies", folder, {}, max_children),
    )


def filtered(**arguments):
    return Filter(
        searcher=RandomSearch,
        num_estimates=8,
        num_trained=2,
        proxy=None,
        surrogate=None,
        **arguments,
    )


def run(folder, executor, searcher, trainer, dies_after=None):
    folder.mkdir(exist_ok=True)
    session = study(folder, executor, searcher, trainer)
    append, left = session.ledger.append, iter(range(dies_after or 10**9))

    def dies(*arguments, **more):
        append(*arguments, **more)
        if next(left, None) is None:
            raise Crash

    session.ledger.append = dies
    with contextlib.closing(executor), contextlib.suppress(Crash), session.ledger:
        return session.run()


def told(folder):
    """Each outcome without what it took."""
    left_out = ("cost_s",)
    found = sorted(events(folder, "outcome"), key=lambda event: event["index"])
    return [{k: v for k, v in event.items() if k not in left_out} for event in found]


TRAINERS = {
    "zero_cost": lambda: made("trainer.proxies=[snip]", space=WIDTHS),
    "lightning": lambda: make_lightning(
        "trainer.proxies=[synflow,snip]", "trainer.max_epochs=2", space=WIDTHS
    ),
}


@pytest.mark.parametrize("name", TRAINERS)
@pytest.mark.parametrize("searcher", [RandomSearch, filtered])
@pytest.mark.slow
def test_a_killed_study_goes_on_as_if_nothing_had_happened(tmp_path, name, searcher):
    if (name, searcher) == ("lightning", RandomSearch):
        pytest.skip("nothing is scored in it")
    trainer = TRAINERS[name]()
    summary = run(tmp_path / "whole", SerialExecutor(threads=1), searcher, trainer)
    is_filtered = searcher is filtered
    assert summary.counts["completed"] + summary.counts.get("reused", 0) == 6
    assert summary.counts.get("estimates", 0) == 24 * is_filtered
    for dies_after in (5, 12, 29):
        folder = tmp_path / f"{dies_after}"
        run(folder, SerialExecutor(threads=1), searcher, trainer, dies_after)
        run(folder, SerialExecutor(threads=1), searcher, trainer)
        assert events(folder, "proposed") == events(tmp_path / "whole", "proposed")
        assert told(folder) == told(tmp_path / "whole")


@pytest.mark.slow
def test_children_are_scored_by_workers_as_in_one_process(tmp_path):
    trainer = TRAINERS["zero_cost"]()
    run(tmp_path / "one", SerialExecutor(threads=1), RandomSearch, trainer)
    workers = LocalExecutor(2, 1, None, 0, [], None, 1, ["pytorch_lightning"])
    run(tmp_path / "two", workers, RandomSearch, trainer)
    assert told(tmp_path / "two") == told(tmp_path / "one")
    assert isinstance(told(tmp_path / "one")[0]["reward"], float)
