import json

import pytest
import torch
from torch import nn

from nasrunner.core import ConfigError, child_folder
from tests.children.blobs import BLOBS, IMAGES, MLP, make_trainer, train

LAYERS = {
    "concat": [
        {
            "skip_layers": {
                "times": 3,
                "layer": {
                    "concat": [
                        {"conv2d": {"filters": {"oneof": [5, 8]}, "kernel_size": [3, 5]}},
                        "relu",
                        "batch_norm",
                    ]
                },
                "pool": {"max_pool": {"kernel_size": 2}},
                "pool_after": [2],
            }
        },
        {"separable_conv2d": {"filters": 6, "kernel_size": 2, "stride": 2}},
        {"conv2d": {"filters": 4, "kernel_size": 1, "groups": 2}},
        "flatten",
        {"affine": {"units": 3}},
    ]
}


class Viewing(nn.Module):
    """Passes images on through a view, as only the usual memory format allows."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return x.view(x.shape[0], -1) * self.scale


OWN = {
    "concat": [
        {"conv2d": {"filters": 4, "kernel_size": 3}},
        {"_target_": "tests.children.fit.test_memory_format.Viewing"},
        {"affine": {"units": 3}},
    ]
}


def curves(folder):
    lines = (child_folder(folder, 0) / "curves.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "time"} for line in lines]


def are_channels_last(folder):
    """Whether the weights of convolutions over several channels and pixels lie so."""
    state = torch.load(child_folder(folder, 0) / "best.ckpt", weights_only=True)["state_dict"]
    filters = [each for each in state.values() if each.ndim == 4 and min(each.shape[1:]) > 1]
    assert filters
    (found,) = {each.is_contiguous(memory_format=torch.channels_last) for each in filters}
    return found


@pytest.mark.parametrize("fast_loop", [True, False])
def test_the_memory_format_changes_results_by_rounding_alone(tmp_path, fast_loop):
    for choice in ("auto", "true", "false"):
        outcome = train(
            tmp_path / choice,
            f"trainer.channels_last={choice}",
            f"trainer.fast_loop={fast_loop}",
            "optimizer.momentum=0.9",
            "optimizer.nesterov=true",
            space=LAYERS,
            data=IMAGES,
            optimizer="sgd",
        )
        assert outcome.error is None
    assert are_channels_last(tmp_path / "auto")
    assert are_channels_last(tmp_path / "true")
    assert not are_channels_last(tmp_path / "false")
    assert curves(tmp_path / "auto") == curves(tmp_path / "true")
    for one, other in zip(curves(tmp_path / "true"), curves(tmp_path / "false"), strict=True):
        assert one == pytest.approx(other, rel=1e-4, abs=1e-4)


def test_a_module_of_the_users_own_is_given_the_usual_format_unless_told_otherwise(tmp_path):
    told = {"space": OWN, "data": IMAGES}
    assert train(tmp_path, "trainer.channels_last=auto", **told).error is None
    assert not are_channels_last(tmp_path)
    with pytest.raises(
        ConfigError, match=r"breaks in its first step: .*view size is not compatible"
    ):
        train(tmp_path, "trainer.channels_last=true", **told)


def test_what_are_no_images_stay_as_they_are(tmp_path):
    for choice in ("true", "false"):
        train(tmp_path / choice, f"trainer.channels_last={choice}", space=MLP, data=BLOBS)
    assert curves(tmp_path / "true") == curves(tmp_path / "false")


@pytest.mark.parametrize("value", ["last", "1", "null"])
def test_what_is_no_choice_is_refused(value):
    with pytest.raises(ConfigError, match="channels_last must be bool or auto, got"):
        make_trainer(f"trainer.channels_last={value}")
