"""A cell of highway nodes run over a sequence: the network layer that it is built as."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import nn

from nasrunner.spaces.recurrent.highway import (
    HighwayGroup,
    Made,
    Wiring,
    differentiate_group,
    edge_name,
    places_of,
    run_group,
    stacked,
    total,
    unstacked,
)
from nasrunner.spaces.recurrent.prepacked_product import product_with
from nasrunner.spaces.recurrent.stateful import StatefulLayer, keep_mask, padded, padded_product

# T = time steps, B = batch, I = size of a vector that comes in, H = hidden size
# P = 2 * H * nodes of a group

Product = Callable[[torch.Tensor], torch.Tensor]


class HighwayLayer(StatefulLayer):
    """One layer of a cell of highway nodes: (B, T, I) to (B, T, H).

    x W of all time steps is one matrix product before the loop over time; in each step the nodes
    that take the same one have one product. The derivatives of the matrices are products after
    the loop back.

    The matrices of a node are ``edges.<i>-<j>``, or ``edges.<j>`` where they are its own whichever
    it takes: networks whose weights are shared know them by these names.

    Args:
        in_units: I.
        units: H.
        wiring: the cell; a plain tuple of its parts does as well.
        state_dropout: as of ``StatefulLayer``; what each node takes has the same zeros.
    """

    def __init__(self, in_units: int, units: int, wiring: Wiring, state_dropout: float) -> None:
        super().__init__(units, state_dropout)
        self.wiring = Wiring(*wiring)
        self.groups = self.wiring.groups()
        self.from_input = nn.Linear(in_units, 2 * units, bias=False)
        self.from_state = nn.Linear(units, 2 * units, bias=False)
        edges = enumerate(self.wiring.nodes, 1)
        names = [edge_name(source, node, self.wiring.weights) for node, (source, _) in edges]
        self.edges = nn.ModuleDict({name: nn.Linear(units, 2 * units, False) for name in names})
        self._names = dict(enumerate(names, 1))

    def products(self) -> Iterator[tuple[nn.Linear, int]]:
        for product in (self.from_input, self.from_state, *self.edges.values()):
            assert isinstance(product, nn.Linear)
            yield product, 2

    def forward(self, x_BTI: torch.Tensor) -> torch.Tensor:
        x_TBI = x_BTI.transpose(0, 1)
        is_differentiated = torch.is_grad_enabled() and not torch.compiler.is_compiling()
        from_input = self.from_input
        x_TBP = padded_product(from_input, x_TBI) if is_differentiated else from_input(x_TBI)
        (h_BH,) = self.begin(x_TBP)
        mask_BH = keep_mask(h_BH, self.state_dropout) if self.training else None
        weights = [each.to(x_TBP.dtype) for each in self._weights()]  # autocast may have chosen
        outputs = self.wiring.outputs()
        if is_differentiated:
            apply: Any = HighwayRecurrence.apply  # which torch leaves without types
            h_TBH = apply(self.groups, outputs, x_TBP, h_BH, mask_BH, *weights)
        else:
            products = [_product_with(each) for each in _by_group(self.groups, weights)]
            h_TBH, _ = run_highway(self.groups, outputs, x_TBP, h_BH, products, mask_BH)
        self.end(h_TBH[-1])
        h_BTH: torch.Tensor = h_TBH.transpose(0, 1)
        return h_BTH

    def _weights(self) -> Iterator[torch.Tensor]:
        """The matrices, in the order of the groups' nodes."""
        others = self.groups[1:]
        yield self.from_state.weight
        for group in others:
            for target in group.targets:
                layer = self.edges[self._names[target]]
                assert isinstance(layer, nn.Linear)
                yield layer.weight


def _product_with(weight_PH: torch.Tensor) -> Product:
    return lambda h_BH: nn.functional.linear(h_BH, weight_PH)


def _products_with(matrices: Sequence[torch.Tensor], num_rows: int) -> list[Product]:
    whole = sum(each.numel() for each in matrices)
    return [product_with(each, num_rows, whole - each.numel()) for each in matrices]


def _by_group(
    groups: Sequence[HighwayGroup], weights: Sequence[torch.Tensor]
) -> Iterator[torch.Tensor]:
    """The matrices of each group as one."""
    given = iter(weights)
    for group in groups:
        yield stacked([next(given) for _ in group.targets])


Step = tuple[list[torch.Tensor], list[Made]]
"""Of one time step: the nodes, h_{t-1} last, and what each group has made."""


def run_highway(
    groups: Sequence[HighwayGroup],
    outputs: Sequence[int],
    x_TBP: torch.Tensor,
    h_BH: torch.Tensor,
    products: Sequence[Product],
    mask_BH: torch.Tensor | None,
) -> tuple[torch.Tensor, list[Step]]:
    """Returns h_t of all time steps, and what every step has computed.

    Args:
        groups: the cell's nodes.
        outputs: those whose mean is h_t.
        x_TBP: x_t W.
        h_BH: h_t before the first step.
        products: of what each group takes.
        mask_BH: what that is multiplied by in there.
    """
    steps: list[Step] = []
    found = []
    num_nodes = sum(len(group.targets) for group in groups)
    for x_BP in x_TBP.unbind(0):
        nodes = [h_BH] * (num_nodes + 1)  # each is put in its place before another one takes it
        by_group = []
        for group, product in zip(groups, products, strict=True):
            source_BH = nodes[group.source]
            product_BP = product(source_BH if mask_BH is None else source_BH * mask_BH)
            if group.source < 0:
                product_BP = product_BP + x_BP
            values, made = run_group(group, source_BH, product_BP)
            for target, value_BH in zip(group.targets, values, strict=True):
                nodes[target] = value_BH
            by_group.append(made)
        h_BH = total([nodes[node] for node in outputs])
        h_BH = h_BH if len(outputs) == 1 else h_BH / len(outputs)
        found.append(h_BH)
        steps.append((nodes, by_group))
    return torch.stack(found), steps


class HighwayRecurrence(torch.autograd.Function):
    """The loop over time, with a derivative that is a loop too: autograd records one node."""

    @staticmethod
    def forward(
        ctx: Any,
        groups: Sequence[HighwayGroup],
        outputs: Sequence[int],
        x_TBP: torch.Tensor,
        h_BH: torch.Tensor,
        mask_BH: torch.Tensor | None,
        *weights: torch.Tensor,
    ) -> torch.Tensor:
        matrices = list(_by_group(groups, weights))
        products = _products_with(matrices, len(h_BH))
        h_TBH, steps = run_highway(groups, outputs, x_TBP, h_BH, products, mask_BH)
        ctx.groups, ctx.outputs, ctx.steps = groups, outputs, steps
        ctx.save_for_backward(h_BH, mask_BH, *matrices)
        return h_TBH

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, of_h_TBH: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        h0_BH, mask_BH, *matrices = ctx.saved_tensors
        groups, steps = ctx.groups, ctx.steps
        num_steps, batch = of_h_TBH.shape[:2]
        products = _products_with([each.t() for each in matrices], batch)
        of_products = [of_h_TBH.new_empty(num_steps, batch, len(each)) for each in matrices]
        places = [places_of(*each) for each in zip(groups, of_products, strict=True)]
        of_h_BH, share = torch.zeros_like(h0_BH), 1 / len(ctx.outputs)
        of_shares_TBH = of_h_TBH * share
        for t in reversed(range(num_steps)):
            of_this_BH = torch.add(of_shares_TBH[t], of_h_BH, alpha=share)
            into = [(whole[t], parts[t]) for whole, parts in zip(of_products, places, strict=True)]
            of_h_BH = _differentiate_step(
                groups, ctx.outputs, steps[t], of_this_BH, products, into, mask_BH
            )
        of_weights: list[torch.Tensor] = []
        for number, group in enumerate(groups):
            taken_TBH = torch.stack([nodes[group.source] for nodes, _ in steps])
            taken_TBH = taken_TBH if mask_BH is None else taken_TBH * mask_BH
            of_product = of_products[number].flatten(0, 1)
            of_matrix_PH = of_product.t() @ padded(taken_TBH).flatten(0, 1)
            of_weights += unstacked(of_matrix_PH[:, : h0_BH.shape[1]], len(group.targets))
        return None, None, of_products[0], of_h_BH, None, *of_weights


def _differentiate_step(
    groups: Sequence[HighwayGroup],
    outputs: Sequence[int],
    step: Step,
    of_output_BH: torch.Tensor,
    products: Sequence[Product],
    into: Sequence[tuple[torch.Tensor, Made]],
    mask_BH: torch.Tensor | None,
) -> torch.Tensor:
    """The derivative with respect to h_{t-1}.

    Args:
        groups: the cell's nodes.
        outputs: those whose mean is h_t.
        step: what was computed.
        of_output_BH: derivative of the loss with respect to each of ``outputs``.
        products: of a derivative with the matrices of each group.
        into: where the derivative with respect to each group's products is written, and its parts.
        mask_BH: what was multiplied by what a group takes.
    """
    nodes, by_group = step
    of_nodes: dict[int, torch.Tensor] = dict.fromkeys(outputs, of_output_BH)
    for number in reversed(range(len(groups))):
        group, (of_product_BP, parts) = groups[number], into[number]
        of_targets = [of_nodes[target] for target in group.targets]
        of_direct_BH = differentiate_group(
            group, of_targets, nodes[group.source], by_group[number], parts
        )
        of_source_BH = products[number](of_product_BP)
        of_source_BH = of_source_BH if mask_BH is None else of_source_BH * mask_BH
        of_source_BH = of_source_BH + of_direct_BH
        before = of_nodes.get(group.source)
        of_nodes[group.source] = of_source_BH if before is None else of_source_BH + before
    return of_nodes[-1]
