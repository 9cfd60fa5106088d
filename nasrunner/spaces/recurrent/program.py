"""What a recurrent cell computes in one time step, and its derivative, as a list of operations."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch

# B = batch, H = hidden size

Operation = tuple[str, int, int]
"""(name, first operand, second operand); of a function of one operand both are the same."""


class Program(NamedTuple):
    """One time step of a cell, as operations on numbered values of shape (B, H).

    Value 0 is h_{t-1} and value 1 is c_{t-1}. Then come the ``gates`` parts of W x_t, the
    ``gates`` parts of U h_{t-1}, and the result of every operation.

    Attributes:
        gates: how many products with x_t there are, and as many with h_{t-1}.
        operations: in order; operands are values that come before.
        hidden: the value that is h_t.
        memory: the value that is c_t; 1 for a cell that has none.
        has_bias: whether W x_t has a bias.
    """

    gates: int
    operations: tuple[Operation, ...]
    hidden: int
    memory: int = 1
    has_bias: bool = True


Values = list[torch.Tensor]
Operands = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Gradients = tuple[torch.Tensor, torch.Tensor | None]


def run_step(
    program: Program, h: torch.Tensor, c: torch.Tensor, parts: Sequence[torch.Tensor]
) -> Values:
    """Returns all values of one time step.

    Args:
        program: what is computed.
        h: (B, H), h_{t-1}.
        c: (B, H), c_{t-1}.
        parts: those of W x_t, then those of U h_{t-1}, each (B, H).
    """
    values = [h, c, *parts]
    for name, first, second in program.operations:
        values.append(_FORWARD[name](values[first], values[second]))
    return values


def differentiate_step(
    program: Program, values: Values, of_hidden: torch.Tensor, of_memory: torch.Tensor | None
) -> list[torch.Tensor | None]:
    """Returns the derivative with respect to what went into a time step: h, c and the parts.

    Args:
        program: what was computed.
        values: what ``run_step`` returned.
        of_hidden: derivative of the loss with respect to h_t.
        of_memory: the same for c_t; None for zero, as in what is returned.
    """
    gradients: list[torch.Tensor | None] = [None] * len(values)

    def add(place: int, gradient: torch.Tensor | None) -> None:
        before = gradients[place]
        gradients[place] = gradient if before is None or gradient is None else before + gradient

    add(program.hidden, of_hidden)
    if of_memory is not None:
        add(program.memory, of_memory)
    num_inputs = 2 + 2 * program.gates
    for place in range(len(values) - 1, num_inputs - 1, -1):
        gradient = gradients[place]
        if gradient is None:
            continue
        name, first, second = program.operations[place - num_inputs]
        one, other = _BACKWARD[name](gradient, values[first], values[second], values[place])
        add(first, one)
        if other is not None:
            add(second, other)
    return gradients[:num_inputs]


def _maximum_backward(
    gradient: torch.Tensor, a: torch.Tensor, b: torch.Tensor, y: torch.Tensor
) -> Gradients:
    of_a = gradient * ((a > b).to(y.dtype) + 0.5 * (a == b))  # equal ones share it, as in torch
    return of_a, gradient - of_a


_aten = torch.ops.aten
_FORWARD: dict[str, Operands] = {
    "add": torch.add,
    "subtract": torch.sub,
    "elem_mult": torch.mul,
    "max": torch.maximum,
    "tanh": lambda a, _: torch.tanh(a),
    "sigmoid": lambda a, _: torch.sigmoid(a),
    "relu": lambda a, _: torch.relu(a),
    "sin": lambda a, _: torch.sin(a),
}
_BACKWARD: dict[
    str, Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], Gradients]
] = {
    "add": lambda g, a, b, y: (g, g),
    "subtract": lambda g, a, b, y: (g, -g),
    "elem_mult": lambda g, a, b, y: (g * b, g * a),
    "max": _maximum_backward,
    "tanh": lambda g, a, b, y: (_aten.tanh_backward(g, y), None),
    "sigmoid": lambda g, a, b, y: (_aten.sigmoid_backward(g, y), None),
    "relu": lambda g, a, b, y: (_aten.threshold_backward(g, y, 0), None),
    "sin": lambda g, a, b, y: (g * torch.cos(a), None),
}
