"""Children that are killed between the end of their training and that of their process."""

import pytest

from nasrunner.children.files import ChildFiles
from nasrunner.compose.config import keeping_from
from nasrunner.core import child_folder
from nasrunner.core.machine.child_folder import ChildFolder
from tests.children.blobs import Killed, make_trainer
from tests.children.progress.lineages import assert_equal, begun, checkpoint
from tests.toys import train_one

EVERY_EPOCH = ("trainer.checkpoint_every_s=0", "trainer.max_epochs=4")


def killed(trainer, folder, proposal, monkeypatch, *, is_written):
    """Trains a child whose process dies just before or after its outcome is written."""
    write = ChildFiles.write_outcome

    def dies(files, outcome):
        if is_written:
            write(files, outcome)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(ChildFiles, "write_outcome", dies)
        with pytest.raises(Killed):
            train_one(trainer.task(folder, 0), proposal)


def keeping(trainer, folder):
    """What a study of this trainer keeps of its children."""
    config = {"keep_weights": "all", "pack_children_above": None, "trainer": trainer}
    return keeping_from(config, folder)


def times(folder):
    return [line["time"] for line in ChildFolder.of(folder, 0).curves() if "train_loss" in line]


def test_a_child_that_is_killed_after_its_pause_has_the_same_outcome(tmp_path, monkeypatch):
    trainer = make_trainer(*EVERY_EPOCH)
    proposal = begun(trainer, until=2)
    whole = train_one(trainer.task(tmp_path / "whole", 0), proposal)
    killed(trainer, tmp_path / "killed", proposal, monkeypatch, is_written=False)
    before = times(tmp_path / "killed")
    again = train_one(trainer.task(tmp_path / "killed", 0), proposal)
    assert (again.status, again.reward, again.metrics) == ("paused", whole.reward, whole.metrics)
    assert "val_targets" in again.metrics
    assert times(tmp_path / "killed") == before  # nothing was trained


@pytest.mark.parametrize("keep", ["best", "last", "all", "none"])
def test_a_child_that_is_killed_before_its_outcome_trains_one_epoch_again(
    tmp_path, monkeypatch, keep
):
    trainer = make_trainer(*EVERY_EPOCH, f"trainer.checkpoint={keep}")
    proposal = begun(trainer)
    whole = train_one(trainer.task(tmp_path / "whole", 0), proposal)
    killed(trainer, tmp_path / "killed", proposal, monkeypatch, is_written=False)
    before = times(tmp_path / "killed")
    again = train_one(trainer.task(tmp_path / "killed", 0), proposal)
    assert (again.reward, again.metrics) == (whole.reward, whole.metrics)
    assert times(tmp_path / "killed")[:-1] == before[:-1]
    assert_left_alike(tmp_path)


@pytest.mark.parametrize("keep", ["best", "last", "all", "none"])
def test_a_child_that_is_killed_after_its_outcome_leaves_what_others_do(
    tmp_path, monkeypatch, keep
):
    trainer = make_trainer(*EVERY_EPOCH, f"trainer.checkpoint={keep}")
    proposal = begun(trainer)
    whole = train_one(trainer.task(tmp_path / "whole", 0), proposal)
    killed(trainer, tmp_path / "killed", proposal, monkeypatch, is_written=True)
    harvested = ChildFolder.of(tmp_path / "killed", 0).outcome(proposal)
    assert harvested is not None
    assert (harvested.reward, harvested.metrics) == (whole.reward, whole.metrics)
    keeping({"checkpoint": keep}, tmp_path / "killed").ended(harvested)
    assert_left_alike(tmp_path)


def assert_left_alike(folder):
    """Checks that two children have left the same files, and the same weights at their ends."""
    whole, other = (child_folder(folder / name, 0) for name in ("whole", "killed"))
    names = [sorted(path.name for path in each.iterdir()) for each in (whole, other)]
    assert names[0] == names[1]
    if "last.ckpt" in names[0]:
        ends = [checkpoint(folder / name, 0)["state_dict"] for name in ("whole", "killed")]
        assert_equal(*ends)


@pytest.mark.parametrize(
    ("until", "trainer_config"),
    [(2, {"checkpoint": "best"}), (None, {"_target_": "a.trainer.of.a.users.Own"})],
)
def test_what_others_go_on_with_and_what_a_user_writes_stays(
    tmp_path, monkeypatch, until, trainer_config
):
    trainer = make_trainer(*EVERY_EPOCH)
    proposal = begun(trainer, until=until)
    killed(trainer, tmp_path, proposal, monkeypatch, is_written=True)
    harvested = ChildFolder.of(tmp_path, 0).outcome(proposal)
    assert harvested is not None
    keeping(trainer_config, tmp_path).ended(harvested)
    assert ChildFolder.of(tmp_path, 0).last.exists()
