"""A layer that computes all cells of highway nodes by weights of their choices."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from nasrunner.core.order import rollout
from nasrunner.spaces import DartsRnn, EnasCell, HighwayCell
from nasrunner.spaces.recurrent.highway_mixture import HighwayMixture

# B = batch, T = time steps, I = size of a vector that comes in, H = hidden size
# E = earlier nodes, A = activations

ALL = ("tanh", "relu", "identity", "sigmoid")
SPACES = {"enas": EnasCell(5, ALL), "darts": DartsRnn(4, ALL)}


def mixture_of(space: EnasCell | DartsRnn) -> HighwayMixture:
    torch.manual_seed(0)
    return space.mixture(3, 4, 0.0).double()


def one_hot(space: EnasCell | DartsRnn, cell: HighwayCell) -> list[torch.Tensor]:
    chosen = [(0, cell.first)] if space.first is None else []
    choices = []
    for number, (source, name) in enumerate([*chosen, *cell.nodes], 1 - len(chosen)):
        weights = torch.zeros(max(number, 1), len(ALL), dtype=torch.float64)
        weights[int(source), ALL.index(str(name))] = 1
        choices.append(weights)
    return choices


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_with_one_choice_it_is_the_cell_of_that(space: EnasCell | DartsRnn) -> None:
    mixture, rng = mixture_of(space), np.random.default_rng(0)
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    for _ in range(8):
        cell: Any = space.freeze(rollout(space, rng))
        layer = cell.layer(3, 4, 0.0).double()
        shared = {k: v for k, v in mixture.state_dict().items() if k in layer.state_dict()}
        layer.load_state_dict(shared)
        mixture.weigh(one_hot(space, cell))
        outputs = [each(x) for each in (mixture, layer)]
        torch.testing.assert_close(*outputs)
        named = dict(layer.named_parameters())
        of_layer = torch.autograd.grad(outputs[1].square().sum(), tuple(named.values()))
        mixed = [dict(mixture.named_parameters())[name] for name in named]
        of_mixture = torch.autograd.grad(outputs[0].square().sum(), mixed)
        torch.testing.assert_close(of_mixture, of_layer)


def random_choices(mixture: HighwayMixture) -> list[torch.Tensor]:
    """As DARTS has them: a softmax over the activations and zero for each pair of nodes."""
    generator = torch.Generator().manual_seed(1)
    return [
        torch.randn(e, a + 1, generator=generator, dtype=torch.float64).softmax(1)[:, 1:]
        for e, a in mixture.shapes()
    ]


def test_a_node_is_the_weighted_sum_of_all_that_it_may_be() -> None:
    """Liu et al. 2019, eq. 2, as the authors' rnn/model_search.py writes it out."""
    mixture = mixture_of(SPACES["darts"])
    choices = random_choices(mixture)
    mixture.weigh(choices)
    x = torch.randn(2, 3, 3, dtype=torch.float64)
    functions: Sequence[Any] = (torch.tanh, torch.relu, lambda a: a, torch.sigmoid)
    h = torch.zeros(2, 4, dtype=torch.float64)
    for step in range(3):
        gate, into = (mixture.from_input(x[:, step]) + mixture.from_state(h)).chunk(2, 1)
        nodes = [h + gate.sigmoid() * (into.tanh() - h)]
        for number in range(1, 5):
            value = torch.zeros_like(h)
            for earlier, (place, function) in itertools.product(
                range(number), enumerate(functions)
            ):
                s = nodes[earlier]
                gate, into = mixture.edges[str(number)](s).chunk(2, 1)
                taken = s + gate.sigmoid() * (function(into) - s)
                value = value + choices[number - 1][earlier, place] * taken
            nodes.append(value)
        h = torch.stack(nodes[1:]).mean(0)
        torch.testing.assert_close(mixture(x)[:, step], h)


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_every_weight_of_a_choice_has_a_derivative(space: EnasCell | DartsRnn) -> None:
    mixture = mixture_of(space)
    choices = [each.requires_grad_() for each in random_choices(mixture)]

    def loss(*given: torch.Tensor) -> torch.Tensor:
        mixture.weigh(given)
        y: torch.Tensor = mixture(x)
        return y

    x = torch.randn(2, 2, 3, dtype=torch.float64)
    assert torch.autograd.gradcheck(loss, tuple(choices))
    loss(*choices).square().sum().backward()
    assert all(each.grad is not None and (each.grad != 0).all() for each in choices)


def test_half_a_loose_end_counts_half() -> None:
    """Node 1 is taken by node 2 half of the time: its share is 0.5 of 0.5 + 1."""
    space = EnasCell(3, ("tanh",))
    mixture = space.mixture(3, 4, 0.0)
    whole, half = torch.ones(1, 1), torch.tensor([[0.5], [0.5]])
    mixture.weigh([whole, whole, half])
    shares = mixture._shares(mixture.choices[1:], torch.float32)  # what h_t is made of
    assert shares is not None
    torch.testing.assert_close(shares, torch.tensor([0.0, 1 / 3, 2 / 3]))


def test_normalized_nodes_have_a_mean_of_0_and_a_variance_of_1_over_the_batch() -> None:
    mixture = HighwayMixture(3, 4, 2, ALL, "tanh", "nodes", "node", 0.0, normalizes=True)
    mixture.weigh([torch.full((1, 4), 0.25)])
    y = mixture(torch.randn(50, 2, 3))
    torch.testing.assert_close(y.mean(0), torch.zeros(2, 4), atol=1e-5, rtol=0)
    torch.testing.assert_close(y.var(0, correction=0), torch.ones(2, 4), atol=1e-1, rtol=0)


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_it_trains_in_mixed_precision(space: EnasCell | DartsRnn) -> None:
    mixture, x = space.mixture(3, 4, 0.2).eval(), torch.randn(2, 5, 3)
    choices = [each.float().requires_grad_() for each in random_choices(mixture)]
    mixture.weigh(choices)
    exact = mixture(x)
    mixture.normalizes = True
    with torch.autocast("cpu", torch.bfloat16):
        y = mixture.train()(x)
        mixture.normalizes = False
        plain = mixture.eval()(x)
    assert y.dtype is plain.dtype is torch.bfloat16
    torch.testing.assert_close(plain.float(), exact, atol=0.02, rtol=0.05)
    y.float().square().sum().backward()
    assert all(bool(each.grad.isfinite().all()) for each in [*choices, *mixture.parameters()])


def test_weights_of_other_shapes_are_refused() -> None:
    mixture = mixture_of(SPACES["darts"])
    with pytest.raises(ValueError, match="not said: call weigh first"):
        mixture(torch.zeros(1, 1, 3))
    with pytest.raises(ValueError, match=r"the shapes \[\(1, 4\), .*, got \[\(1, 3\)\]"):
        mixture.weigh([torch.ones(1, 3)])
