"""All cells of highway nodes at once, by weights of their choices: what DARTS searches with.

Liu et al. 2019, arXiv:1806.09055, eq. 2 and section 3.2.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import nn

from nasrunner.spaces.recurrent.highway import Mean, Weights, edge_name
from nasrunner.spaces.recurrent.stateful import StatefulLayer, keep_mask

# T = time steps, B = batch, I = size of a vector that comes in, H = hidden size
# E = earlier nodes, L = later nodes, A = activations

_FUNCTIONS = {
    "identity": lambda a: a,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "relu": torch.relu,
}


class _Options(NamedTuple):
    """The weights by which nodes take one value.

    Attributes:
        by_activation: of each activation, one for each of the nodes.
        sums_L1: of all activations.
    """

    by_activation: Sequence[torch.Tensor]
    sums_L1: torch.Tensor

    @classmethod
    def of(cls, weights: Sequence[torch.Tensor], dtype: torch.dtype) -> "_Options":
        """Returns of (A,) for each of the nodes, in the type of these, which autocast may have
        chosen.
        """
        weights_LA = torch.stack(list(weights))
        sums_L1 = weights_LA.sum(1, keepdim=True).to(dtype)
        return cls(weights_LA.to(dtype).unsqueeze(2).unbind(1), sums_L1)


class HighwayMixture(StatefulLayer):
    """One layer whose nodes take all earlier ones, with all activations: (B, T, I) to (B, T, H).

    With w the weights of node j, it is Σ_i Σ_a w_ia (c f_a(s_i V) + (1 - c) s_i), where c, U and V
    are those of the pair, or of node j: with a single 1 in w what ``HighwayLayer`` computes. An
    option that makes zeros, as DARTS has one, takes its share out of w: the rest is given here.

    The mean of the loose ends weighs each node by how far no later one takes it: Π_j (1 - Σ_a w_ia)
    over the later nodes j, which is 1 or 0 where each takes one.

    Its matrices have the names that they have in ``HighwayLayer``.

    Args:
        in_units: I.
        units: H.
        num_nodes: node 0 included.
        activations: by name, in the order of w.
        first: the activation of node 0; None: it has weights, too.
        mean: whose mean h_t is.
        weights: what has matrices of its own.
        state_dropout: as of ``StatefulLayer``; what each node takes has the same zeros.
        normalizes: whether each node is normalized over the batch, without parameters, which
            keeps the sum over many from exploding: section 3.2 there. Cells of one choice, which
            this is not for, have no normalization.

    Attributes:
        choices: the weights that the next calls use, see ``weigh``.
        rows: what its weights are of: for each node the decisions of its earlier nodes.
    """

    def __init__(
        self,
        in_units: int,
        units: int,
        num_nodes: int,
        activations: Sequence[str],
        first: str | None,
        mean: Mean,
        weights: Weights,
        state_dropout: float,
        normalizes: bool = False,
    ) -> None:
        super().__init__(units, state_dropout)
        self.num_nodes = num_nodes
        self.activations = tuple(activations)
        self.first = first
        self.mean = mean
        self.weights = weights
        self.normalizes = normalizes
        self.choices: Sequence[torch.Tensor] = ()
        self.rows: Sequence[Sequence[str]] = ()
        self.from_input = nn.Linear(in_units, 2 * units, bias=False)
        self.from_state = nn.Linear(units, 2 * units, bias=False)
        pairs = ((i, j) for j in range(1, num_nodes) for i in range(j))
        names = dict.fromkeys(edge_name(i, j, weights) for i, j in pairs)
        self.edges = nn.ModuleDict({name: nn.Linear(units, 2 * units, False) for name in names})

    def products(self) -> Iterator[tuple[nn.Linear, int]]:
        for product in (self.from_input, self.from_state, *self.edges.values()):
            assert isinstance(product, nn.Linear)
            yield product, 2

    def weigh(self, choices: Sequence[torch.Tensor]) -> None:
        """Sets how much each choice counts, from the next call on; derivatives go to them.

        Args:
            choices: of each node, by (earlier node, activation): (E, A), E = j for node j. Where
                node 0's activation is chosen it comes first, with E = 1; else there is none of
                node 0.

        Raises:
            ValueError: they are not as many or not of these shapes.
        """
        wanted = self.shapes()
        found = [tuple(each.shape) for each in choices]
        if found != wanted:
            raise ValueError(f"the weights of choices must have the shapes {wanted}, got {found}")
        self.choices = tuple(choices)

    def shapes(self) -> list[tuple[int, int]]:
        """Returns the shapes of what ``weigh`` takes."""
        of_first = [] if self.first is not None else [1]
        earlier = [*of_first, *range(1, self.num_nodes)]
        return [(each, len(self.activations)) for each in earlier]

    def forward(self, x_BTI: torch.Tensor) -> torch.Tensor:
        if not self.choices:
            raise ValueError("how much each choice counts was not said: call weigh first")
        x_TBG = self.from_input(x_BTI.transpose(0, 1))
        (h_BH,) = self.begin(x_TBG)
        mask_BH = keep_mask(h_BH, self.state_dropout) if self.training else None
        of_first, later = self._split()
        earlier, dtype = range(self.num_nodes - 1), x_TBG.dtype
        by_node = [_Options.of([w_EA[i] for w_EA in later[i:]], dtype) for i in earlier]
        first = None if of_first is None else _Options.of(of_first.unbind(0), dtype)
        matrices = [self._matrix(node) for node in earlier]
        shares = self._shares(later, dtype)
        found = []
        for x_BG in x_TBG.unbind(0):
            h_BH = self._step(x_BG, h_BH, mask_BH, first, by_node, matrices, shares)
            found.append(h_BH)
        self.end(h_BH)
        return torch.stack(found, 1)

    def _step(
        self,
        x_BG: torch.Tensor,
        h_BH: torch.Tensor,
        mask_BH: torch.Tensor | None,
        first: "_Options | None",
        by_node: "Sequence[_Options]",
        matrices: Sequence[torch.Tensor],
        shares: torch.Tensor | None,
    ) -> torch.Tensor:
        """h_t of one time step."""

        def masked(value_BH: torch.Tensor) -> torch.Tensor:
            return value_BH if mask_BH is None else value_BH * mask_BH

        gate_BH, into_BH = (self.from_state(masked(h_BH)) + x_BG).chunk(2, 1)
        if first is None:
            assert self.first is not None
            value_BH = torch.lerp(h_BH, _FUNCTIONS[self.first](into_BH), gate_BH.sigmoid())
        else:
            value_BH = self._mixed(h_BH[:, None], gate_BH[:, None], into_BH[:, None], first)[:, 0]
        nodes = [self._normalized(value_BH)]
        sums_BLH: torch.Tensor | None = None  # of what later nodes have taken so far
        for options, matrix in zip(by_node, matrices, strict=True):
            # All later nodes take it, with one product.
            source_BH = nodes[-1]
            product_BL2H = nn.functional.linear(masked(source_BH), matrix)
            gate_BLH, into_BLH = product_BL2H.view(len(h_BH), -1, 2, self.units).unbind(2)
            mixed_BLH = self._mixed(source_BH[:, None], gate_BLH, into_BLH, options)
            sums_BLH = mixed_BLH if sums_BLH is None else sums_BLH + mixed_BLH
            # Two slices would have a derivative of zeros each.
            next_B1H, sums_BLH = torch.split(sums_BLH, [1, sums_BLH.shape[1] - 1], 1)
            nodes.append(self._normalized(next_B1H[:, 0]))
        if shares is None:
            return torch.stack(nodes[1:]).mean(0)
        return torch.einsum("n,nbh->bh", shares, torch.stack(nodes))

    def _mixed(
        self,
        source_B1H: torch.Tensor,
        gate_BLH: torch.Tensor,
        into_BLH: torch.Tensor,
        options: "_Options",
    ) -> torch.Tensor:
        """Σ_a w_a (c f_a(s V) + (1 - c) s) = c Σ_a w_a f_a(s V) + (1 - c) s Σ_a w_a."""
        found_BLH: torch.Tensor | None = None
        for weights_L1, name in zip(options.by_activation, self.activations, strict=True):
            made_BLH = _FUNCTIONS[name](into_BLH)
            if found_BLH is None:
                found_BLH = weights_L1 * made_BLH
            else:
                found_BLH = torch.addcmul(found_BLH, weights_L1, made_BLH)
        assert found_BLH is not None
        return torch.lerp(options.sums_L1 * source_B1H, found_BLH, gate_BLH.sigmoid())

    def _normalized(self, value_BH: torch.Tensor) -> torch.Tensor:
        if not self.normalizes:
            return value_BH
        return nn.functional.batch_norm(value_BH, None, None, training=True)

    def _split(self) -> tuple[torch.Tensor | None, Sequence[torch.Tensor]]:
        """The weights of node 0's activations, and those of the later nodes."""
        if self.first is not None:
            return None, self.choices
        return self.choices[0], self.choices[1:]

    def _matrix(self, node: int) -> torch.Tensor:
        """The matrices by which all later nodes take a node, as one."""
        names = [edge_name(node, j, self.weights) for j in range(node + 1, self.num_nodes)]
        return torch.cat([self.edges[name].weight for name in names])  # type: ignore[misc]

    def _shares(self, later: Sequence[torch.Tensor], dtype: torch.dtype) -> torch.Tensor | None:
        """How much each node counts in the mean of the loose ends; None: it is another mean."""
        if self.mean == "nodes":
            return None
        loose = [
            torch.stack([1 - w_EA[node].sum() for w_EA in later[node:]]).prod()
            for node in range(self.num_nodes - 1)
        ]
        loose_N = torch.stack([*loose, torch.ones_like(loose[0])])
        return (loose_N / loose_N.sum()).to(dtype)
