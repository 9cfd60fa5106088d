"""ONNX files, run by onnxruntime on batches of one and of several."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from nasrunner.export.checks import max_difference
from nasrunner.export.errors import ExportError
from nasrunner.export.onnx_file import OnnxNetwork, write_onnx
from nasrunner.export.source.construction import build
from nasrunner.spaces.language.parsing import parse_space
from tests.export.blocks import Undecided
from tests.export.networks import SPACES, in_shape_of, possible, shipped, trained, written
from tests.sampling import one_in
from tests.searchers.worlds import WIDE_SPACES


def check(name: str, count: int, path: Path) -> None:
    space, in_shape = shipped(name), in_shape_of(name)
    for seed in possible(space, in_shape, count):
        network, calls = trained(space, in_shape, seed)
        code = written(network, calls, in_shape)
        write_onnx(code.load(code.state(network)).eval(), in_shape, path)
        max_difference(path.name, network.eval(), OnnxNetwork(path), in_shape)


def test_a_network_computes_the_same_in_onnxruntime(tmp_path: Path) -> None:
    check("small_cnn", 1, tmp_path / "network.onnx")


def test_a_module_of_torch_computes_the_same_in_onnxruntime(tmp_path: Path) -> None:
    normalized = {"_target_": "torch.nn.LocalResponseNorm", "size": 5}  # of cnn_baselines
    conv = {"conv2d": {"filters": 8, "kernel_size": 3}}
    space = parse_space({"concat": [conv, normalized, "relu", {"affine": {"units": 10}}]})
    network, calls = build(space.freeze({}), (3, 8, 8))
    code = written(network, calls, (3, 8, 8))
    write_onnx(code.load(code.state(network)).eval(), (3, 8, 8), tmp_path / "network.onnx")
    reader = OnnxNetwork(tmp_path / "network.onnx")
    max_difference("network.onnx", network.eval(), reader, (3, 8, 8))


@one_in(
    2,
    0,
    "cell",
    ["lstm_cell", {"darts_rnn": {"nodes": 2, "activations": ["tanh", "relu"]}}],
    ids=str,
)
@pytest.mark.slow
def test_a_recurrent_network_of_signals_computes_the_same_in_onnxruntime(
    cell: object, tmp_path: Path
) -> None:
    conv = {"conv1d": {"filters": 4, "kernel_size": 4, "stride": 2}}
    residual = {"residual": {"separable_conv1d": {"filters": 6, "kernel_size": 3, "stride": 2}}}
    pools = [{"max_pool": {"kernel_size": 2, "stride": 1, "padding": "same"}}, {"batch_norm": {}}]
    encoder = {"recurrent_encoder": {"cell": cell, "units": 4}}
    space = parse_space({"concat": [conv, *pools, residual, encoder, {"affine": {"units": 3}}]})
    network, calls = build(space.freeze(space.walk(lambda decision: 1)), (2, 17))
    code = written(network, calls, (2, 17))
    write_onnx(code.load(code.state(network)).eval(), (2, 17), tmp_path / "network.onnx")
    reader = OnnxNetwork(tmp_path / "network.onnx")
    max_difference("network.onnx", network.eval(), reader, (2, 17))


@pytest.mark.slow  # a process of its own
def test_onnxruntime_collects_nothing_to_send(tmp_path: Path) -> None:
    path, home = tmp_path / "network.onnx", tmp_path / "home"
    home.mkdir()
    write_onnx(nn.Linear(4, 2).eval(), (4,), path)
    program = (
        "from pathlib import Path\n"
        "from nasrunner.export.onnx_file import OnnxNetwork\n"
        f"OnnxNetwork(Path({str(path)!r}))"
    )
    environ = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    subprocess.run([sys.executable, "-c", program], env={**environ, "HOME": str(home)}, check=True)
    assert not list(home.rglob("*onnxruntime*"))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@one_in(3, 0, "name", SPACES, rest=pytest.mark.matrix)
def test_networks_of_every_shipped_space_compute_the_same_in_onnxruntime(
    name: str, tmp_path: Path
) -> None:
    # The wide ones differ from each other in numbers only.
    check(name, 1 if name in WIDE_SPACES else 2, tmp_path / "network.onnx")


def test_what_has_no_graph_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"cannot be written as ONNX: .*data-dependent") as error:
        write_onnx(Undecided().eval(), (4,), tmp_path / "network.onnx")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "network.onnx").exists()


def test_another_network_does_not_pass_for_the_same() -> None:
    one, other = nn.Linear(4, 2).eval(), nn.Linear(4, 2).eval()
    with pytest.raises(ExportError, match=r"network.onnx differs from the network by [0-9.]+ on"):
        max_difference("network.onnx", one, other, (4,))


def test_outputs_that_are_no_numbers_do_not_pass_for_the_same() -> None:
    def broken(x: torch.Tensor) -> torch.Tensor:
        return torch.full((len(x), 2), torch.nan)

    with pytest.raises(ExportError, match="differs from the network by nan"):
        max_difference("network.py", nn.Linear(4, 2).eval(), broken, (4,))


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "network.onnx"
    path.write_text("no model")
    with pytest.raises(ExportError, match="onnxruntime does not take the file"):
        OnnxNetwork(path)
