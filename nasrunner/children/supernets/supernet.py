"""One network that holds all of a space, and is another one of them at each step of training."""

import base64
import contextlib
import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from nasrunner.children.inputs import Inputs
from nasrunner.children.recipe import Recipe
from nasrunner.children.settings.searched import Config
from nasrunner.children.supernets.covering import (
    WHOLE_MACHINE,
    Cover,
    MemoryLimit,
    cover,
    numbers_remembered,
)
from nasrunner.children.supernets.growing.supernet import ChildWithParts
from nasrunner.children.supernets.policy_learner import PolicyLearner
from nasrunner.children.supernets.relaxed.supernet import AllOptions, num_epochs_of
from nasrunner.children.supernets.shared_weights import SharedWeights, Widths
from nasrunner.children.supernets.stored import Facts, space_known_by, training_known_by
from nasrunner.children.supernets.whole_network import penalty_of
from nasrunner.core import Genotype, InShape, Policy, SearchSpace, Shape, SpaceError
from nasrunner.core.ports import LearningPolicy
from nasrunner.core.relaxation import ForwardGrowth, Relaxation
from nasrunner.core.space import Space

_MOST_DRAWN = 1_000
"""So many architectures in a row that cannot be built end the training."""

_MOST_COVER_S = 120.0

_TENSOR = "base64 of a tensor"


class Supernet(nn.Module):
    """Runs a network of the space at each step: one that its policy draws, with shared weights.

    Guo et al. 2019, arXiv:1904.00420. In evaluation, too, each batch goes through one
    architecture; these are drawn alike in each pass, as at the beginning of training, so that what
    is measured is the mean over architectures, comparable between epochs. A policy that learns
    draws those of a pass as it is then, from the same seed.

    Recurrent layers begin each batch with zeros: the one before went through another architecture.

    What the policy and the random generator remember, and whose it is, stands in its state beside
    the weights. All ranks of a training draw the same architectures, as they have the same
    of both.

    Args:
        weights: what the networks share; grown to what they need.
        policy: draws the architectures.
        seed: of what is drawn.
        whose: what tells its training from others, see ``training_known_by``.
    """

    def __init__(
        self, weights: SharedWeights, policy: Policy, seed: int, whose: Facts = ()
    ) -> None:
        super().__init__()
        self.shared = weights
        self.policy = policy
        self.seed = seed
        self._rng = np.random.default_rng(seed)
        # What evaluation draws from changes no training.
        learning = policy if isinstance(policy, LearningPolicy) else None
        self._first = learning or copy.deepcopy(policy)
        self._evaluating = self._begun()
        self._set: list[nn.Module] = []  # what runs in the place of what is drawn; no submodule
        self.learner = learning and PolicyLearner(self, learning, self._rng)
        self._penalized: list[Any] = []
        self._space_known_by = space_known_by(weights)
        self._whose = dict(whose)

    @property
    def space(self) -> SearchSpace:
        """What is searched."""
        return self.shared.space

    def forward(self, x: Inputs) -> torch.Tensor:
        policy, rng = (self.policy, self._rng) if self.training else self._evaluating
        network = self._set[0] if self._set else self.draw(policy, rng)[1]
        remembering = self._layers(network, "reset_state")
        for layer in remembering:
            layer.reset_state()  # what it remembers is of batches long before this one
        self._penalized = self._layers(network, "take_penalty")
        found: torch.Tensor = network(x)
        for layer in remembering:
            layer.reset_state()  # it is kept, and would keep the outputs of all time steps
        return found

    def _layers(self, network: nn.Module, name: str) -> list[Any]:
        """Those of a network that have a method; there are few spaces with any."""
        if name not in self.shared.adds:
            return []
        return [each for each in network.modules() if hasattr(each, name)]

    def take_penalty(self) -> torch.Tensor | None:
        """Returns what the layers of the last network add to the loss, once; None: nothing."""
        return penalty_of(self._penalized)

    def train(self, mode: bool = True) -> "Supernet":
        self._evaluating = self._begun()
        return super().train(mode)

    def get_extra_state(self) -> torch.Tensor:
        """Returns what the policy and the generator remember, and whose it is, as bytes of JSON."""
        state = {
            "rng": self._rng.bit_generator.state,
            "policy": dict(self.policy.state_dict()),
            "space": self._space_known_by,
            "whose": self._whose,
        }
        text = bytearray(json.dumps(state, default=_packed).encode())
        return torch.frombuffer(text, dtype=torch.uint8)

    def set_extra_state(self, state: torch.Tensor) -> None:
        """Restores what ``get_extra_state`` returned."""
        told: dict[str, Any] = json.loads(state.cpu().numpy().tobytes(), object_hook=_unpacked)
        self._rng.bit_generator.state = told["rng"]
        self.policy.load_state_dict(told["policy"])

    def _begun(self) -> tuple[Policy, np.random.Generator]:
        """What the architectures of a pass of evaluation are drawn by."""
        return copy.deepcopy(self._first), np.random.default_rng(self.seed)

    @contextlib.contextmanager
    def set_to(self, network: nn.Module) -> Iterator[None]:
        """Runs one network for all batches of the block.

        Args:
            network: of the shared weights, as ``draw`` returns it.
        """
        self._set = [network]
        try:
            yield
        finally:
            self._set = []

    def draw(self, policy: Policy, rng: np.random.Generator) -> tuple[Genotype, nn.Module]:
        """Draws an architecture, and builds its network; one that cannot be built is drawn again.

        Raises:
            SpaceError: none of very many can be built.
        """
        reason = ""
        for _ in range(_MOST_DRAWN):
            (genotype,) = policy.draw(1, rng)
            try:
                return genotype, self.shared.network(genotype)
            except SpaceError as error:
                reason = str(error)
        raise SpaceError(f"none of {_MOST_DRAWN:,} architectures can be built; the last: {reason}")


