"""The file with a network as plain PyTorch code, run where there is no nasrunner."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from safetensors.torch import save_file

from nasrunner.core import SpaceError
from nasrunner.export.source.construction import build
from nasrunner.spaces.language.parsing import parse_space
from tests.export.networks import (
    SPACES,
    difference,
    disturb,
    in_shape_of,
    possible,
    shipped,
    trained,
    written,
)
from tests.spaces.enumeration import draw
from tests.spaces.strategies import IN_SHAPE, Config, modules

CLEAN = """
import importlib.util, json, pathlib, sys
sys.modules["nasrunner"] = None  # importing it, or anything in it, is an error from here on
import torch
found = {}
for folder in map(pathlib.Path, sys.argv[1:]):
    spec = importlib.util.spec_from_file_location("network", folder / "network.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    network = module.load(folder / "network.safetensors")
    assert not network.training
    cases = torch.load(folder / "cases.pt")
    found[folder.name] = []
    for x, trains, wanted in cases:
        torch.manual_seed(5)
        found[folder.name].append(float((network.train(trains)(x) - wanted).detach().abs().max()))
print(json.dumps(found))
"""


def test_there_are_spaces() -> None:
    assert {"figure1", "deepconv", "mlp", "small_cnn", "nasbench_macro"} <= set(SPACES)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_networks_of_every_shipped_space_compute_the_same_without_nasrunner(
    tmp_path: Path,
) -> None:
    folders, count = [], 3
    for name in SPACES:
        space, in_shape = shipped(name), in_shape_of(name)
        for seed in possible(space, in_shape, count):
            network, calls = trained(space, in_shape, seed)
            code = written(network, calls, in_shape)
            folder = tmp_path / f"{name}-{seed}"
            folder.mkdir()
            (folder / "network.py").write_text(code.source)
            save_file(code.state(network), folder / "network.safetensors")
            cases = []
            for batch, trains in ((1, False), (7, False), (7, True)):
                x = torch.randn(batch, *in_shape)
                torch.manual_seed(5)
                cases.append((x, trains, network.train(trains)(x).detach()))
            torch.save(cases, folder / "cases.pt")
            folders.append(folder)
    command = [sys.executable, "-I", "-c", CLEAN, *map(str, folders)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found) == len(SPACES) * count
    assert {name: values for name, values in found.items() if max(values) > 1e-5} == {}


def check_random_space(config: Config) -> None:
    space = parse_space({"concat": [config, "flatten", {"affine": {"units": 3}}]})
    try:
        network, calls = build(space.freeze(draw(space, 0)), IN_SHAPE)
    except SpaceError:
        return
    disturb(network)
    code = written(network, calls, IN_SHAPE)
    other = code.load(code.state(network))
    assert "nasrunner" not in code.source
    left_out = [key for key, _ in network.named_parameters() if code.name_of(key) is None]
    assert not left_out or "zero" in str(config)  # edges of cells that lead nowhere
    assert difference(network, other, IN_SHAPE, trains=False) <= 1e-5
    assert difference(network, other, IN_SHAPE, trains=True) <= 1e-5


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(modules)
def test_networks_of_random_spaces_compute_the_same(config: Config) -> None:
    check_random_space(config)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(modules)
def test_networks_of_many_random_spaces_compute_the_same(config: Config) -> None:
    check_random_space(config)


def test_the_statistics_of_normalization_follow_training_as_in_the_original() -> None:
    space, in_shape = shipped("figure1"), (3, 8, 8)
    network, calls = trained(space, in_shape, 0)
    code = written(network, calls, in_shape)
    other = code.load(code.state(network))
    assert difference(network, other, in_shape, trains=True) == 0
    after, expected = other.state_dict(), code.state(network)
    assert after.keys() == expected.keys()
    assert all(torch.equal(after[key], expected[key]) for key in expected)


def source_of(config: object, in_shape: tuple[int, ...]) -> str:
    space = parse_space(config)
    network, calls = build(space.freeze({}), in_shape)
    code = written(network, calls, in_shape)
    code.load(code.state(network))
    return code.source


def test_a_chain_reads_like_hand_written_code() -> None:
    config = {
        "concat": [
            {"conv2d": {"filters": 16, "kernel_size": 3, "stride": 2}},
            "batch_norm",
            "relu",
            {"dropout": {"p": 0.5}},
            "global_pool",
            {"affine": {"units": 10}},
        ]
    }
    assert '''
class Network(nn.Module):
    """(B, 3, 32, 32) to (B, 10); B = batch."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, kernel_size=3, stride=2)
        self.norm = nn.BatchNorm2d(16)
        self.dropout = nn.Dropout(0.5)
        self.linear = nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.dropout(F.relu(self.norm(self.conv(F.pad(x, (0, 1, 0, 1))))))  # 16×16×16
        return self.linear(F.adaptive_avg_pool2d(x, 1).flatten(1))  # 10
''' in source_of(config, (3, 32, 32))


def test_a_chain_of_signals_reads_like_hand_written_code() -> None:
    config = {
        "concat": [
            {"conv1d": {"filters": 16, "kernel_size": 3, "stride": 2}},
            "batch_norm",
            "relu",
            {"max_pool": {"kernel_size": 3, "padding": "same"}},
            {"conv1d": {"filters": 8, "kernel_size": 3}},
            "global_pool",
            {"affine": {"units": 4}},
        ]
    }
    assert '''
class Network(nn.Module):
    """(B, 6, 100) to (B, 4); B = batch."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(6, 16, kernel_size=3, stride=2)
        self.norm = nn.BatchNorm1d(16)
        self.conv2 = nn.Conv1d(16, 8, kernel_size=3, padding=1)
        self.linear = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.pad(F.relu(self.norm(self.conv1(F.pad(x, (0, 1))))), (0, 1), value=float("-inf"))
        x = F.adaptive_avg_pool1d(self.conv2(F.max_pool1d(x, 3, stride=2)), 1).flatten(1)  # 8
        return self.linear(x)  # 4
''' in source_of(config, (6, 100))


@pytest.mark.parametrize(
    "cell", ["gru_cell", {"darts_rnn": {"nodes": 2, "activations": ["tanh", "relu"]}}], ids=str
)
def test_a_recurrent_encoder_is_in_the_file_with_all_it_needs(cell: object) -> None:
    encoder = {"recurrent_encoder": {"cell": cell, "units": 4, "layers": 2, "output": "mean"}}
    pool = {"average_pool": {"kernel_size": 2, "padding": "same", "count_padding": False}}
    space = parse_space({"concat": [pool, encoder, {"affine": {"units": 3}}]})
    network, calls = build(space.freeze(space.walk(lambda decision: 1)), (2, 7))
    code = written(network, calls, (2, 7))
    other = code.load(code.state(network))
    assert "nasrunner" not in code.source
    assert difference(network, other, (2, 7), trains=False) <= 1e-6
    assert difference(network, other, (2, 7), trains=True) <= 1e-6


def test_a_residual_block_is_padded_with_the_numbers_it_needs() -> None:
    body = {"conv2d": {"filters": 5, "kernel_size": 3}}
    residual = {"residual": {"body": body, "shortcut": "pad"}}
    source = source_of({"concat": [residual, "relu"]}, (3, 8, 8))
    assert "x = F.pad(x, (0, 0, 0, 0, 0, 2)) + self.conv(x)  # 5×8×8" in source


def test_a_residual_block_is_projected_with_a_layer_of_its_own() -> None:
    body = {"conv2d": {"filters": 5, "kernel_size": 3, "stride": 2}}
    source = source_of({"concat": [{"residual": body}, "relu"]}, (3, 8, 8))
    assert "nn.Conv2d(3, 5, kernel_size=1, stride=2, bias=False)" in source
    assert "x = self.conv1(x) + self.conv2(F.pad(x, (0, 1, 0, 1)))  # 5×4×4" in source


def test_what_is_repeated_three_times_is_written_once() -> None:
    body = {"concat": [{"conv2d": {"filters": 4, "kernel_size": 3}}, "relu"]}
    repeated = {"repeat_tied": {"times": 9, "body": body}}
    source = source_of({"concat": [repeated, "global_pool"]}, (4, 8, 8))
    assert source.count("nn.Conv2d") == 1
    assert "for _ in range(9)" in source
    assert "self.blocks(x)" in source


def test_a_residual_block_that_is_repeated_is_a_class_of_its_own() -> None:
    body = {"residual": {"concat": [{"conv2d": {"filters": 4, "kernel_size": 3}}, "relu"]}}
    source = source_of({"repeat_tied": {"times": 3, "body": body}}, (4, 8, 8))
    assert "class Block(nn.Module):" in source
    assert "self.blocks = nn.Sequential(*(Block() for _ in range(3)))" in source


@pytest.mark.skipif("nasbench201" not in SPACES, reason="the space is not there")
def test_a_cell_is_one_class_for_every_number_of_channels() -> None:
    space = shipped("nasbench201")
    conv, skip = 3, 1  # edges 0-1, 0-2, 1-2, 0-3, 1-3, 2-3
    answers = iter([conv, skip, 0, skip, 0, conv])
    network, calls = build(space.freeze(space.walk(lambda decision: next(answers))), (3, 32, 32))
    code = written(network, calls, (3, 32, 32))
    assert code.source.count("class ") == 2
    assert "Cell(16) for _ in range(5)" in code.source
    assert "Cell(64) for _ in range(5)" in code.source
    # Node 1 reaches no output: its edge is left out, 15 convolutions of 3x3 with their norms.
    kept = sum(v.numel() for v in code.load(code.state(network)).parameters())
    total = sum(v.numel() for v in network.parameters())
    assert total - kept == 5 * sum(9 * c * c + 2 * c for c in (16, 32, 64))


@pytest.mark.slow
def test_the_file_is_formatted_and_uses_all_it_names(tmp_path: Path) -> None:
    for name in SPACES:
        space, in_shape = shipped(name), in_shape_of(name)
        for seed in possible(space, in_shape, 2):
            network, calls = build(space.freeze(draw(space, seed)), in_shape)
            source = written(network, calls, in_shape).source
            (tmp_path / f"{name}_{seed}.py").write_text(source)
    ruff = [sys.executable, "-m", "ruff"]
    for command in (
        ["check", "--isolated"],
        ["format", "--isolated", "--line-length=100", "--diff"],
    ):
        done = subprocess.run([*ruff, *command, tmp_path], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout
