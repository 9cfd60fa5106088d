"""What a cell of highway nodes computes in one time step, and its derivative.

Zilly et al. 2016, arXiv:1607.03474; Pham et al. 2018, arXiv:1802.03268, section 2.1.
"""

import functools
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Literal, NamedTuple

import torch

# B = batch, H = hidden size, K = nodes of a group, P = 2 * K * H

Mean = Literal["loose_ends", "nodes"]
"""Whose mean h_t is: of the nodes that no other takes, or of all but the first."""

Weights = Literal["edge", "node"]
"""What has a matrix of its own: each pair of nodes, or each node, whichever it takes."""


class Wiring(NamedTuple):
    """A cell of highway nodes.

    Node j is s_j = c f(s_i V) + (1 - c) s_i of an earlier node i, where c = sigmoid(s_i U). The
    first, node 0, takes h_{t-1} for s_i, and x_t is added to its products: x W.

    Attributes:
        first: the activation of node 0.
        nodes: of node 1, 2, …: the node that it takes, and its activation.
        mean: whose mean h_t is.
        weights: what has matrices U and V of its own.
    """

    first: str
    nodes: tuple[tuple[int, str], ...]
    mean: Mean
    weights: Weights

    def outputs(self) -> tuple[int, ...]:
        """Returns the nodes whose mean is h_t."""
        if self.mean == "nodes":
            return tuple(range(1, len(self.nodes) + 1))
        taken = {source for source, _ in self.nodes}
        return tuple(node for node in range(len(self.nodes) + 1) if node not in taken)

    def groups(self) -> "tuple[HighwayGroup, ...]":
        """Returns the nodes by what they take, which is computed before them."""
        groups = [HighwayGroup(_STATE, (0,), ((self.first, 1),))]
        nodes = [(source, name, target) for target, (source, name) in enumerate(self.nodes, 1)]
        for source, found in groupby(sorted(nodes), key=lambda node: node[0]):
            taking = list(found)
            targets = tuple(target for _, _, target in taking)
            runs = groupby(name for _, name, _ in taking)
            groups.append(
                HighwayGroup(source, targets, tuple((n, len(list(run))) for n, run in runs))
            )
        return tuple(groups)


def edge_name(source: int, target: int, weights: Weights) -> str:
    """Returns what the matrices are called by which a node takes another."""
    return f"{source}-{target}" if weights == "edge" else str(target)


_STATE = -1
"""The place of h_{t-1} among the values of a step: behind those of the nodes."""


class HighwayGroup(NamedTuple):
    """Nodes that take the same one, whose products are one.

    Attributes:
        source: what they take: a node, or -1 for h_{t-1}.
        targets: they, those of one activation in a row.
        activations: each activation, and how many of them have it.
    """

    source: int
    targets: tuple[int, ...]
    activations: tuple[tuple[str, int], ...]


def stacked(weights: Sequence[torch.Tensor]) -> torch.Tensor:
    """Puts the matrices of a group, each (2H, H), together as (P, H): all U, then all V."""
    if len(weights) == 1:
        return weights[0]
    size = weights[0].shape[1]
    return torch.stack([each.view(2, size, size) for each in weights], 1).view(-1, size)


def unstacked(matrix_PH: torch.Tensor, num_nodes: int) -> list[torch.Tensor]:
    """Takes them apart again."""
    if num_nodes == 1:
        return [matrix_PH]
    size = matrix_PH.shape[1]
    parts = matrix_PH.view(2, num_nodes, size, size).unbind(1)
    return [each.reshape(2 * size, size) for each in parts]


class Made(NamedTuple):
    """What a group has made in a time step; (B, H) each where it is of one node.

    Attributes:
        gates_BKH: c of each node.
        found_BKH: f(s_i V) of each node.
        by_activation: the parts of that, of each activation.
    """

    gates_BKH: torch.Tensor
    found_BKH: torch.Tensor
    by_activation: Sequence[torch.Tensor]


def run_group(
    group: HighwayGroup, source_BH: torch.Tensor, product_BP: torch.Tensor
) -> tuple[Sequence[torch.Tensor], Made]:
    """Computes the nodes of a group, (B, H) each.

    Args:
        group: they.
        source_BH: what they take.
        product_BP: s_i U of all of them, then s_i V; is overwritten.
    """
    num_nodes = len(group.targets)
    halves = product_BP.view(product_BP.shape[0], 2, *_of_nodes(num_nodes), -1)
    gates_BKH, found_BKH = halves[:, 0], halves[:, 1]
    by_activation = _cut(group, found_BKH, 1)
    if torch.compiler.is_compiling():  # no part of a split may be overwritten there
        gates_BKH = gates_BKH.sigmoid()
        names = [name for name, _ in group.activations]
        parts = zip(names, by_activation, strict=True)
        by_activation = [_IN_PLACE[name](part.clone()) for name, part in parts]
        found_BKH = torch.cat(by_activation, 1) if len(by_activation) > 1 else by_activation[0]
    else:
        gates_BKH.sigmoid_()
        for (name, _), part in zip(group.activations, by_activation, strict=True):
            _IN_PLACE[name](part)
    made = Made(gates_BKH, found_BKH, by_activation)
    if num_nodes == 1:
        return (torch.lerp(source_BH, found_BKH, gates_BKH),), made
    return torch.lerp(source_BH.unsqueeze(1), found_BKH, gates_BKH).unbind(1), made


def places_of(group: HighwayGroup, of_product_TBP: torch.Tensor) -> list[Made]:
    """Returns where the derivatives of each time step's ``Made`` are written in one tensor."""
    shape = (*of_product_TBP.shape[:2], 2, *_of_nodes(len(group.targets)), -1)
    halves = of_product_TBP.view(shape)
    gates, found = halves[:, :, 0], halves[:, :, 1]
    parts = [each.unbind(0) for each in _cut(group, found, 2)]
    return [
        Made(*each)
        for each in zip(gates.unbind(0), found.unbind(0), zip(*parts, strict=True), strict=True)
    ]


def differentiate_group(
    group: HighwayGroup,
    of_nodes: Sequence[torch.Tensor],
    source_BH: torch.Tensor,
    made: Made,
    into: Made,
) -> torch.Tensor:
    """Returns the derivative with respect to what a group takes, but for that of its products.

    Args:
        group: whose.
        of_nodes: derivative of the loss with respect to each of its nodes.
        source_BH: what they take.
        made: what ``run_group`` has made.
        into: where the derivative with respect to its products is written.
    """
    if len(of_nodes) == 1:
        of_nodes_BKH = of_nodes[0]
    else:
        of_nodes_BKH, source_BH = torch.stack(list(of_nodes), 1), source_BH.unsqueeze(1)
    of_gates_BKH = of_nodes_BKH * (made.found_BKH - source_BH)
    _sigmoid_backward(of_gates_BKH, made.gates_BKH, grad_input=into.gates_BKH)
    through_BKH = of_nodes_BKH * made.gates_BKH
    of_parts = _cut(group, through_BKH, 1)
    each_part = zip(
        group.activations, of_parts, made.by_activation, into.by_activation, strict=True
    )
    for (name, _), of_part, part, place in each_part:
        _BACKWARD[name](of_part, part, place)
    past_BKH = of_nodes_BKH - through_BKH
    return past_BKH if len(of_nodes) == 1 else total(past_BKH.unbind(1))


def total(values: Sequence[torch.Tensor]) -> torch.Tensor:
    """Adds up a few values: torch's sum takes ten times as long for small ones."""
    return functools.reduce(torch.add, values)


def _of_nodes(count: int) -> tuple[int, ...]:
    """The dimension of a group's nodes; none for a single one."""
    return (count,) if count > 1 else ()


def _cut(group: HighwayGroup, values: torch.Tensor, dim: int) -> Sequence[torch.Tensor]:
    """The parts of each activation."""
    if len(group.activations) == 1:
        return (values,)
    return torch.split(values, [count for _, count in group.activations], dim)


_sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input
_tanh_backward = torch.ops.aten.tanh_backward.grad_input
_threshold_backward = torch.ops.aten.threshold_backward.grad_input
_IN_PLACE: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "identity": lambda a: a,
    "tanh": torch.Tensor.tanh_,
    "sigmoid": torch.Tensor.sigmoid_,
    "relu": torch.Tensor.relu_,
}
_BACKWARD: dict[str, Callable[[torch.Tensor, torch.Tensor, torch.Tensor], object]] = {
    "identity": lambda g, y, out: out.copy_(g),
    "tanh": lambda g, y, out: _tanh_backward(g, y, grad_input=out),
    "sigmoid": lambda g, y, out: _sigmoid_backward(g, y, grad_input=out),
    "relu": lambda g, y, out: _threshold_backward(g, y, 0, grad_input=out),
}
