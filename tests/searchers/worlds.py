"""Every shipped searcher and space, a cheap reward, and a study loop without a study.

    python -m tests.searchers.worlds

writes the golden files anew; do so only where proposals are meant to change, and say why.
"""

import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from optuna.samplers import GPSampler

from nasrunner.compose.construct import construct
from nasrunner.core import (
    KnownOutcome,
    Outcome,
    Proposal,
    Searcher,
    SearchSpace,
    genotype_hash,
)
from nasrunner.core.order import rollout
from nasrunner.core.ports import LearningPolicy
from nasrunner.core.relaxation import ForwardGrowth, Relaxation
from nasrunner.core.space import additions, grown
from nasrunner.spaces.language.parsing import parse_space

CONF = Path(__file__).parents[2] / "conf"
OF_HYPERPARAMETERS = ("pbt",)
"""Searchers of spaces that search hyperparameters, and of no others."""

OF_DEPTH = ("pnas",)
"""Searchers of spaces that have a depth, and of no others."""

GROWING = ("petridish",)
"""Searchers that have one child to begin with, and wait for what supernets find beside it.

Where that child fails, another start is wanted, and where few parts can be added, the search ends:
what ends and goes on in spaces with one start, or with few parts, is in
``one_shot/test_petridish.py``.
"""

SEARCHERS = sorted(
    path.stem
    for path in (CONF / "searcher").glob("*.yaml")
    if path.stem not in (*OF_HYPERPARAMETERS, *OF_DEPTH, *GROWING)
)
SPACES = sorted(path.stem for path in (CONF / "space").glob("*.yaml"))

WIDE_SPACES = (
    *("darts_cnn", "enas_macro", "enas_micro", "nasnet", "pnas"),
    "nasrl_conv",
    "nasrl_conv_pooling",
    "nasrl_conv_schedule",
    "nasrl_conv_strides",
)
"""Dozens of decisions or more: a surrogate takes seconds for a proposal; their tests are slow."""

GOLDEN = Path(__file__).parent / "golden"
GOLDEN_SPACES = ("figure1", "mlp")
SPACES_WITH_DEPTH = ("mlp", "mlp_string", "small_cnn")
SPACES_THAT_GROW = ("mlp",)
GOLDEN_PAIRS = [
    *((name, space) for name in SEARCHERS for space in GOLDEN_SPACES),
    *((name, space) for name in OF_DEPTH for space in SPACES_WITH_DEPTH),
]

OF_ACCURACY = {"reward": {"metric": "val_accuracy", "mode": "max"}}

HURRY: dict[str, dict[str, Any]] = {
    "darts": {"num_sampled": 40},
    "gdas": {"num_sampled": 40},
    "enas": {"num_estimates": 30, "controller_steps": 2, "controller_batch": 3},
    "evolution": {"population_size": 5, "tournament_size": 2},
    "reinforce": {"children_per_replica": 3, "learning_rate": 0.05},
    "ppo": {"children_per_replica": 3, "learning_rate": 0.05},
    "smbo": {"num_random": 3},
    "smbo_lstm": {
        "num_random": 3,
        "refit_growth": 1.0,
        "surrogate": {"hidden_units": 8, "num_members": 2, "num_steps": 20, "learning_rate": 0.1},
    },
    "motpe": {"sampler": {"n_startup_trials": 3}},
    "nsga2": {"sampler": {"population_size": 4}},
    "tpe": {"sampler": {"n_startup_trials": 3}},
    "cmaes": {"sampler": {"popsize": 4}},
    "filter": {
        "num_estimates": 6,
        "num_trained": 2,
        "searcher": {"population_size": 5, "tournament_size": 2},
    },
    "predicted": {
        "num_trained_first": 4,
        "searcher": {"population_size": 5, "tournament_size": 2},
    },
    "random_sharing": {"num_estimates": 30, "num_trained": 10},
    "spos": {
        "num_estimates": 30,
        "num_trained": 10,
        "searcher": {"population_size": 5, "tournament_size": 2},
    },
    "pbt": {"max_epochs": 100, "population_size": 6},
    "pnas": {
        "first_level": 6,
        "num_trained": 3,
        "max_expansions": 100,
        "surrogate": {"hidden_units": 8, "num_members": 2, "num_steps": 20},
    },
    "asha": {"max_epochs": 9, "num_brackets": 2},
    "asha_stopping": {"max_epochs": 9, **OF_ACCURACY},
    "extrapolation": {"max_epochs": 9, **OF_ACCURACY},
    "median_stopping": OF_ACCURACY,
    "hyperband": {"max_epochs": 4, "eta": 2},
    "successive_halving": {"max_epochs": 9, "num_children": 9},
    "inheriting": {"searcher": {"population_size": 5, "tournament_size": 2}},
    "gp": {"sampler": {"_target_": "tests.searchers.worlds.HastyGp", "n_startup_trials": 5}},
}
"""What lets a searcher leave its random start within a dozen children; the rest is as shipped."""

