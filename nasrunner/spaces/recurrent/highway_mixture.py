"""All cells of highway nodes at once, by weights of their choices: what DARTS searches with.

Liu et al. 2019, arXiv:1806.09055, eq. 2 and section 3.2.
"""

from collections.abc import Iterator, Sequence

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
        (h_BH,) = self.begin(x_TBG, 1)
        mask_BH = keep_mask(h_BH, self.state_dropout) if self.training else None
        of_first, later = self._split()
        matrices = [self._matrix(node) for node in range(self.num_nodes - 1)]
        shares = self._shares(later)
        found = []
        for x_BG in x_TBG.unbind(0):
            h_BH = self._step(x_BG, h_BH, mask_BH, of_first, later, matrices, shares)
            found.append(h_BH)
        self.end(h_BH)
        return torch.stack(found, 1)

    def _step(
        self,
        x_BG: torch.Tensor,
        h_BH: torch.Tensor,
        mask_BH: torch.Tensor | None,
        of_first: torch.Tensor | None,
        later: Sequence[torch.Tensor],
        matrices: Sequence[torch.Tensor],
        shares: torch.Tensor | None,
    ) -> torch.Tensor:
        """h_t of one time step."""

        def masked(value_BH: torch.Tensor) -> torch.Tensor:
            return value_BH if mask_BH is None else value_BH * mask_BH

        gate_BH, into_BH = (self.from_state(masked(h_BH)) + x_BG).chunk(2, 1)
        if of_first is None:
            assert self.first is not None
            found_BH = torch.lerp(h_BH, _FUNCTIONS[self.first](into_BH), gate_BH.sigmoid())
        else:
            found_BH = self._mixed(h_BH, gate_BH.sigmoid(), into_BH, of_first[0])
        nodes: list[torch.Tensor] = []
        sums: list[torch.Tensor | None] = [None] * self.num_nodes
        for node in range(self.num_nodes):
            value_BH = found_BH if node == 0 else sums[node]
            assert value_BH is not None
            nodes.append(value_BH := self._normalized(value_BH))
            if node == self.num_nodes - 1:
                break
            # All later nodes take it, with one product.
            product_BL2H = nn.functional.linear(masked(value_BH), matrices[node])
            gates, intos = product_BL2H.view(len(h_BH), -1, 2, self.units).unbind(2)
            weights_LA = torch.stack([w_EA[node] for w_EA in later[node:]])
            mixed = self._mixed(value_BH.unsqueeze(1), gates.sigmoid(), intos, weights_LA)
            for target, term_BH in enumerate(mixed.unbind(1), node + 1):
                before = sums[target]
                sums[target] = term_BH if before is None else before + term_BH
        if shares is None:
            return torch.stack(nodes[1:]).mean(0)
        return torch.einsum("n,nbh->bh", shares, torch.stack(nodes))

    def _mixed(
        self, source: torch.Tensor, gate: torch.Tensor, into: torch.Tensor, weights: torch.Tensor
    ) -> torch.Tensor:
        """Σ_a w_a (c f_a(s V) + (1 - c) s) = c Σ_a w_a f_a(s V) + (1 - c) s Σ_a w_a."""
        terms = [
            weights[..., place].unsqueeze(-1) * _FUNCTIONS[name](into)
            for place, name in enumerate(self.activations)
        ]
        passed = weights.sum(-1).unsqueeze(-1) * source
        return torch.lerp(passed, torch.stack(terms).sum(0), gate)

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

    def _shares(self, later: Sequence[torch.Tensor]) -> torch.Tensor | None:
        """How much each node counts in the mean of the loose ends; None: it is another mean."""
        if self.mean == "nodes":
            return None
        loose = [
            torch.stack([1 - w_EA[node].sum() for w_EA in later[node:]]).prod()
            for node in range(self.num_nodes - 1)
        ]
        loose_N = torch.stack([*loose, torch.ones_like(loose[0])])
        return loose_N / loose_N.sum()
