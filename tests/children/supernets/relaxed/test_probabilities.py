"""What stands beside a supernet of all options after each epoch, against its checkpoints."""

import json

import numpy as np
import pytest
import torch

from nasrunner.children.supernets.relaxed.learner import GradientLearner
from nasrunner.core.machine.child_folder import PROBABILITIES, ChildFolder
from tests.children.supernets.relaxed.test_supernet import (
    SUPERNET,
    alphas_of,
    built,
    darts,
    gdas,
    second,
    task_of,
)
from tests.sampling import one_in
from tests.toys import train_one

EVERY_EPOCH = "trainer.checkpoint_every_s=0"
NAMES = ("zero", "empty", "relu → conv2d → batch_norm", "max_pool")


def softmaxes(folder):
    """Softmax of each α in the checkpoint that training goes on from, by decision path."""
    state = torch.load(folder.last, weights_only=True)["state_dict"]
    alphas = {
        name.removeprefix("network.alphas.").replace(":", "."): value.double().numpy()
        for name, value in state.items()
        if name.startswith("network.alphas.")
    }
    powers = {path: np.exp(alpha) for path, alpha in alphas.items()}
    return {path: power / power.sum() for path, power in powers.items()}


def train_until(folder, searcher, monkeypatch, epoch):
    """Trains a supernet until it is killed at the first step of an epoch."""
    step = GradientLearner.before_step

    def interrupted(learner, training, trials):
        if trials.trainer.current_epoch == epoch:
            raise KeyboardInterrupt
        step(learner, training, trials)

    task = task_of(folder, searcher, EVERY_EPOCH)
    with monkeypatch.context() as patched:
        patched.setattr(GradientLearner, "before_step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train_one(task, SUPERNET)


@one_in(3, 0, "searcher", [darts, second, gdas])
def test_each_epoch_is_the_softmax_of_its_checkpoint_and_is_told_once(
    tmp_path, monkeypatch, searcher
):
    train_one(task_of(tmp_path / "whole", searcher), SUPERNET)
    folder = ChildFolder.of(tmp_path / "parts", 0)
    for epoch in range(1, 6):
        train_until(tmp_path / "parts", searcher, monkeypatch, epoch)
        lines = folder.probabilities()
        assert [line["epoch"] for line in lines] == list(range(epoch))
        expected = softmaxes(folder)
        told = lines[-1]["decisions"]
        assert list(told) == [f"1/cell/{edge}/or" for edge in ("0-1", "0-2", "1-2")]
        for path, options in told.items():
            assert tuple(options) == NAMES
            assert list(options.values()) == pytest.approx(expected[path].tolist(), abs=1e-6)
            assert sum(options.values()) == pytest.approx(1.0, abs=1e-5)
    outcome = train_one(task_of(tmp_path / "parts", searcher, EVERY_EPOCH), SUPERNET)
    assert outcome.status == "completed"
    whole = ChildFolder.of(tmp_path / "whole", 0)
    assert len(whole.probabilities()) == 6
    assert folder.text(PROBABILITIES) == whole.text(PROBABILITIES)
    first, last = (whole.probabilities()[place]["decisions"] for place in (0, -1))
    assert first != last


@pytest.mark.slow
def test_what_was_written_after_the_checkpoint_is_written_anew(tmp_path, monkeypatch):
    """As where a kill comes between a line and the checkpoint of its epoch."""
    train_one(task_of(tmp_path / "whole"), SUPERNET)
    train_until(tmp_path / "parts", darts, monkeypatch, 3)
    folder = ChildFolder.of(tmp_path / "parts", 0)
    with folder.file(PROBABILITIES).open("a") as file:
        file.write(json.dumps({"epoch": 3, "decisions": {}}) + "\n" + '{"epoch": 4, "dec')
    train_one(task_of(tmp_path / "parts", darts, EVERY_EPOCH), SUPERNET)
    whole = ChildFolder.of(tmp_path / "whole", 0)
    assert folder.text(PROBABILITIES) == whole.text(PROBABILITIES)


def test_the_highest_number_is_the_likeliest_option_by_its_name():
    network = built()
    alphas_of(network, edge_01=[0.0, 0, 3, 0], edge_02=[0.0, 5, 0, 0], edge_12=[0.0, 0, 0, 4])
    told = network.learner.probabilities()
    likeliest = [max(options, key=options.get) for options in told.values()]
    assert likeliest == [NAMES[2], "empty", "max_pool"]
