"""The states of all random generators that a training draws from, taken and put back."""

import contextlib
import os
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
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


@contextlib.contextmanager
def generators_kept() -> Iterator[None]:
    """Puts all global generators, and the seeds of Lightning's workers, back as they were before
    its block.
    """
    names = ("PL_GLOBAL_SEED", "PL_SEED_WORKERS")
    state, before = (
        random_state(torch.device("cpu")),
        {name: os.environ.get(name) for name in names},
    )
    is_used = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    of_cuda = torch.cuda.get_rng_state_all() if is_used else None
    try:
        yield
    finally:
        set_random_state(state, torch.device("cpu"))
        if of_cuda is not None:
            torch.cuda.set_rng_state_all(of_cuda)
        else:  # a seed that was given in the block waits for CUDA to be initialized
            torch.cuda.manual_seed_all(torch.initial_seed())
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


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
