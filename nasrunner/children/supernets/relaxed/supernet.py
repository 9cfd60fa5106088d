"""A supernet that holds all options of a space at once, and what its architecture learns by."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from nasrunner.children.inputs import Inputs
from nasrunner.children.settings.searched import Config
from nasrunner.children.supernets.covering import WHOLE_MACHINE, MemoryLimit
from nasrunner.children.supernets.relaxed.learner import GradientLearner
from nasrunner.children.supernets.relaxed.mixtures import Mix, Mixture, OptionWeights, mixed
from nasrunner.children.supernets.shared_weights import SharedWeights, Widths
from nasrunner.children.supernets.whole_network import WholeNetwork
from nasrunner.core import ConfigError, InShape, SearchSpace, Shape, SpaceError
from nasrunner.core.decision import option_names
from nasrunner.core.randomness.draws import seeded
from nasrunner.core.relaxation import Relaxation
from nasrunner.core.space import Relaxed, Space, relaxed

# K = options of a decision

_ALPHAS, _NOISE = 3, 4
"""The streams of random numbers that first α and the noise of draws are from."""

_FIRST_SPREAD = 1e-3
"""Standard deviation that α begins with, as in the code of arXiv:1806.09055's authors."""


class RelaxedSupernet(WholeNetwork):
    """Runs all options of each decision at once, or one that is drawn, by weights that are learnt.

    Liu et al. 2019, arXiv:1806.09055, section 2.2; Dong & Yang 2019, arXiv:1910.04465, section 3.2.

    In evaluation nothing is drawn: with the Gumbel-softmax, the likeliest option runs alone.

    What the weights' optimizer and the random generator remember stands in its state.

    Args:
        shared: the weights of the options' layers.
        network: the space with its decisions kept open.
        relaxation: how the options' weights are made and learn.
        num_epochs: of the training, which temperatures go by; None: it is not known, and the
            options are not drawn.
        seed: of what is drawn.

    Attributes:
        alphas: by decision path, its colons standing for points: a number for each option.
        learner: what they learn by.
    """

    def __init__(
        self,
        shared: SharedWeights,
        network: Relaxed,
        relaxation: Relaxation,
        num_epochs: int | None,
        seed: int,
    ) -> None:
        super().__init__(shared)
        self.relaxation = relaxation
        self.num_epochs = num_epochs
        self.seed = seed
        self.num_trained = 0  # epochs
        self._network = network
        self._mix = Mix()
        self._rng = seeded(seed, _NOISE)
        first = seeded(seed, _ALPHAS)
        self.alphas = nn.ParameterDict(
            {
                path.replace(".", ":"): nn.Parameter(
                    torch.from_numpy(first.normal(0.0, _FIRST_SPREAD, count)).float(),
                    # The optimizer of the weights has none of them; the learner asks for gradients.
                    requires_grad=False,
                )
                for path, count in ((d.path, len(d.options)) for d in network.decisions)
            }
        )
        self._paths = tuple(decision.path for decision in network.decisions)
        self._weighed: list[Any] = []
        self.learner = GradientLearner(self)

    @property
    def in_shape(self) -> InShape:
        """Of one example."""
        return self.shared.in_shape

    @property
    def selections(self) -> Mapping[str, tuple[tuple[str, ...], ...]]:
        """See ``Relaxed``."""
        return self._network.selections

    @property
    def followed(self) -> Mapping[str, tuple[str, tuple[str, ...]]]:
        """See ``Relaxed``."""
        return self._network.followed

    @property
    def options(self) -> Mapping[str, tuple[str, ...]]:
        """The names of the options of each decision, by path."""
        return {each.path: option_names(each) for each in self._network.decisions}

    def parameters_of_options(self) -> list[nn.Parameter]:
        """Returns the α of all decisions, in the order asked."""
        return [self.of(path) for path in self._paths]

    def forward(self, x: Inputs) -> torch.Tensor:
        network = self.begun()
        self._mix.weights = weights = self._weights()
        for layer in self._weighed:
            layer.weigh(rows_of(layer, weights))
        found: torch.Tensor = network(x)
        return found

    def build(self) -> nn.Module:
        """Builds the network of mixtures."""
        affine = self.relaxation.affine
        network, _ = mixed(self.shared, self._network.network, self._mix, affine=affine)
        self._weighed = [each for each in network.modules() if hasattr(each, "weigh")]
        for layer in self._weighed:
            layer.normalizes = True  # a sum over many nodes explodes without
        return network

    def of(self, path: str) -> nn.Parameter:
        """Returns the α of a decision."""
        alpha: nn.Parameter = self.alphas[path.replace(".", ":")]
        return alpha

    def probabilities(self) -> dict[str, np.ndarray]:
        """Returns softmax(α) by decision path."""
        return {
            path: self.of(path).detach().double().softmax(0).cpu().numpy() for path in self._paths
        }

    def zeros(self) -> dict[str, frozenset[int]]:
        """Returns which options of each decision return zeros in every place that it stands."""
        found: dict[str, frozenset[int]] = {}
        for layer in self.network().modules():
            if isinstance(layer, Mixture) and len(layer.paths) == 1:
                (path,) = layer.paths
                found[path] = found.get(path, layer.zeros) & layer.zeros
        for layer in self._weighed:
            zero = len(layer.activations)
            paths = (path for row in layer.rows for path in row if len(self.of(path)) > zero)
            found |= dict.fromkeys(paths, frozenset([zero]))
        return found

    @property
    def temperature(self) -> float:
        """That of the Gumbel-softmax in the present epoch."""
        first, last = self.relaxation.temperatures
        assert self.num_epochs is not None, "it is known where options are drawn"
        share = min(1.0, self.num_trained / max(1, self.num_epochs - 1))
        return first + share * (last - first)

    def get_extra_state(self) -> torch.Tensor:
        """Returns what it remembers beside its weights, as bytes of JSON."""
        state = {
            "rng": self._rng.bit_generator.state,
            "epochs": self.num_trained,
            "learner": self.learner.state_dict(),
        }
        return torch.tensor(list(json.dumps(state).encode()), dtype=torch.uint8)

    def set_extra_state(self, state: torch.Tensor) -> None:
        """Restores what ``get_extra_state`` returned."""
        told: dict[str, Any] = json.loads(bytes(state.tolist()))
        self._rng.bit_generator.state = told["rng"]
        self.num_trained = told["epochs"]
        self.learner.load_state_dict(told["learner"])

    def _weights(self) -> Mapping[str, OptionWeights]:
        if self.relaxation.weighs == "softmax":
            return {path: OptionWeights(self.of(path).softmax(0).unbind()) for path in self._paths}
        alphas = self.parameters_of_options()
        if not self.training:
            chosen = [int(alpha.argmax()) for alpha in alphas]
            return {
                path: OptionWeights(torch.eye(len(alpha), device=alpha.device)[k].unbind(), k)
                for path, alpha, k in zip(self._paths, alphas, chosen, strict=True)
            }
        return dict(zip(self._paths, self._drawn(alphas), strict=True))

    def _drawn(self, alphas: Sequence[torch.Tensor]) -> Iterator[OptionWeights]:
        """An option of each decision by the Gumbel-softmax, eqs. 3 and 4 there: it counts 1, with
        the gradient of its soft weight.
        """
        sizes = [len(alpha) for alpha in alphas]
        # All noise goes to the device at once, and all choices come back at once.
        noise = torch.from_numpy(self._rng.gumbel(size=sum(sizes))).to(alphas[0])
        each = zip(alphas, torch.split(noise, sizes), strict=True)
        soft = [((a.log_softmax(0) + noise_K) / self.temperature).softmax(0) for a, noise_K in each]
        chosen = torch.stack([soft_K.argmax() for soft_K in soft]).tolist()
        for soft_K, option in zip(soft, chosen, strict=True):
            hard_K = torch.zeros_like(soft_K)
            hard_K[option] = 1.0
            yield OptionWeights((hard_K + soft_K - soft_K.detach()).unbind(), option)

    def __getstate__(self) -> Mapping[str, Any]:
        return {**super().__getstate__(), "_weighed": []}