WRAPPERS = (
    "asha",
    "asha_stopping",
    "enas",
    "extrapolation",
    "filter",
    "hyperband",
    "inheriting",
    "median_stopping",
    "predicted",
    "random_sharing",
    "spos",
    "successive_halving",
)
"""Searchers around another one, which counts its own proposals."""


OF_OBJECTIVES = ("motpe", "nsga2")
"""Searchers that compare by objectives as shipped, which no wrapper that ranks by rewards takes."""

INNER = [name for name in SEARCHERS if name not in (*WRAPPERS, *OF_OBJECTIVES, "darts", "gdas")]
"""Searchers that any wrapper takes."""


STOPPING = ("asha_stopping", "extrapolation", "median_stopping")
"""Of these: who stops children by their curves, and leaves all else to the inner searcher."""

GRADIENTS = ("darts", "gdas")
"""Searchers that begin with a supernet, and have what it has found trained."""

UNSCHEDULED = ("enas", *GRADIENTS)
"""Of these: who refuse a space with a schedule."""

ONE_SHOT = ("enas", "random_sharing", "spos", *GRADIENTS)
"""Searchers that begin with a supernet."""

IN_PARTS = ("asha", "hyperband", "successive_halving", *STOPPING)
"""Searchers whose children are not all trained through."""


