"""The child trainer that trains nothing: rewards are what a zero-cost proxy says."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nasrunner.children.inspecting import draw_up
from nasrunner.children.proxies.scores import Proxy
from nasrunner.children.recipe import Recipe
from nasrunner.children.settings.searched import Config, Construct
from nasrunner.children.tasks.tasks import out_shape_of
from nasrunner.core import (
    Blueprint,
    ConfigError,
    Genotype,
    Hear,
    InShape,
    Kind,
    Outcome,
    Policy,
    Proposal,
    SearchSpace,
    Space,
)
from nasrunner.core.annotations import Count
from nasrunner.core.ledger.goal_settings import check_measured
from nasrunner.core.ledger.objectives import REWARD, SIZES
from nasrunner.core.machine.imports import quick_imports
from nasrunner.core.shapes import as_in_shape, in_dtype_of

NUM_ESTIMATES_AT_ONCE = 100
"""How many estimates one call is best given: each takes less than what is around a call."""


class ZeroCostTrainer:
    """Scores each child with zero-cost proxies; see ``ChildTrainer`` for who calls what.

    A child's network has the first weights that training would begin with, and is scored on the
    first training batch of the data, the same for all, with the task's loss; see ``scores``. What
    the optimizer, the scheduler and the reward of the task say is not asked.

    Args:
        proxy: whose score is the reward.
        proxies: others, which are measured beside it.
        batch_size: examples that are scored on; None: ``data.batch_size``.
        num_at_once: children that a worker, or a job, is given together.
        accelerator: Lightning's: where networks are scored.
        objectives: what the study compares its children by.
        space: what is searched.
        config: the child's configuration: data, task, optimizer, scheduler, trainer.
        in_shape: shape of one example, or of each of its inputs by name.
        construct: builds an object from its configuration; picklable.
        draw: draws a frozen space as SVG.
    """

    def __init__(
        self,
        proxy: Proxy,
        proxies: Sequence[Proxy],
        batch_size: Count | None,
        num_at_once: Count,
        accelerator: str,
        *,
        objectives: Sequence[str] = (),
        space: SearchSpace,
        config: Config,
        in_shape: InShape,
        construct: Construct,
        draw: Callable[[Space], str],
    ) -> None:
        self.names = tuple(dict.fromkeys([proxy, *proxies]))
        check_measured(objectives, {REWARD, *SIZES, *self.names})
        self.batch_size = batch_size
        self.at_once = num_at_once
        self.space = space
        self.config = config
        self.in_shape = as_in_shape(in_shape)
        self.construct = construct
        self.draw = draw

    def inspect(self, genotype: Genotype) -> Blueprint:
        in_dtype = in_dtype_of(self.config["data"])
        out_shape = out_shape_of(self.config, self.construct, self.in_shape)
        return draw_up(self.space, genotype, self.in_shape, out_shape, self.draw, in_dtype)

    @property
    def reports(self) -> bool:
        return False  # there are no epochs

    def check_heard(self, metrics: Mapping[str, Collection[int]]) -> None:
        pass  # of what reports nothing

    @property
    def estimates(self) -> Collection[str]:
        return self.names

    def check(self, proposal: Proposal) -> None:
        is_scored = proposal.kind in ("train", "estimate")
        if not is_scored or proposal.until or proposal.sources or proposal.fidelity:
            raise ConfigError(
                "trainer: zero-cost proxies score networks that nobody trains; legal are proposals "
                "of kind=train and kind=estimate without fidelity, until and sources, got "
                f"{', '.join(proposal.asked)}"
            )

    @property
    def rewarded(self) -> Mapping[str, str]:
        return {}  # scores are rewards as they are

    @property
    def trains_networks(self) -> bool:
        return True

    def plainest(self, proposal: Proposal) -> Proposal:
        return proposal

    def most_epochs(self, proposal: Proposal) -> int | None:
        return None  # there are none

    def num_at_once(self, kind: Kind) -> int:
        return NUM_ESTIMATES_AT_ONCE if kind == "estimate" else self.at_once

    def rehearsal(self) -> "ProxyRehearsal":
        return ProxyRehearsal(
            self.space, self.config, self.in_shape, self.construct, self.names, self.batch_size
        )

    def task(self, folder: Path, seed: int, policy: Policy | None = None) -> "ZeroCostTask":
        return ZeroCostTask(
            self.space,
            self.config,
            self.in_shape,
            self.construct,
            Path(folder),
            seed,
            names=self.names,
            batch_size=self.batch_size,
        )


@dataclass(frozen=True)
class ProxyRehearsal:
    """Tries what scoring will need; see ``check_scores`` for what it raises."""

    space: SearchSpace
    config: Config
    in_shape: InShape
    construct: Construct
    names: Sequence[str]
    batch_size: int | None

    def __call__(self) -> list[str]:
        with quick_imports():
            from nasrunner.children.proxies.checks import check_scores, remarks
            from nasrunner.children.rehearsal.samples import sampled
            from nasrunner.children.settings.searched import check_settings

        in_dtype = in_dtype_of(self.config["data"])
        out_shape = out_shape_of(self.config, self.construct, self.in_shape)
        found = sampled(self.space, self.in_shape, out_shape, in_dtype)
        settings = self.space.hyperparameters
        check_settings(self.config, settings)
        check_scores(
            self.config,
            settings,
            self.in_shape,
            self.construct,
            found.networks,
            self.names,
            self.batch_size,
        )
        return [*remarks(settings), *([found.remark] if found.remark else [])]


@dataclass(frozen=True, kw_only=True)
class ZeroCostTask(Recipe):
    """Scores proposals where it is called; picklable, see ``Scoring``."""

    names: Sequence[str]
    batch_size: int | None

    def __call__(
        self, proposals: Sequence[Proposal], hear: Hear | None = None
    ) -> Iterator[Outcome]:
        from nasrunner.children.proxies.scoring import Scoring  # imports Lightning

        yield from map(Scoring(self, self.names, self.batch_size), proposals)
