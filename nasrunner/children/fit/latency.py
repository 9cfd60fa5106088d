"""How long a child's forward pass takes, on the device that it was trained on."""

import statistics
import time
from collections.abc import Callable, Sequence

import torch

from nasrunner.children.fit.assembling import Assembled, Plan
from nasrunner.children.inputs import zeros
from nasrunner.core.ledger.objectives import LATENCY, LATENCY_SPREAD

_WARM_UP, _REPEATS = 10, 50
"""Passes that do not count, which may allocate and choose algorithms, and passes that do."""


def latency_of(plan: Plan, trained: Assembled) -> dict[str, float]:
    """Measures the latency of a child and its spread; empty if the study has no such objective.

    They are the median of 50 forward passes of one example after 10 that do not count, in
    evaluation mode with the precision of training, and their interquartile range. To be called
    after training, when nothing else of the child runs; of several ranks the first measures.

    Args:
        plan: what was trained.
        trained: the network, its data and trainer still open.
    """
    if LATENCY not in plan.child.objectives or not trained.trainer.is_global_zero:
        return {}
    times_ms = _passes_ms(plan, trained)
    low, median, high = statistics.quantiles(times_ms, n=4, method="inclusive")
    return {LATENCY: median, LATENCY_SPREAD: high - low}


def timed_ms(
    run: Callable[[], object],
    wait: Callable[[], object],
    clock_s: Callable[[], float] = time.perf_counter,
) -> Sequence[float]:
    """Times calls of a function, in ms.

    Args:
        run: the function.
        wait: returns once the device has done what it was given.
        clock_s: the time in seconds.
    """
    for _ in range(_WARM_UP):
        run()
    times_ms = []
    for _ in range(_REPEATS):
        wait()
        start_s = clock_s()
        run()
        wait()
        times_ms.append(1000 * (clock_s() - start_s))
    return times_ms


def _passes_ms(plan: Plan, trained: Assembled) -> Sequence[float]:
    module, strategy = trained.module, trained.trainer.strategy
    device, was_on, was_training = strategy.root_device, module.device, module.training
    in_dtype = plan.config["data"].get("in_dtype", "float32")
    example = zeros(1, plan.child.in_shape, in_dtype, str(device))
    module.to(device).eval()
    try:
        with torch.inference_mode(), strategy.precision_plugin.forward_context():
            return timed_ms(lambda: module(example), _wait_of(device))
    finally:
        module.train(was_training).to(was_on)


def _wait_of(device: torch.device) -> Callable[[], object]:
    match device.type:
        case "cuda":
            return lambda: torch.cuda.synchronize(device)
        case "mps":
            return torch.mps.synchronize
    return lambda: None
