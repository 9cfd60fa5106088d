"""Networks of texts, and programs of torch.export, without nasrunner."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime  # type: ignore[import-untyped]  # it has no stubs
import pytest
import torch
from torch import nn

import nasrunner
from nasrunner.core.shapes import TokenShape
from nasrunner.export.checks import by_steps, max_difference
from nasrunner.export.errors import ExportError
from nasrunner.export.onnx_file import OnnxNetwork, write_onnx
from nasrunner.export.pt2_file import Pt2Network, write_pt2
from nasrunner.export.source.construction import build
from nasrunner.export.source.standalone import write
from nasrunner.export.streamed import Streamed
from nasrunner.spaces.language.parsing import parse_space
from tests.export.blocks import Undecided
from tests.export.networks import OF_TOKENS, possible, shipped, trained
from tests.export.test_command import Command, command, refused  # noqa: F401
from tests.predict.studies import run_search

TEXT = (
    "data=ptb_char",
    "data._target_=tests.data.texts.Numbers",
    "~data.root",
    "data.num_outputs=10",
    "data.in_shape=[5]",
    "data.batch_size=8",
    "data.train_tokens=null",
    "data.eval_batch_size=1",
    "task=language_model",
    "space=rnn_baselines",
    "space.language_model.parameters=2000",
)
CLEAN = """
import sys
sys.modules["nasrunner"] = None
sys.path.insert(0, sys.argv[1])
import torch
tokens, expected = torch.load(sys.argv[2])
from network import Streamed, load
network = load(sys.argv[1] + "/network.safetensors")
stream = Streamed(network)
state, found = stream.begin(len(tokens)), []
for part in tokens.split([1, 4, 2], dim=1):
    y, state = stream(part, state)
    found.append(y)
torch.testing.assert_close(torch.cat(found, 1), expected, atol=1e-5, rtol=1e-5)
program = torch.export.load(sys.argv[1] + "/network.pt2").module()
state, found = stream.begin(len(tokens)), []
for token in tokens.split(1, dim=1):
    y, state = program(token, state)
    found.append(y)
