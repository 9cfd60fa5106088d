"""The states of all random generators that a training draws from, taken and put back."""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

RandomState = dict[str, Any]
"""States by generator: plain values, and tensors on the CPU."""


def seed_generators(seed: int, device: torch.device) -> None:
    """Has all of them begin with a seed, and lets the settings of Lightning's workers be.

    Args:
        seed: 32 bits.
        device: whose generator is seeded beside the CPU's.
    """
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    torch.default_generator.manual_seed(seed)  # torch.manual_seed takes milliseconds
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)


def random_state(device: torch.device) -> RandomState:
    """Returns the states of torch's, numpy's and Python's global generators.

    Args:
        device: whose generator is taken beside the CPU's.
    """
    numpy_state: Any = np.random.get_state(legacy=False)  # noqa: NPY002
    generator = numpy_state["state"]
    state: RandomState = {
        "python": random.getstate(),
        "numpy": {**numpy_state, "state": {**generator, "key": generator["key"].tolist()}},
        "torch": torch.get_rng_state(),
    }
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def set_random_state(state: RandomState, device: torch.device) -> None:
    """Makes all of them go on from a state."""
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    if "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)


_DRAWING = frozenset(
    [
        *("uniform_", "normal_", "trunc_normal_"),
        *("xavier_uniform_", "xavier_normal_", "kaiming_uniform_", "kaiming_normal_"),
    ]
)


class Undrawn(TorchFunctionMode):
    """Leaves the parameters that modules make in its block without values, and draws none.

    Buffers and other tensors have theirs. It saves the time of drawing where parameters are
    replaced.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = dict(kwargs or {})
        filled = args[0] if args else given.get("tensor")  # by this name in torch.nn.init
        if isinstance(filled, nn.Parameter) and getattr(func, "__name__", "") in _DRAWING:
            return filled
        return func(*args, **given)
