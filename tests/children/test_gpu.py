"""Children on CUDA devices; ``python benchmarks/gpu.py`` runs these tests, too."""

import pytest
import torch

from nasrunner.core import child_folder
from tests.children.blobs import IMAGES, train
from tests.children.fit.test_memory_format import LAYERS
from tests.children.progress.test_continuing import (
    EVERY_EPOCH,
    NOISY,
    curves,
    interrupt,
    uninterrupted,
    without_times,
)
from tests.children.studies import assert_all_end, make_study
from tests.children.studies import train as train_in

NUM_GPUS = torch.cuda.device_count()
GPU = "trainer.accelerator=gpu"
SGD = {"optimizer": "sgd"}

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(NUM_GPUS == 0, reason="torch finds no CUDA device"),
]


def assert_alike(lines, others, tolerance):
    assert [line["epoch"] for line in lines] == [line["epoch"] for line in others]
    for line, other in zip(lines, others, strict=True):
        assert line == pytest.approx(other, abs=tolerance)


@pytest.mark.parametrize("fast_loop", ["true", "false"])
@pytest.mark.parametrize(
    ("arguments", "tolerance"),
    [({}, 1e-3), ({"space": LAYERS, "data": IMAGES, **SGD}, 3e-2)],  # convolutions use TF32
    ids=["vectors", "images"],
)
def test_a_child_becomes_what_it_becomes_on_the_cpu(tmp_path, fast_loop, arguments, tolerance):
    for name, more in (("cpu", ()), ("gpu", (GPU,))):
        outcome = train(tmp_path / name, f"trainer.fast_loop={fast_loop}", *more, **arguments)
        assert outcome.error is None
    assert_alike(without_times(tmp_path / "gpu"), without_times(tmp_path / "cpu"), tolerance)
    state = torch.load(child_folder(tmp_path / "gpu", 0) / "best.ckpt", weights_only=True)
    assert {each.device.type for each in state["state_dict"].values()} == {"cuda"}


def test_a_data_set_in_memory_lies_on_the_gpu(tmp_path):
    settings = ("space=small_cnn", "trainer.max_epochs=4", "optimizer.lr=0.01")
    outcomes = {
        name: train_in(make_study(tmp_path / name, *settings, *more))
        for name, more in (("cpu", ()), ("gpu", (GPU,)))
    }
    assert outcomes["gpu"].error is None
    assert outcomes["gpu"].reward == pytest.approx(outcomes["cpu"].reward, abs=0.05)


@pytest.mark.parametrize("fast_loop", ["true", "false"])
def test_a_child_trains_in_bfloat16(tmp_path, fast_loop):
    told = (GPU, "trainer.precision=bf16-mixed", f"trainer.fast_loop={fast_loop}")
    outcome = train(tmp_path, *told, "trainer.max_epochs=6", space=LAYERS, data=IMAGES)
    assert outcome.error is None
    lines = curves(tmp_path)
    assert lines[-1]["train_loss"] < 0.7 * lines[0]["train_loss"]


@pytest.mark.parametrize("fast_loop", ["true", "false"])
def test_an_interrupted_child_goes_on_with_the_same_dropout(tmp_path, fast_loop):
    told = (*EVERY_EPOCH, GPU, f"trainer.fast_loop={fast_loop}")
    second = train(tmp_path / "b", *interrupt(tmp_path / "b", *told, space=NOISY), space=NOISY)
    first = uninterrupted(tmp_path / "a", *told, space=NOISY)
    assert (first.error, second.error) == (None, None)
    assert_alike(without_times(tmp_path / "b"), without_times(tmp_path / "a"), 1e-4)
    stopped_at = (tmp_path / "b" / "stopped").stat().st_mtime
    assert sum(line["time"] <= stopped_at for line in curves(tmp_path / "b")) == 4


@pytest.mark.skipif(NUM_GPUS < 2, reason=f"needs two CUDA devices, torch finds {NUM_GPUS}")
def test_two_ranks_take_the_steps_of_one_process(tmp_path):
    settings = ("trainer.max_epochs=3", "optimizer.lr=0.01", "data.batch_size=64", GPU)
    for name, num_devices in (("one", 1), ("two", 2)):
        study = make_study(tmp_path / name, f"trainer.devices={num_devices}", *settings)
        assert train_in(study).error is None
    assert_all_end(tmp_path)
    assert_alike(without_times(tmp_path / "two"), without_times(tmp_path / "one"), 1e-3)