def rows_of(layer: Any, weights: Mapping[str, OptionWeights]) -> list[torch.Tensor]:
    """Returns what a ``HighwayMixture`` is to weigh its options by, those of zeros left out."""
    count = len(layer.activations)
    return [
        torch.stack([torch.stack(list(weights[path].values[:count])) for path in row])
        for row in layer.rows
    ]


@dataclass(frozen=True)
class AllOptions(Space):
    """Stands where a child's network does, and is built as a ``RelaxedSupernet``.

    Args:
        space: what is searched.
        relaxation: how its decisions are kept open.
        sizes: see ``Widths``.
        seed: of first weights and of what is drawn.
        num_epochs: as of ``RelaxedSupernet``.
        epsilon: of batch normalization, as of ``SharedWeights``.
        memory: how much of it training may take.
    """

    space: SearchSpace
    relaxation: Relaxation
    sizes: Widths
    seed: int
    num_epochs: int | None
    epsilon: float | None = None
    memory: MemoryLimit = WHOLE_MACHINE

    @property
    def takes_inputs(self) -> bool:
        return True

    def make(self, in_shape: InShape) -> tuple[nn.Module, Shape]:
        network = relaxed(self.space)
        affine = self.relaxation.affine
        counted = SharedWeights(self.space, in_shape, widths=self.sizes, device="meta")
        out_shape = grown(counted, network, affine=affine)
        self.memory.check(counted.num_parameters)
        shared = SharedWeights(
            self.space, in_shape, widths=self.sizes, seed=self.seed, epsilon=self.epsilon
        )
        grown(shared, network, affine=affine)
        shared.close()
        made = RelaxedSupernet(shared, network, self.relaxation, self.num_epochs, self.seed)
        return made, out_shape

    def text(self) -> str:
        return "relaxed supernet"


def grown(weights: SharedWeights, network: Relaxed, *, affine: bool) -> Shape:
    """Makes the shared weights that a relaxed space needs, as large as it needs them.

    Args:
        weights: grow.
        network: the space with its decisions kept open.
        affine: as of ``mixed``.

    Returns:
        The shape that comes out of the network.

    Raises:
        SpaceError: there is nothing to search, or no mixture of it; see ``mixed``.
    """
    if not network.decisions:
        raise SpaceError("the space has one architecture, and a mixture is of several options")
    return mixed(weights, network.network, Mix(), affine=affine)[1]


def num_epochs_of(relaxation: Relaxation, config: Config) -> int | None:
    """Returns how many epochs a supernet is trained for; None: that is not known.

    Raises:
        ConfigError: temperatures go by it, and it is not known or steps may end training before.
    """
    epochs, steps = (config["trainer"].get(name) for name in ("max_epochs", "max_steps"))
    if isinstance(epochs, int) and epochs > 0:
        if relaxation.weighs == "gumbel" and steps not in (None, -1):
            raise ConfigError(
                f"trainer.max_steps={steps} may end training before the temperature that options "
                "are drawn with has gone down, which it does until the last epoch; legal: -1, and "
                "trainer.max_epochs, also in searcher.supernet"
            )
        return epochs
    if relaxation.weighs == "gumbel":
        raise ConfigError(
            "trainer.max_epochs: the temperature that options are drawn with goes down until the "
            f"last epoch, got {epochs}; legal: >= 1, also in searcher.supernet"
        )
    return None
