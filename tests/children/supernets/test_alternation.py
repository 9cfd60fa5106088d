"""Weights learn from training batches, and the architecture from validation batches, by turns."""

import dataclasses
import inspect
import json
from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch
from torch import nn
from torch.nn import functional

from nasrunner.children.fit.loading import LoadedData
from nasrunner.children.supernets.validation_batches import ValidationBatches, shuffled_validation
from nasrunner.core import DataError
from nasrunner.core.machine.child_folder import DERIVED, PROBABILITIES, ChildFolder
from nasrunner.data.tokens import StreamLoader
from tests.children.blobs import BLOBS, OWN, Blobs, LoaderBlobs, train
from tests.children.supernets.relaxed.test_supernet import task_of as relaxed_task
from tests.children.supernets.test_enas import task_of as enas_task
from tests.children.supernets.test_supernet import SUPERNET
from tests.sampling import one_in
from tests.toys import train_one

MIXTURE = {"_target_": f"{__name__}.Mixture"}
LOADER = {**OWN, "_target_": "tests.children.blobs.LoaderBlobs"}


class AlphasLearner:
    """Descends the loss of a validation batch before each step, and looks at one after an epoch."""

    def __init__(self, mixture):
        self.mixture = mixture
        self.seen = []

    def parameters(self):
        return [self.mixture.alphas]

    def before_step(self, training, trials):
        batch = next(trials.validation)
        (gradient,) = torch.autograd.grad(trials.loss(batch), [self.mixture.alphas])
        with torch.no_grad():
            self.mixture.alphas -= self.mixture.rate * gradient
        self.seen.append((training[1].tolist(), batch[1].tolist()))

    def after_epoch(self, trials):
        largest = float(self.mixture.alphas.softmax(0).max())
        return {"largest_alpha": largest, "alphas_reward": trials.reward(next(trials.validation))}

    def probabilities(self):
        first, second = self.mixture.alphas.softmax(0).tolist()
        return {"layer": {"first": first, "second": second}}

    def is_done(self):
        return False

    def likeliest(self):
        return {}

    def found(self):
        return []


class Mixture(nn.Module):
    """A layer that mixes two, with weights that a learner of its own learns."""

    rate, dropout = 0.5, 0.3
    made: ClassVar[list["Mixture"]] = []

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 3), nn.Linear(4, 3, bias=False)
        self.alphas = nn.Parameter(torch.zeros(2))
        self.learner = AlphasLearner(self)
        self.made.append(self)

    def forward(self, x):
        shares = self.alphas.softmax(0)
        y = shares[0] * self.first(x) + shares[1] * self.second(x)
        return functional.dropout(y, self.dropout, self.training)


@pytest.fixture(autouse=True)
def made():
    """The mixtures that a test has made, the one that was trained last."""
    Mixture.made.clear()
    return Mixture.made


def trained(folder, *overrides, data=BLOBS, **arguments):
    last = "trainer.checkpoint=all"
    outcome = train(folder, last, *overrides, space=MIXTURE, data=data, **arguments)
    assert outcome.error is None
    path = ChildFolder.of(folder, 0).path / "last.ckpt"
    return outcome, torch.load(path, weights_only=True)


def assert_equal(first, second):
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_fast_loop_alternates_as_lightnings_own_does(tmp_path, made):
    found = {}
    for is_fast in (True, False):
        folder = tmp_path / str(is_fast)
        _, checkpoint = trained(folder, f"trainer.fast_loop={str(is_fast).lower()}")
        found[is_fast] = checkpoint["state_dict"], made[-1].learner.seen
    assert_equal(found[True][0], found[False][0])
    assert found[True][1] == found[False][1]
    assert len(found[True][1]) == 18  # three epochs of 90 examples, 16 at a time


def test_the_line_of_an_epoch_and_a_file_say_what_was_learnt(tmp_path):
    outcome, _ = trained(tmp_path, "trainer.max_epochs=4")
    folder = ChildFolder.of(tmp_path, 0)
    shares = [line["largest_alpha"] for line in folder.curves()]
    assert len(shares) == 4
    assert all(0.5 < share < 1 for share in shares)
    assert {0 <= line["alphas_reward"] <= 1 for line in folder.curves()} == {True}
    assert outcome.metrics["largest_alpha"] in shares
    lines = [json.loads(line) for line in folder.text(DERIVED).splitlines()]
    assert [line["epoch"] for line in lines] == [0, 1, 2, 3]
    assert {line["text"] for line in lines} == {"Mixture"}
    told = folder.probabilities()
    assert [line["epoch"] for line in told] == [0, 1, 2, 3]
    largest = [max(line["decisions"]["layer"].values()) for line in told]
    assert largest == pytest.approx(shares, abs=1e-6)


