"""What layers add to a network's output in training, and what they know of its progress."""

import pytest
import torch
from torch import nn

from nasrunner.core import child_folder
from nasrunner.core.training_step import training_step
from tests.children.blobs import IMAGES, train
from tests.children.fit.test_training import curves

FAST = pytest.mark.parametrize("fast_loop", ["true", "false"])


class Beside(nn.Module):
    """Passes its input on; in training a layer beside it tells the classes apart, too."""

    progress: list[float | None] = []  # noqa: RUF012 - what the last training has told

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = weight
        self.layer = nn.Linear(4, 3)
        nn.init.zeros_(self.layer.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        step = training_step()
        if step is not None and self.training:
            self.progress.append(step.progress)
            step.outputs.append((self.layer(x), self.weight))
        return x


def trained(folder, *overrides, weight=0.4):
    Beside.progress.clear()
    space = {
        "concat": [{"_target_": f"{__name__}.Beside", "weight": weight}, {"affine": {"units": 3}}]
    }
    outcome = train(folder, "optimizer.lr=0.05", *overrides, space=space)
    assert outcome.error is None
    state = torch.load(child_folder(folder, 0) / "best.ckpt", weights_only=True)["state_dict"]
    return state["0.layer.weight"], curves(folder)


@FAST
def test_the_loss_of_an_output_beside_trains_what_it_comes_of(tmp_path, fast_loop):
    arguments = f"trainer.fast_loop={fast_loop}", "trainer.max_epochs=3"
    weight, lines = trained(tmp_path / "beside", *arguments)
    assert weight.abs().max() > 0.1
    nothing, others = trained(tmp_path / "nothing", *arguments, weight=0.0)
    assert not nothing.any()
    # The losses that are recorded are of the network's own output, which has not changed.
    assert [line["train_loss"] for line in lines] == [line["train_loss"] for line in others]
    assert [line["val_loss"] for line in lines] == [line["val_loss"] for line in others]


@FAST
def test_layers_know_which_share_of_the_epochs_is_over(tmp_path, fast_loop):
    trained(tmp_path, f"trainer.fast_loop={fast_loop}", "trainer.max_epochs=4")
    assert sorted(set(Beside.progress)) == [0.0, 0.25, 0.5, 0.75]
    assert Beside.progress == sorted(Beside.progress)


def test_steps_say_how_long_training_is_where_epochs_do_not(tmp_path):
    trained(tmp_path, "trainer.max_epochs=-1", "trainer.max_steps=12")  # 6 batches an epoch
    assert sorted(set(Beside.progress)) == [0.0, 0.5]


def test_nobody_knows_the_progress_of_a_training_that_the_clock_ends(tmp_path):
    trained(tmp_path, "trainer.max_epochs=-1", "trainer.stop_patience=1", "optimizer.lr=0")
    assert set(Beside.progress) == {None}


def test_both_loops_train_alike(tmp_path):
    found = [trained(tmp_path / each, f"trainer.fast_loop={each}") for each in ("true", "false")]
    torch.testing.assert_close(found[0][0], found[1][0])


CELL = {
    "block_graph": {
        "operations": ["empty", {"conv2d": {"filters": "same", "kernel_size": 3}}],
        "inputs": [[0, 1]],
        "outputs": [2],
    }
}
TOWER = {"concat": ["global_pool", {"affine": {"units": 3}}]}
STACK = {
    "cell_stack": {
        "normal": CELL,
        "filters": 4,
        "times": 1,
        "stages": 2,
        "path_dropout": 0.5,
        "auxiliary": TOWER,
        "auxiliary_weight": 0.4,
    }
}


@FAST
def test_a_stack_of_cells_learns_with_its_tower_and_with_paths_dropped(tmp_path, fast_loop):
    outcome = train(
        tmp_path,
        f"trainer.fast_loop={fast_loop}",
        "trainer.max_epochs=8",
        "optimizer.lr=0.02",
        space={"concat": [STACK, *TOWER["concat"]]},
        data=IMAGES,
    )
    assert outcome.error is None
    assert outcome.reward > 0.8
    state = torch.load(child_folder(tmp_path, 0) / "best.ckpt", weights_only=True)["state_dict"]
    first = torch.tensor([0.0])
    towers = [value for name, value in state.items() if ".tower." in name and "weight" in name]
    assert len(towers) == 1
    assert towers[0].std() > first
