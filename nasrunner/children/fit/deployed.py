"""What a trained child costs where it runs: latency and energy of its forward pass, its size."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from nasrunner.children.blueprint import measure
from nasrunner.children.fit.assembling import Assembled, Plan
from nasrunner.children.fit.energy import counters_of, energy
from nasrunner.children.fit.latency import latency
from nasrunner.children.inputs import zeros
from nasrunner.children.settings.fidelity import keyed
from nasrunner.children.tasks.tasks import out_shape_of
from nasrunner.core.errors import MachineError
from nasrunner.core.ledger.objectives import ENERGY, LATENCY
from nasrunner.core.machine.energy import NoEnergyError
from nasrunner.core.shapes import in_dtype_of

Call = Callable[[], object]


def costs_of(plan: Plan, trained: Assembled) -> dict[str, float]:
    """Measures what a child's forward pass of one example costs, where objectives ask for that.

    It is measured on the device of training, in evaluation mode and with the precision of
    training. To be called after training, when nothing else of the child runs; of several ranks
    the first measures.

    A child that a fidelity made smaller has ``trained_parameters`` and ``trained_flops`` besides:
    its ``parameters`` and ``flops``, by which children are compared, are of the whole network.

    Args:
        plan: what was trained.
        trained: the network, its data and trainer still open.

    Raises:
        MachineError: the device no longer says what energy it takes.
    """
    asked = {LATENCY, ENERGY} & set(plan.child.objectives)
    found = _trained_size(plan)
    if not asked or not trained.trainer.is_global_zero:
        return found
    with _forward_pass(plan, trained) as (run, wait):
        if LATENCY in asked:
            found |= latency(run, wait)
        if ENERGY in asked:
            try:
                found |= energy(run, wait, counters_of(trained.trainer.strategy.root_device))
            except NoEnergyError as error:  # it did when training was rehearsed
                raise MachineError(str(error)) from error
    return found


def _trained_size(plan: Plan) -> dict[str, float]:
    """The size of a network that a fidelity made narrower, or gave smaller images; else empty."""
    if not {"width", "data.resolution"} & keyed(plan.proposal.fidelity).keys():
        return {}
    in_dtype = in_dtype_of(plan.config["data"])
    out_shape = out_shape_of(plan.config, plan.child.construct, plan.in_shape)
    size = measure(plan.frozen, plan.in_shape, out_shape, in_dtype)
    return {"trained_parameters": float(size.trained), "trained_flops": float(size.flops)}


@contextmanager
def _forward_pass(plan: Plan, trained: Assembled) -> Iterator[tuple[Call, Call]]:
    """A pass of one example, and what returns once the device has done it."""
    module, strategy = trained.module, trained.trainer.strategy
    device, was_on, was_training = strategy.root_device, module.device, module.training
    in_dtype = in_dtype_of(plan.config["data"])
    example = zeros(1, plan.child.in_shape, in_dtype, str(device))
    module.to(device).eval()
    try:
        with torch.inference_mode(), strategy.precision_plugin.forward_context():
            yield lambda: module(example), _wait_of(device)
    finally:
        module.train(was_training).to(was_on)


def _wait_of(device: torch.device) -> Call:
    match device.type:
        case "cuda":
            return lambda: torch.cuda.synchronize(device)
        case "mps":
            return torch.mps.synchronize
    return lambda: None
