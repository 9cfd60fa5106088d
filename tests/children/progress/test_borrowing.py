"""Beginning a training with weights of other children."""

import zipfile

import pytest
import torch

from nasrunner.core import Proposal, child_folder
from nasrunner.core.records import Source
from tests.children.blobs import make_trainer
from tests.children.progress.lineages import KEEP, begun, checkpoint, going_on
from tests.toys import train_one

SPACE = {
    "concat": [
        {"affine": {"units": {"oneof": [8, 16]}}},
        "batch_norm",
        {"affine": {"units": 5}},
        {"affine": {"units": 3}},
    ]
}
NARROW, WIDE = ({"0/affine/units": option} for option in (0, 1))
FROZEN = ("optimizer.lr=0", "trainer.max_epochs=1")
"""Nothing is learnt: the weights that are kept are the first ones."""


def borrowing(index: int, genotype, *children: int, seed: int = 7, **fields) -> Proposal:
    sources = tuple(Source(child, "weights") for child in children)
    return Proposal(index, genotype, seed=seed, sources=sources, **fields)


def weights(folder, index: int) -> dict[str, torch.Tensor]:
    return checkpoint(folder, index, "best.ckpt")["state_dict"]


def equal(first: dict, second: dict) -> set[str]:
    """The names of what two networks have alike."""
    return {name for name in first if torch.equal(first[name], second[name])}


@pytest.fixture
def study(tmp_path):
    """Two children that were trained, narrow and wide, and the weights of each."""
    trainer = make_trainer(*KEEP, "trainer.max_epochs=2", space=SPACE)
    task = trainer.task(tmp_path, 0)
    for index, genotype in enumerate((NARROW, WIDE)):
        assert train_one(task, Proposal(index, genotype, seed=index)).error is None
    return tmp_path


def unlearnt(study):
    return make_trainer("trainer.checkpoint=best", *FROZEN, space=SPACE).task(study, 0)


def test_what_fits_is_taken_over_and_the_rest_begins_as_ever(study):
    task = unlearnt(study)
    own = train_one(task, borrowing(2, WIDE))
    lent = train_one(task, borrowing(3, WIDE, 0))
    assert (own.error, lent.error, lent.lacks) == (None, None, ())
    narrow, before, after = (weights(study, index) for index in (0, 2, 3))
    fitting = {"3.weight", "3.bias"}
    assert equal(narrow, before) & fitting == set()
    assert equal(narrow, after) >= fitting
    assert equal(before, after) >= {
        "0.weight",
        "0.bias",
        "1.weight",
        "1.bias",
        "2.weight",
        "2.bias",
    }
    parameters = 4 * 16 + 16 + 2 * 16 + 16 * 5 + 5 + 5 * 3 + 3
    assert lent.metrics["inherited_tensors"] == 2
    assert lent.metrics["inherited_share"] == (5 * 3 + 3) / parameters
    assert "inherited_tensors" not in own.metrics


def test_statistics_of_batch_norm_are_taken_over(study):
    train_one(unlearnt(study), borrowing(2, NARROW, 0))
    source, after = weights(study, 0), weights(study, 2)
    assert source["1.num_batches_tracked"] == 12
    assert after["1.num_batches_tracked"] == 12 + 6  # six batches an epoch
    mean = source["1.running_mean"]
    assert (after["1.running_mean"] - mean).norm() < 0.2 * mean.norm()


def test_the_first_source_that_has_a_weight_wins(study):
    task = unlearnt(study)
    train_one(task, borrowing(2, WIDE, 0, 1))
    train_one(task, borrowing(3, WIDE, 1, 0))
    narrow, wide, first, second = (weights(study, index) for index in range(4))
    assert torch.equal(first["3.bias"], narrow["3.bias"])
    assert torch.equal(second["3.bias"], wide["3.bias"])
    assert torch.equal(first["0.weight"], wide["0.weight"])  # the narrow one has none that fits


def cut_off(path):
    path.write_bytes(path.read_bytes()[:-100])


def change_weights(path):
    """Flips the bits of a tensor's bytes, as a failing disk does."""
    with zipfile.ZipFile(path) as archive:
        names = [n for n in archive.namelist() if "/data/" in n]
        name = max(names, key=lambda n: archive.getinfo(n).file_size)
        written = archive.read(name)
    whole = path.read_bytes()
    assert whole.count(written) == 1
    path.write_bytes(whole.replace(written, bytes(255 - each for each in written)))


@pytest.mark.parametrize("damage", [cut_off, change_weights])
def test_sources_whose_weights_are_gone_are_named(study, damage):
    task = unlearnt(study)
    for path in child_folder(study, 0).glob("*.ckpt"):
        path.unlink()
    damage(child_folder(study, 1) / "best.ckpt")
    outcome = train_one(task, borrowing(2, WIDE, 0, 1, 9))
    assert (outcome.error, outcome.lacks) == (None, (0, 9))  # 1 has its last.ckpt
    assert outcome.metrics["inherited_share"] == 1
    log = (child_folder(study, 2) / "log.txt").read_text()
    assert "children/0001/best.ckpt cannot be read" in log
    last = checkpoint(study, 1)["state_dict"]
    assert torch.equal(weights(study, 2)["0.weight"], last["network.0.weight"])


def test_a_lineage_that_is_trained_again_borrows_again(study):
    trainer = make_trainer(*KEEP, "trainer.max_epochs=4", space=SPACE)
    task = trainer.task(study, 0)
    root = borrowing(2, NARROW, 0, until=2)
    train_one(task, root)
    ended = train_one(task, going_on(root))
    (child_folder(study, 2) / "last.ckpt").unlink()
    again = train_one(task, going_on(root))
    assert (again.metrics, again.lacks) == (ended.metrics, (2,))
    fresh = train_one(task, begun(trainer, 4, genotype=NARROW))
    assert fresh.metrics["val_loss"] != ended.metrics["val_loss"]


def test_damaged_weights_and_an_unreadable_architecture_are_said_and_trained_without(study):
    task = unlearnt(study)
    for path in child_folder(study, 0).glob("*.ckpt"):
        path.write_bytes(path.read_bytes()[:100])
    (child_folder(study, 1) / "proposal.json").write_text("{")
    own = train_one(task, borrowing(2, WIDE))
    outcome = train_one(task, borrowing(3, WIDE, 0, 1))
    assert (outcome.error, outcome.lacks) == (None, (0, 1))
    assert (outcome.metrics["inherited_tensors"], outcome.metrics["inherited_share"]) == (0, 0)
    assert outcome.reward == own.reward
    log = (child_folder(study, 3) / "log.txt").read_text()
    assert "children/0000/best.ckpt cannot be read" in log
    assert "the weights of child 0 are gone: none are borrowed" in log
    assert "the weights of child 1 are not borrowed: its architecture is not known" in log


def test_what_was_inherited_is_told_of_a_training_that_went_on(study):
    task = make_trainer(*KEEP, "trainer.max_epochs=4", space=SPACE).task(study, 0)
    root = borrowing(2, WIDE, 0, until=2)
    paused = train_one(task, root)
    ended = train_one(task, going_on(root))
    assert paused.status == "paused"
    assert ended.metrics["inherited_tensors"] == paused.metrics["inherited_tensors"] == 2
    assert ended.metrics["inherited_share"] == paused.metrics["inherited_share"]