class HastyGp(GPSampler):
    """The Gaussian process with a cursory look for its best point: seconds become milliseconds."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._n_preliminary_samples = 16
        self._n_local_search = 2
        self._n_qmc_samples_qei = 8


Event = dict[str, Any]
Step = tuple[bool, int, bool]
"""(propose rather than observe, which child in flight to observe, it fails)."""


@functools.cache
def load_space(name: str) -> SearchSpace:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose(f"space/{name}", ["+data={num_outputs: 10, in_shape: [1, 8, 8]}"])
    return parse_space(OmegaConf.to_container(config.space, resolve=True))


def make_searcher(name: str, space: str | SearchSpace, seed: int = 0) -> Searcher:
    space = load_space(space) if isinstance(space, str) else space
    return construct(_searcher_config(name), "searcher", space=space, seed=seed)


@functools.cache
def _searcher_config(name: str) -> dict[str, Any]:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose(f"searcher/{name}").searcher
    OmegaConf.set_struct(config, False)
    return OmegaConf.to_container(OmegaConf.merge(config, HURRY.get(name, {})), resolve=True)


def reward_of(proposal: Proposal) -> float:
    """Between 0 and 1, the same for the same genotype in any process."""
    return int(genotype_hash(proposal.genotype), 16) / 16**12


def measured(searcher: Searcher, proposal: Proposal, reward: float) -> Outcome:
    """What a child comes to that is trained as far as it was asked, and what a supernet finds."""
    status = "completed" if proposal.until is None else "paused"
    policy = searcher.policy() if proposal.kind == "supernet" else None
    rng = np.random.default_rng(searcher.seed)
    if isinstance(policy, LearningPolicy):
        return Outcome(proposal, "completed", found=policy.draw(policy.lessons.num_found, rng))
    if isinstance(policy, Relaxation):
        found = [rollout(searcher.space, rng) for _ in range(1 + policy.num_sampled)]
        return Outcome(proposal, "completed", found=found)
    if isinstance(policy, ForwardGrowth):
        parts = additions(searcher.space, proposal.genotype, rng)
        joined = [parts[proposal.index % len(parts)]]
        found = [grown(searcher.space, proposal.genotype, joined)]
        return Outcome(proposal, "completed", found=found)
    return Outcome(proposal, status, reward)  # type: ignore[arg-type]


def run(
    searcher: Searcher,
    num_children: int,
    rewards: Callable[[Proposal], float] = reward_of,
) -> list[Proposal]:
    """Proposes so many children, each observed with its reward before the next."""
    proposals = []
    for _ in range(num_children):
        proposal = searcher.propose()
        assert proposal is not None
        searcher.observe(measured(searcher, proposal, rewards(proposal)))
        proposals.append(proposal)
    return proposals


@dataclass
class Loop:
    """The part of a study that a searcher sees; its events are what a ledger would hold."""

    searcher: Searcher
    in_flight: list[Proposal] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def play(self, steps: Sequence[Step]) -> "Loop":
        for wants_proposal, which, fails in steps:
            is_asked = not self.in_flight or (wants_proposal and self.searcher.is_ready)
            proposal = self.searcher.propose() if is_asked else None
            if proposal is not None:
                self.in_flight.append(proposal)
                self.events.append({"proposed": proposal.to_json()})
            elif self.in_flight:
                self._observe(self.in_flight.pop(which % len(self.in_flight)), fails)
        return self

    def begin(self, known: Sequence[KnownOutcome]) -> "Loop":
        """Tells the searcher what earlier studies found."""
        self.searcher.learn_known(known)
        told = [{"genotype": k.genotype, "reward": k.reward, "child": k.child} for k in known]
        self.events.append({"known": told})
        return self

    def replay(self, events: Sequence[Event]) -> "Loop":
        """Brings the searcher to where ``events``, read from text, end."""
        by_index: dict[int, Proposal] = {}
        for event in json.loads(json.dumps(events)):
            if "known" in event:
                self.searcher.learn_known([KnownOutcome(**each) for each in event["known"]])
            elif "proposed" in event:
                proposal = Proposal.from_json(event["proposed"])
                self.searcher.register(proposal)
                by_index[proposal.index] = proposal
            else:
                proposal = by_index.pop(event["outcome"]["index"])
                self.searcher.observe(Outcome.from_json(event["outcome"], proposal))
        self.in_flight = list(by_index.values())
        self.events = list(events)
        return self

    @property
    def proposals(self) -> list[Event]:
        return [event["proposed"] for event in self.events if "proposed" in event]

    def _observe(self, proposal: Proposal, fails: bool) -> None:
        if fails and proposal.kind != "supernet":  # with which a study would end
            outcome = Outcome(proposal, "failed", error="it broke")
        else:
            outcome = measured(self.searcher, proposal, reward_of(proposal))
        self.searcher.observe(outcome)
        self.events.append({"outcome": outcome.to_json()})


def one_by_one(num_children: int) -> list[Step]:
    """Each child is observed before the next is proposed."""
    return [(True, 0, False), (False, 0, False)] * num_children


def first_proposals(name: str, space: str, seed: int = 0, num_children: int = 12) -> list[Event]:
    """What a study of one worker proposes."""
    return Loop(make_searcher(name, space, seed)).play(one_by_one(num_children)).proposals


def golden_path(name: str, space: str) -> Path:
    return GOLDEN / f"{name}-{space}.json"


def golden_genotypes(name: str, space: str) -> list[list[int]]:
    """The answers of the first twenty proposals, in the order they were asked."""
    proposals = first_proposals(name, space, num_children=20)
    return [list(proposal["genotype"].values()) for proposal in proposals]


def write_golden() -> None:
    GOLDEN.mkdir(exist_ok=True)
    for name, space in GOLDEN_PAIRS:
        lines = ",\n".join(map(json.dumps, golden_genotypes(name, space)))
        golden_path(name, space).write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    write_golden()