def _packed(value: object) -> dict[str, Any]:
    """A tensor in JSON, to the bit."""
    assert isinstance(value, torch.Tensor), "a policy keeps plain values and tensors"
    array = value.detach().cpu().contiguous().numpy()
    text = base64.b64encode(array.tobytes()).decode()
    return {_TENSOR: text, "dtype": str(array.dtype), "shape": array.shape}


def _unpacked(record: dict[str, Any]) -> Any:
    if _TENSOR not in record:
        return record
    values = np.frombuffer(base64.b64decode(record[_TENSOR]), record["dtype"])
    return torch.from_numpy(values.reshape(record["shape"]).copy())


@dataclass(frozen=True)
class OneShot(Space):
    """Stands where a child's network does, and is built as a ``Supernet``.

    Args:
        space: what is searched.
        policy: draws its architectures.
        sizes: see ``Widths``.
        seed: of first weights and of what is drawn.
        epsilon: of batch normalization, as of ``SharedWeights``.
        memory: how much of it training may take.
        whose: as of ``Supernet``.
    """

    space: SearchSpace
    policy: Policy
    sizes: Widths
    seed: int
    epsilon: float | None = None
    memory: MemoryLimit = WHOLE_MACHINE
    whose: Facts = ()

    @property
    def takes_inputs(self) -> bool:
        return True

    def make(self, in_shape: InShape) -> tuple[nn.Module, Shape]:
        weights, out_shape = covered(
            self.space, in_shape, self.sizes, self.seed, self.epsilon, self.memory
        )
        return Supernet(weights, self.policy, self.seed, self.whose), out_shape

    def text(self) -> str:
        return "supernet"


def supernet_of(
    recipe: Recipe, config: Config, seed: int, genotype: Genotype | None = None
) -> SearchSpace:
    """Returns what is built as the supernet of a study, beside the settings it is trained with.

    Args:
        recipe: how the study's children are made.
        config: the supernet's.
        seed: of first weights and of what is drawn.
        genotype: of the child that grows in it; None: none does.
    """
    assert recipe.policy is not None, "who proposes a supernet has a policy"
    settings = config["trainer"]
    widths, epsilon = settings["shared_widths"], settings["batch_norm_epsilon"]
    memory = MemoryLimit(recipe.max_memory_gb, numbers_remembered(config, recipe.construct))
    network: Space
    if isinstance(recipe.policy, Relaxation):
        epochs = num_epochs_of(recipe.policy, config)
        network = AllOptions(recipe.space, recipe.policy, widths, seed, epochs, epsilon, memory)
    elif isinstance(recipe.policy, ForwardGrowth):
        child = tuple((genotype or {}).items())
        network = ChildWithParts(recipe.space, child, recipe.policy, widths, seed, epsilon, memory)
    else:
        whose = training_known_by(recipe, config, seed)
        network = OneShot(recipe.space, recipe.policy, widths, seed, epsilon, memory, whose)
    return SearchSpace(recipe.space.hyperparameters, network)


def covered(
    space: SearchSpace,
    in_shape: InShape,
    widths: Widths,
    seed: int,
    epsilon: float | None = None,
    memory: MemoryLimit = WHOLE_MACHINE,
) -> tuple[SharedWeights, Shape]:
    """Makes the weights that all networks of a space share, and says which shape comes out of one.

    Networks that need others are refused from then on.

    Args:
        space: what is searched.
        in_shape: of one example.
        widths: see ``Widths``.
        seed: of the first weights.
        epsilon: of batch normalization, as of ``SharedWeights``.
        memory: how much of it their training may take.

    Raises:
        SpaceError: the space is too large to look through, or its weights for the memory; nothing
            was allocated then.
    """
    counted = SharedWeights(space, in_shape, widths=widths, device="meta")
    found = cover(counted, seed, _MOST_COVER_S, memory)
    _check(found)
    weights = SharedWeights(space, in_shape, widths=widths, seed=seed, epsilon=epsilon)
    for genotype in found.needed:
        with contextlib.suppress(SpaceError):  # an impossible one, as when it was counted
            weights.network(genotype)
    weights.close()
    assert found.possible is not None, "a network has weights"
    with torch.device("meta"):
        _, out_shape = space.freeze(found.possible).build(in_shape)
    return weights, out_shape


def _check(found: Cover) -> None:
    if not found.largest:
        raise SpaceError(
            f"of {found.visited:,} architectures of the space {found.impossible:,} cannot be "
            "built, and the others have no weights to share"
        )
    if not found.is_settled:
        raise SpaceError(
            f"a supernet must hold what all networks need, and after {found.visited:,} "
            f"architectures in {_MOST_COVER_S:.0f} s of processor time further ones still needed "
            "more; nasrunner-space … one_shot=true shows of which modules"
        )