torch.testing.assert_close(torch.cat(found, 1), expected, atol=1e-5, rtol=1e-5)
"""


@pytest.mark.slow  # a process of its own, and traced twice
def test_a_language_model_is_read_in_parts_without_nasrunner(
    command: Command,  # noqa: F811
    tmp_path: Path,
) -> None:
    run_search(tmp_path / "study", *TEXT)
    to = tmp_path / "to"
    command(f"from={tmp_path / 'study'}", f"to={to}", "format=pt2,onnx,py")
    facts = json.loads((to / "export.json").read_text())
    assert facts["problems"] == facts["notes"] == []
    assert facts["files"].keys() == {f"network.{e}" for e in ("py", "safetensors", "onnx", "pt2")}
    assert max(facts["max_absolute_difference"].values()) < 1e-5

    tokens = torch.randint(10, (3, 7), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = nasrunner.load(tmp_path / "study").best.network()(tokens)
    torch.save((tokens, expected), tmp_path / "text.pt")
    arguments = [sys.executable, "-I", "-c", CLEAN, to, tmp_path / "text.pt"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

    session = onnxruntime.InferenceSession(to / "network.onnx")
    shapes = {each.name: each.shape[1] for each in session.get_inputs() if each.name != "x"}
    state = {name: np.zeros((3, units), np.float32) for name, units in shapes.items()}
    names = ["y", *(f"next_{name}" for name in state)]
    for place in range(7):
        y, *after = session.run(names, {"x": tokens[:, place : place + 1].numpy(), **state})
        np.testing.assert_allclose(y[:, 0], expected[:, place], atol=1e-5)
        state = dict(zip(state, after, strict=True))
    told = session.get_modelmeta().custom_metadata_map
    assert told["inputs"] == "x: tokens, int64, 0 to 9; one of each text, (batch, 1)"


@pytest.mark.slow  # every step is traced
def test_a_classifier_of_texts_names_its_classes(
    command: Command,  # noqa: F811
    tmp_path: Path,
) -> None:
    x = np.random.default_rng(0).integers(0, 20, (60, 6))
    np.savez(tmp_path / "texts.npz", x=x, y=np.array(["fair", "poor", "poor"] * 20))
    data = ("data=arrays", f"data.path={tmp_path / 'texts.npz'}", "data.in_dtype=int64")
    space = ("space=text_classifier", "space.concat.1.or=[{recurrent:{cell:gru_cell,units:4}}]")
    run_search(tmp_path / "study", *data, *space, "data.batch_size=8")
    (tmp_path / "texts.npz").unlink()  # how it is read stands beside the weights
    to = tmp_path / "to"
    command(f"from={tmp_path / 'study'}", f"to={to}")
    session = onnxruntime.InferenceSession(to / "network.onnx")
    (y,) = session.run(["y"], {"x": x})
    with torch.no_grad():
        expected = nasrunner.load(tmp_path / "study").best.network()(torch.from_numpy(x))
    np.testing.assert_allclose(y, expected, atol=1e-5)
    told = session.get_modelmeta().custom_metadata_map
    assert json.loads(told["classes"]) == ["fair", "poor"]
    assert json.loads(told["vocabulary"]) == json.loads(told["reading"])["settings"]["vocabulary"]
    assert "logits of classes, fair, poor; softmax" in (to / "network.py").read_text()


def test_a_program_of_torch_export_takes_inputs_as_in_the_data(
    command: Command,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    conv = "{conv2d:{filters:2,kernel_size:3}}"
    space = f"space.concat=[{conv},{{batch_norm:{{}}}},relu,{{affine:{{units:10}}}}]"
    run_search(tmp_path / "study", "space=figure1", space)
    study, to = f"from={tmp_path / 'study'}", tmp_path / "to"
    told = refused(command, capsys, study, "format=pt2,tflite")
    assert "format=pt2,tflite: there is no format 'tflite', legal: onnx, pt2, py" in told
    command(study, f"to={to}", "format=pt2")
    assert {each.name for each in to.iterdir()} - {".nasrunner-export.json"} == {
        "network.pt2",
        "export.json",
    }
    facts = json.loads((to / "export.json").read_text())
    mean, std = (torch.tensor(facts["normalization"][each]) for each in ("mean", "std"))
    extra = {"metadata.json": ""}
    program = torch.export.load(to / "network.pt2", extra_files=extra).module()
    raw = torch.randint(0, 17, (5, 1, 8, 8)).float()
    with torch.no_grad():
        expected = nasrunner.load(tmp_path / "study").best.network()((raw - mean) / std)
    for count in (5, 1):
        torch.testing.assert_close(program(raw[:count]), expected[:count], atol=1e-4, rtol=1e-4)
    assert json.loads(json.loads(extra["metadata.json"])["mean"]) == facts["normalization"]["mean"]


@pytest.mark.slow  # each is traced twice
@pytest.mark.parametrize(
    "cell",
    [
        "rnn_cell",
        {"darts_rnn": {"nodes": 2, "activations": ["tanh", "relu"]}},
        {"recurrent_cell": {"base": 2, "combinations": ["add"], "activations": ["sin", "tanh"]}},
    ],
    ids=str,
)
def test_the_state_of_every_cell_goes_in_and_comes_out(cell: object, tmp_path: Path) -> None:
    recurrent = {"recurrent": {"cell": cell, "layers": 2, "dropout": 0.2}}
    given = {"vocabulary": 30, "tied": False, "units": 6, "body": recurrent}
    space, shape = parse_space({"language_model": given}), TokenShape((6,))
    network, _ = build(space.freeze(space.walk(lambda decision: 0)), (6,))
    network = network.eval()
    streamed = Streamed(network).eval()
    graphs = ((write_onnx, OnnxNetwork, "network.onnx"), (write_pt2, Pt2Network, "network.pt2"))
    for write_graph, read, name in graphs:
        write_graph(streamed, shape, tmp_path / name)
        step = read(tmp_path / name).step
        max_difference(name, network, by_steps(step, streamed.begin, 1), shape, 30)


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_TOKENS)
def test_networks_of_every_shipped_space_of_texts_compute_the_same(
    name: str, tmp_path: Path
) -> None:
    space, shape, path = shipped(name), TokenShape((5,)), tmp_path / "network.pt2"
    network, calls = trained(space, (5,), possible(space, (5,), 1)[0])
    network = network.eval()
    is_streamed = name != "text_classifier"
    code = write(network, calls, shape, title=["A."], normalization=None, is_streamed=is_streamed)
    state = code.state(network)
    assert max_difference("network.py", network, code.load(state).eval(), shape, 10) == 0
    alone = code.load(state).eval()
    streamed = Streamed(alone).eval()
    write_pt2(streamed if is_streamed else alone, shape, path)
    program = Pt2Network(path)
    read = by_steps(program.step, streamed.begin, 1) if is_streamed else program
    max_difference("network.pt2", network, read, shape, 10)


def test_what_cannot_be_traced_or_read_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "network.pt2"
    with pytest.raises(ExportError, match=r"cannot be written by torch.export: ") as error:
        write_pt2(Undecided().eval(), (4,), path)
    assert "\n" not in str(error.value)
    path.write_text("no program")
    with pytest.raises(ExportError, match="torch does not take the file"):
        Pt2Network(path)


def test_a_state_that_is_lost_does_not_pass_for_the_same() -> None:
    space = parse_space(
        {
            "concat": [
                {"embedding": {"vocabulary": 9, "units": 3}},
                {"recurrent": {"cell": "rnn_cell"}},
            ]
        }
    )
    network, _ = build(space.freeze(space.walk(lambda decision: 0)), (4,))
    forgetful: nn.Module = network.eval()
    lost = by_steps(lambda x, state: (forgetful(x), []), lambda size: [], 1)
    with pytest.raises(ExportError, match=r"by tokens differs from the network by [0-9.]+ on"):
        max_difference("by tokens", network, lost, TokenShape((4,)), 9)
