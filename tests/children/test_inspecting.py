"""A user's code that ends its process while a network is inspected ends no study."""

import os
import signal

import pytest
import torch
from torch import nn

from nasrunner.children import inspecting
from nasrunner.children.blueprint import measure
from nasrunner.children.inspecting import measured, runs_own_code
from nasrunner.children.rehearsal.samples import sampled
from nasrunner.core import SpaceError
from nasrunner.spaces.language.parsing import parse_space
from tests.children.studies import wait_until

HERE = "tests.children.test_inspecting"
SHAPE = ((3,), 2, "float32")


class Deadly(nn.Module):
    """Ends the process it is built in, where it is asked to."""

    def __init__(self, in_shape, how):
        super().__init__()
        self.layer = nn.Linear(in_shape[0], 2)
        if how == "exit":
            os._exit(3)
        if how == "kill":
            os.kill(os.getpid(), signal.SIGSEGV)
        if how == "raise":
            raise SystemExit(4)
        self.frozen = nn.Parameter(torch.zeros(5), requires_grad=False)

    def forward(self, x):
        return self.layer(x)


def space(how):
    return parse_space({"_target_": f"{HERE}.Deadly", "how": how})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("exit", "the process that inspected the network ended with exit code 3"),
        ("kill", "the process that inspected the network was killed by SIGSEGV"),
        ("raise", "SystemExit: 4"),
    ],
)
def test_a_module_that_ends_its_process_is_a_network_that_cannot_be_built(how, reason):
    with pytest.raises(SpaceError, match=reason):
        measured(space(how).freeze({}), *SHAPE)
    size = measured(space("no").freeze({}), *SHAPE)  # the next one is inspected all the same
    assert (size.parameters, size.trained, size.flops) == (13, 8, 12)


@pytest.mark.slow
def test_the_rehearsal_finds_the_networks_that_do_not_end_it():
    found = sampled(space({"oneof": ["exit", "no"]}), *SHAPE)
    assert [frozen.network.text() for frozen in found.networks] == [
        "Deadly(how=no)",
    ]


@pytest.mark.slow
def test_one_process_inspects_all_and_ends_with_the_one_that_asks():
    inspector = inspecting.Inspector()
    request = inspecting.pickle.dumps((measure, space("no").freeze({}), *SHAPE))
    first = inspector.ask(request)
    pid = inspector._process.pid
    assert inspector.ask(request) == first
    assert inspector._process.pid == pid
    inspector._process.stdin.close()
    wait_until(lambda: inspector._process.poll() == 0)
    inspector.close()


def test_only_code_of_others_needs_a_process(monkeypatch):
    monkeypatch.setattr(inspecting, "_inspector", None)
    ours = parse_space({"concat": ["relu", {"affine": {"units": 2}}]}).freeze({})
    torchs = parse_space({"concat": [{"_target_": "torch.nn.LayerNorm", "normalized_shape": 3}]})
    assert not runs_own_code(ours)
    assert not runs_own_code(torchs.freeze({}))
    assert runs_own_code(space("no").freeze({}))
    assert measured(ours, *SHAPE) == measure(ours, *SHAPE)