@pytest.mark.parametrize(("num_decisions", "num_kept"), [(333, 333), (1000, 333)])
def test_of_very_many_decisions_the_first_are_recorded(
    tmp_path, monkeypatch, num_decisions, num_kept
):
    options = {"a": 0.123456789, "b": 0.2, "c": 0.676543211}
    many = {f"{place}/or": options for place in range(num_decisions)}
    monkeypatch.setattr(AlphasLearner, "probabilities", lambda self: many)
    trained(tmp_path, "trainer.max_epochs=1")
    (line,) = ChildFolder.of(tmp_path, 0).probabilities()
    assert list(line["decisions"]) == [f"{place}/or" for place in range(num_kept)]
    assert line["decisions"]["0/or"] == {"a": 0.123457, "b": 0.2, "c": 0.676543}
    assert line.get("left_out", 0) == num_decisions - num_kept


def test_a_learner_without_probabilities_has_no_file_of_them(tmp_path, monkeypatch):
    monkeypatch.setattr(AlphasLearner, "probabilities", lambda self: {})
    trained(tmp_path, "trainer.max_epochs=1")
    assert not ChildFolder.of(tmp_path, 0).holds(PROBABILITIES)
    assert ChildFolder.of(tmp_path, 0).probabilities() == []


def test_the_optimizer_of_the_weights_leaves_the_architecture_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(Mixture, "rate", 0.0)
    _, checkpoint = trained(tmp_path, "optimizer.weight_decay=0.1")
    assert checkpoint["state_dict"]["network.alphas"].tolist() == [0.0, 0.0]
    (group,) = checkpoint["optimizer_states"][0]["param_groups"]
    assert len(group["params"]) == 3


def test_validation_batches_change_no_training_batch(tmp_path, monkeypatch, made):
    monkeypatch.setattr(Mixture, "dropout", 0.0)
    trained(tmp_path / "by turns")
    seen = [training for training, _ in made[-1].learner.seen]

    def blind(self, training, trials):
        self.seen.append(training[1].tolist())

    monkeypatch.setattr(AlphasLearner, "before_step", blind)
    monkeypatch.setattr(AlphasLearner, "after_epoch", lambda self, trials: {})
    trained(tmp_path / "alone")
    assert made[-1].learner.seen == seen


