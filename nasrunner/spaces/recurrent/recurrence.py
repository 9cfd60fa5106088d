"""A recurrent cell run over a sequence: the network layer that any cell is built as."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from nasrunner.spaces.recurrent.prepacked_product import product_with
from nasrunner.spaces.recurrent.program import Program, differentiate_step, run_step
from nasrunner.spaces.recurrent.stateful import (
    StatefulLayer,
    keep_mask,
    padded,
    padded_product,
)

# T = time steps, B = batch, I = size of a vector that comes in, H = hidden size, G = H * gates


class RecurrentLayer(StatefulLayer):
    """One layer of a recurrent cell: (B, T, I) to (B, T, H).

    W x_t of all gates and time steps is one matrix product before the loop over time, U h_{t-1}
    of all gates one in each step, and the derivative of U one product after the loop back.

    Args:
        in_units: I.
        units: H.
        program: the cell; a plain tuple of its parts does as well.
        state_dropout: as of ``StatefulLayer``.
    """

    num_values = 2  # h and c

    def __init__(self, in_units: int, units: int, program: Program, state_dropout: float) -> None:
        super().__init__(units, state_dropout)
        self.program = Program(*program)
        gates = self.program.gates
        self.from_input = nn.Linear(in_units, gates * units, bias=self.program.has_bias)
        self.from_state = nn.Linear(units, gates * units, bias=False)

    def products(self) -> Iterator[tuple[nn.Linear, int]]:
        for product in (self.from_input, self.from_state):
            yield product, self.program.gates

    def forward(self, x_BTI: torch.Tensor) -> torch.Tensor:
        x_TBI = x_BTI.transpose(0, 1)
        is_differentiated = torch.is_grad_enabled() and not torch.compiler.is_compiling()
        from_input = self.from_input
        x_TBG = padded_product(from_input, x_TBI) if is_differentiated else from_input(x_TBI)
        h_BH, c_BH = self.begin(x_TBG)
        mask_BH = keep_mask(h_BH, self.state_dropout) if self.training else None
        if is_differentiated:
            weight_GH = self.from_state.weight.to(x_TBG.dtype)  # which autocast may have chosen
            apply: Any = Recurrence.apply  # which torch leaves without types
            h_TBH, c_BH = apply(self.program, x_TBG, h_BH, c_BH, weight_GH, mask_BH)
        else:
            h_TBH, c_BH, _ = run(self.program, x_TBG, h_BH, c_BH, self._product, mask_BH)
        self.end(h_TBH[-1], c_BH)
        h_BTH: torch.Tensor = h_TBH.transpose(0, 1)
        return h_BTH

    def _product(self, h_BH: torch.Tensor) -> torch.Tensor:
        product_BG: torch.Tensor = self.from_state(h_BH)  # as a layer, whose cost can be counted
        return product_BG


def run(
    program: Program,
    x_TBG: torch.Tensor,
    h_BH: torch.Tensor,
    c_BH: torch.Tensor,
    product: Callable[[torch.Tensor], torch.Tensor],
    mask_BH: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor, list[list[torch.Tensor]]]:
    """Returns h_t of all time steps, the last c_t, and all values of every step.

    Args:
        program: the cell.
        x_TBG: W x_t.
        h_BH: h_t before the first step.
        c_BH: c_t before the first step.
        product: U h_{t-1}, of h_{t-1}.
        mask_BH: what h_{t-1} is multiplied by in there.
    """
    steps = []
    for x_BG in x_TBG.unbind(0):
        h_BG = product(h_BH if mask_BH is None else h_BH * mask_BH)
        parts = (*x_BG.chunk(program.gates, 1), *h_BG.chunk(program.gates, 1))
        values = run_step(program, h_BH, c_BH, parts)
        h_BH, c_BH = values[program.hidden], values[program.memory]
        steps.append(values)
    return torch.stack([values[program.hidden] for values in steps]), c_BH, steps


class Recurrence(torch.autograd.Function):
    """The loop over time, with a derivative that is a loop too: autograd records one node."""

    @staticmethod
    def forward(
        ctx: Any,
        program: Program,
        x_TBG: torch.Tensor,
        h_BH: torch.Tensor,
        c_BH: torch.Tensor,
        weight_GH: torch.Tensor,
        mask_BH: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        product = product_with(weight_GH, len(h_BH))
        h_TBH, last_BH, steps = run(program, x_TBG, h_BH, c_BH, product, mask_BH)
        ctx.program, ctx.steps = program, steps
        ctx.save_for_backward(h_TBH, h_BH, weight_GH, mask_BH)
        ctx.set_materialize_grads(False)
        return h_TBH, last_BH.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *of_outputs: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
        (h_TBH, h0_BH, weight_GH, mask_BH), program = ctx.saved_tensors, ctx.program
        of_h_TBH, of_c_BH = of_outputs
        num_steps, size = len(ctx.steps), h0_BH.shape[1]
        of_x_TBG = h_TBH.new_zeros(*h_TBH.shape[:2], program.gates * size)
        of_product_TBG = torch.zeros_like(of_x_TBG)
        of_h_BH = torch.zeros_like(h0_BH)
        product = product_with(weight_GH.t(), len(h0_BH))
        for t in reversed(range(num_steps)):
            if of_h_TBH is not None:
                of_h_BH = of_h_BH + of_h_TBH[t]
            inputs = differentiate_step(program, ctx.steps[t], of_h_BH, of_c_BH)
            of_direct_BH, of_c_BH, *of_parts = inputs
            _write(of_x_TBG[t], of_parts[: program.gates])
            _write(of_product_TBG[t], of_parts[program.gates :])
            of_h_BH = product(of_product_TBG[t])
            of_h_BH = of_h_BH if mask_BH is None else of_h_BH * mask_BH
            of_h_BH = of_h_BH if of_direct_BH is None else of_h_BH + of_direct_BH
        before_TBH = torch.cat([h0_BH[None], h_TBH[:-1]])
        before_TBH = before_TBH if mask_BH is None else before_TBH * mask_BH
        of_weight_GH = of_product_TBG.flatten(0, 1).t() @ padded(before_TBH).flatten(0, 1)
        return None, of_x_TBG, of_h_BH, of_c_BH, of_weight_GH[:, :size], None


def _write(into_BG: torch.Tensor, parts: list[torch.Tensor | None]) -> None:
    for place, part in zip(into_BG.chunk(len(parts), 1), parts, strict=True):
        if part is not None:
            place.copy_(part)