@one_in(3, 1, "data", [BLOBS, OWN, LOADER])
@pytest.mark.parametrize("is_fast", [True, False])
def test_what_is_interrupted_goes_on_to_the_bit(tmp_path, monkeypatch, data, is_fast):
    loop = f"trainer.fast_loop={str(is_fast).lower()}"
    _, whole = trained(tmp_path / "whole", loop, "trainer.max_epochs=5", data=data)
    learn, left = AlphasLearner.before_step, iter(range(20))  # of 6 steps an epoch

    def interrupted(self, training, trials):
        if next(left, None) is None:
            raise KeyboardInterrupt
        learn(self, training, trials)

    arguments = (loop, "trainer.checkpoint_every_s=0", "trainer.max_epochs=5")
    monkeypatch.setattr(AlphasLearner, "before_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "parts", *arguments, data=data)
    monkeypatch.undo()
    folders = [ChildFolder.of(tmp_path / each, 0) for each in ("whole", "parts")]
    assert len(folders[1].text(DERIVED).splitlines()) == 3
    _, parts = trained(tmp_path / "parts", *arguments, data=data)
    assert_equal(whole["state_dict"], parts["state_dict"])
    for name in (DERIVED, PROBABILITIES):
        assert folders[0].text(name) == folders[1].text(name)
    assert whole["callbacks"]["Alternation"] == parts["callbacks"]["Alternation"]
    assert whole["callbacks"]["Alternation"]["batches"]["passes"] > 10


def test_one_turn_comes_before_a_step_of_several_batches(tmp_path, made):
    arguments = ("trainer.accumulate_grad_batches=4", "trainer.gradient_clip_val=0.1")
    trained(tmp_path, *arguments, "trainer.limit_train_batches=5")
    assert len(made[-1].learner.seen) == 6  # a step of four batches and one of one, three times


def test_the_architecture_learns_with_the_precision_of_the_weights(tmp_path, made):
    outcome, checkpoint = trained(tmp_path, "trainer.precision=bf16-mixed")
    assert checkpoint["state_dict"]["network.alphas"].dtype == torch.float32
    assert outcome.metrics["largest_alpha"] > 0.5


def test_training_examples_are_not_taken_for_those_of_validation(tmp_path):
    overfit = "trainer.overfit_batches=2"
    outcome = train(tmp_path, overfit, space=MIXTURE, is_rehearsed=False)
    assert outcome.status == "failed"
    assert "trainer.overfit_batches=2 puts training examples in the place of" in outcome.error


def blobs(kind, **changes):
    names = ("_target_", "is_regression")
    settings = {name: value for name, value in OWN.items() if name not in names}
    return kind(**settings, is_regression=False, **changes)


def loaded():
    data = Blobs(**{k: v for k, v in BLOBS.items() if k != "_target_"})
    data.setup("fit")
    return data


def endless(data, seed=0, augmented=False):
    def one_pass():
        return iter(shuffled_validation(data, augmented=augmented))

    return ValidationBatches(one_pass, seed, torch.device("cpu"))


def test_data_that_do_not_know_what_is_augmented_say_which_batches_there_are():
    class Plain(Blobs):
        def shuffled_validation(self):
            return [self.validation]

        validation = object()

    data = Plain(**{k: v for k, v in BLOBS.items() if k != "_target_"})
    assert shuffled_validation(data, augmented=True) == [Plain.validation]


@pytest.mark.parametrize("kind", ["own", "DataLoader"])
def test_each_pass_has_every_example_once_in_an_order_of_its_own(kind):
    if kind == "own":
        data, sizes = loaded(), [16, 16]
    else:
        data, sizes = blobs(LoaderBlobs), [30, 15]
        data.setup("fit")
    batches = endless(data)
    passes = [[next(batches) for _ in sizes] for _ in range(3)]
    assert [[len(y) for _, y in each] for each in passes] == [sizes] * 3
    rows = [torch.cat([x for x, _ in each])[:, 0].tolist() for each in passes]
    assert len({tuple(each) for each in rows}) == 3
    assert all(len(set(each)) == sum(sizes) for each in rows)
    other = endless(data, seed=1)
    assert next(other)[0].tolist() != passes[0][0][0].tolist()


@pytest.mark.parametrize(("kind", "sizes"), [("own", [8, 8]), ("DataLoader", [23])])
def test_two_ranks_have_their_parts_of_a_pass(kind, sizes):
    passes = []
    for rank in range(2):
        data = loaded() if kind == "own" else blobs(LoaderBlobs)
        if kind == "DataLoader":
            data.setup("fit")
        alike = SimpleNamespace(broadcast=lambda order: order)  # they have the same seeds
        data.trainer = SimpleNamespace(world_size=2, global_rank=rank, strategy=alike)
        batches = endless(data)
        passes.append([next(batches) for _ in sizes])
    assert [[len(y) for _, y, *_ in each] for each in passes] == [sizes] * 2
    rows = [{float(value) for x, *_ in each for value in x[:, 0]} for each in passes]
    if kind == "own":
        assert {third for each in passes for *_, third in each} == {16}  # of both ranks
        assert len(rows[0] | rows[1]) == 32
    else:  # one of 45 stands in both parts
        assert len(rows[0] | rows[1]) == 45


def test_batches_go_on_from_where_they_were_and_move_no_global_generator():
    batches = endless(loaded())
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    for _ in range(5):
        next(batches)
    state = batches.state_dict()
    assert torch.equal(torch.rand(3), expected)
    again = endless(loaded())
    again.load_state_dict(state)
    for _ in range(4):
        assert torch.equal(next(again)[0], next(batches)[0])


@pytest.mark.parametrize("fails", [False, True])
def test_no_pass_is_left_open_when_training_ends(tmp_path, monkeypatch, fails):
    opened, begin = [], LoadedData.validation_pass

    def watched(self, trainer, *, augmented):
        opened.append(begin(self, trainer, augmented=augmented))
        return opened[-1]

    def breaks(self, trials):
        raise RuntimeError("the learner broke")

    monkeypatch.setattr(LoadedData, "validation_pass", watched)
    if fails:
        monkeypatch.setattr(AlphasLearner, "after_epoch", breaks)
    outcome = train(tmp_path, "trainer.max_epochs=1", space=MIXTURE)
    assert outcome.status == ("failed" if fails else "completed")
    assert len(opened) >= 3
    assert {inspect.getgeneratorstate(each) for each in opened} == {inspect.GEN_CLOSED}


class Negated(Blobs):
    """The clouds, whose training examples are mirrored at the origin."""

    def augmentation(self):
        return torch.neg


@pytest.mark.parametrize("augmented", [False, True])
def test_batches_are_augmented_as_those_of_training_where_asked(augmented):
    data = Negated(**{k: v for k, v in BLOBS.items() if k != "_target_"})
    data.setup("fit")
    batches, plain = endless(data, augmented=augmented), endless(data)
    for _ in range(4):
        x, y = next(batches)
        plain_x, plain_y = next(plain)
        assert torch.equal(x, -plain_x if augmented else plain_x)
        assert torch.equal(y, plain_y)


def test_a_limit_of_validation_batches_is_not_one_of_what_the_architecture_learns_from(
    tmp_path, monkeypatch, made
):
    def look(self, training, trials):
        self.seen += next(trials.validation)[0][:, 0].tolist()

    monkeypatch.setattr(AlphasLearner, "before_step", look)
    trained(tmp_path, "trainer.limit_val_batches=1")
    assert len(set(made[-1].learner.seen)) == 45  # a validation has 30 of them


@pytest.mark.parametrize(("task", "is_augmented"), [(relaxed_task, True), (enas_task, False)])
def test_what_gradients_are_of_is_augmented_and_what_rewards_are_of_is_not(
    tmp_path, monkeypatch, task, is_augmented
):
    begin, found = LoadedData.validation_pass, []

    def look(self, trainer, *, augmented):
        found.append(augmented)
        return begin(self, trainer, augmented=augmented)

    monkeypatch.setattr(LoadedData, "validation_pass", look)
    given = task(tmp_path)
    settings = {**given.config, "trainer": {**given.config["trainer"], "max_epochs": 1}}
    outcome = train_one(dataclasses.replace(given, config=settings), SUPERNET)
    assert outcome.error is None
    assert set(found) == {is_augmented}


class Learner(nn.Module):
    """A user's module that has a part by the name of a learner."""

    def __init__(self):
        super().__init__()
        self.learner = nn.Linear(4, 3)

    def forward(self, x):
        return self.learner(x)


def test_a_part_of_a_users_module_is_no_learner(tmp_path):
    outcome = train(tmp_path, space={"_target_": f"{__name__}.Learner"})
    assert outcome.error is None
    assert not ChildFolder.of(tmp_path, 0).holds(DERIVED)


def test_a_short_validation_part_is_one_batch():
    data = Blobs(**{k: v for k, v in BLOBS.items() if k != "_target_"} | {"batch_size": 64})
    data.setup("fit")
    assert {len(next(endless(data))[1]) for _ in range(3)} == {45}


def test_data_without_validation_examples_are_refused():
    class Empty:
        def __iter__(self):
            return iter(())

    batches = ValidationBatches(lambda: iter(Empty()), 0, torch.device("cpu"))
    with pytest.raises(DataError, match="the validation part has none"):
        next(batches)


def test_windows_of_a_text_are_shuffled_and_whole():
    tokens = torch.arange(2 * 11 + 1)
    loader = StreamLoader(tokens, 2, 3, is_shuffled=True)
    torch.manual_seed(0)
    passes = [list(loader) for _ in range(4)]
    assert {len(each) for each in passes} == {len(loader)} == {3}
    assert {x.shape for each in passes for x, _ in each} == {(2, 3)}
    orders = [tuple(int(x[0, 0]) for x, _ in each) for each in passes]
    assert len(set(orders)) > 1
    assert {tuple(sorted(each)) for each in orders} == {(0, 3, 6)}
    assert all(torch.equal(x + 1, y) for each in passes for x, y in each)
