"""What is retrained of a study: from the request to the trainings it asks for."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from nasrunner.children.lightning import LightningTask, LightningTrainer
from nasrunner.children.settings.fidelity import keyed
from nasrunner.children.settings.searched import applied, plain
from nasrunner.compose.launch import build_trainer
from nasrunner.compose.upgrade import upgraded
from nasrunner.core.errors import ConfigError, SpaceError
from nasrunner.core.ledger.steps import shown_fidelity
from nasrunner.core.ports import OneByOne
from nasrunner.core.records import Proposal
from nasrunner.core.search_space import CHILD_GROUPS
from nasrunner.recorded import OTHER_DATA, SPACE_CHANGES, RecordedChild, RecordedStudy
from nasrunner.retrain.grid import Grid, epsilon_is_idle, read_grid, unreached
from nasrunner.retrain.grid_search import GridSearch, best_of
from nasrunner.retrain.mlp import is_mlp
from nasrunner.retrain.networks import MLP_CLASSIFIER, RetrainJob
from nasrunner.retrain.request import RetrainRequest, changed
from nasrunner.retrain.training.rebuilt import SPACE, carried
from nasrunner.retrain.training.recipe import REPETITION, with_all_examples
from nasrunner.retrain.training.tasks import MlpClassifierTask, RetrainRehearsal, RetrainTask


@dataclass(frozen=True)
class Session:
    """One retraining of one study.

    Args:
        study: whose best architectures are trained.
        request: which, how many of each, and on what.

    Raises:
        ConfigError: the study cannot be retrained as asked; nothing was started or written.
    """

    study: RecordedStudy
    request: RetrainRequest

    def __post_init__(self) -> None:
        _ = self.config, self.grid, self.children, self.trainer
        self._check_start()
        self._check_fits()

    @cached_property
    def config(self) -> dict[str, Any]:
        """The study's configuration with the changes that were asked for."""
        target = str(self.study.config["trainer"].get("_target_"))
        if target.rpartition(".")[2] == "TabularTrainer":
            raise ConfigError(
                f"{self.study.folder} searched a table: nothing was trained in it, so nothing can "
                "be retrained"
            )
        saved = upgraded(self.study.config, (*CHILD_GROUPS, "executor", "tracker"))
        return changed(saved, self.request.overrides, self.study.space)

    @cached_property
    def grid(self) -> Grid:
        """The settings that are searched before; none where that was not asked for."""
        text = self.request.grid
        if text is None:
            return ()
        return read_grid(text, self.config, self.request.overrides, self.study.space)

    @cached_property
    def children(self) -> list[RecordedChild]:
        """The children whose architectures are trained, best first."""
        found = list(self._rebuilt())
        if not found:
            raise ConfigError(f"{self.study.folder} has no child with a reward to retrain")
        if self.request.top > len(found):
            raise ConfigError(
                f"top={self.request.top} is more than the {len(found)} different architectures "
                f"with a reward in {self.study.folder}"
            )
        return found[: self.request.top]

    def _rebuilt(self) -> Iterator[RecordedChild]:
        """The children with a reward as architectures of the study's space, each once."""
        taken = set()
        for child in self.study.best(len(self.study.children)):
            if self.request.changes_space:
                genotype = carried(child.proposal.genotype, self.study.space)
                proposal = replace(child.proposal, genotype=genotype, identity=None)
                child = replace(child, proposal=proposal)
            if child.proposal.hash not in taken:
                taken.add(child.proposal.hash)
                yield child

    @cached_property
    def trainer(self) -> LightningTrainer:
        """What trained the children."""
        trainer = build_trainer(self.config, self.study.space)
        if not isinstance(trainer, LightningTrainer):
            raise ConfigError(
                f"trainer: a study of {type(trainer).__name__} cannot be retrained; legal is "
                "LightningTrainer: trainer=lightning"
            )
        return trainer

    @property
    def folder(self) -> Path:
        """Where the networks go."""
        parts = ["retrained"]
        parts += [] if self.study.rescored is None else ["rescored"]
        parts += [] if self.request.other_data is None else [self.request.other_data]
        return self.request.folder or self.study.folder / "-".join(parts)

    @cached_property
    def searches(self) -> dict[str, GridSearch]:
        """The search of the grid for each architecture, by its name; none without a grid."""
        children = self.children if self.grid else []
        place = self.folder / "grid"
        return {
            name_of(child): GridSearch(self.study, child, self.grid, self.config, place)
            for child in children
        }

    @cached_property
    def task(self) -> RetrainTask:
        """What trains a network, but for the settings that a grid chooses."""
        weights_in = self.study.folder.resolve() if self.request.start == "child" else None
        return RetrainTask(self._child_task(), self.request.on, weights_in)

    @property
    def rehearsal(self) -> RetrainRehearsal:
        """What tries all that the trainings will need."""
        genotypes = [child.proposal.genotype for child in self.children]
        return RetrainRehearsal(self.task, genotypes, self.grid)

    def jobs(self) -> list[RetrainJob]:
        """Returns every network there shall be, the best architecture's first.

        An architecture has none while its grid is not searched, or where no point of it has a
        reward.
        """
        repetitions = range(self.request.seeds)
        tasks = [
            (child, OneByOne(task))
            for child in self.children
            if (task := self._tuned_task(child)) is not None
        ]
        jobs = [
            RetrainJob(name_of(child), _repeated(child.proposal, repetition), train)
            for child, train in tasks
            for repetition in repetitions
        ]
        if self.has_mlp_classifier:
            fit = OneByOne(MlpClassifierTask(self._child_task(), self.request.on))
            nothing = Proposal(-1, {})
            jobs += [
                RetrainJob(MLP_CLASSIFIER, _repeated(nothing, each), fit) for each in repetitions
            ]
        return jobs

    @property
    def has_mlp_classifier(self) -> bool:
        """Whether scikit-learn has a network of the same kind for the same task."""
        is_classification = self.config["task"]["_target_"].endswith("tasks.Classification")
        return (
            self.request.mlp_classifier and is_classification and is_mlp(self.study.space.network)
        )

    @property
    def num_networks(self) -> int:
        """How many networks are tested in the end, those of scikit-learn among them."""
        return (len(self.children) + self.has_mlp_classifier) * self.request.seeds

    @property
    def metric(self) -> str:
        """The metric of the test that rewards are made of, or else the search's reward."""
        searched = replace(self.study, rescored=None)
        metrics = [str(each.reward.get("metric", "")) for each in (self.study, searched)]
        metric = next((each for each in metrics if each.startswith("val_")), "")
        return metric.replace("val_", "test_", 1) if metric.startswith("val_") else "test_loss"

    def warnings(self) -> Iterator[str]:
        """Yields what of the study, the configuration and the grid to know before, in sentences."""
        if self.study.about_rescored:
            yield f"{self.study.folder}: {self.study.about_rescored}"
        if self.study.about_reach:
            yield f"{self.study.folder}: {self.study.about_reach}"
        if self.request.on == "train_and_validation":
            yield from self._left_out()
        if late := unreached(self.config, self.grid):
            yield (
                f"grid: trainer.max_epochs ends training before scheduler.milestones {late}, so "
                "the learning rate never decays there"
            )
        for name, search in self.searches.items():
            if epsilon_is_idle(search.space, self.trainer.in_shape, self.grid):
                yield (
                    f"grid: child {name} has no batch normalization, so its points differ in "
                    "nothing where only trainer.batch_norm_epsilon does"
                )

    def _left_out(self) -> Iterator[str]:
        """What networks are not trained with whose training part holds the validation part."""
        but = ", but for the points of the grid" if self.grid else ""
        patience = self.config["trainer"]["stop_patience"]
        if patience is not None:
            yield (
                f"trainer.stop_patience={patience} is left out{but}: with on=train_and_validation "
                "no examples are left that say when to stop; on=train keeps them"
            )
        trained = self.task.child
        searched = [
            applied(trained.config, trained.space.freeze(each.proposal.genotype).hyperparameters)
            for each in self.children
        ]
        shares = dict.fromkeys(each["data"].get("train_share") or 1.0 for each in searched)
        if min(shares) < 1:
            yield (
                f"data.train_share={', '.join(f'{share:g}' for share in shares)} is left out{but}: "
                "with on=train_and_validation networks are trained on all examples but those of "
                "the test; on=train keeps it"
            )

    def settings(self) -> dict[str, Any]:
        """Returns what networks in one folder must have in common."""
        config = with_all_examples(self.config, self.request.on)
        groups = {group: config[group] for group in CHILD_GROUPS}
        grid = {key: plain(values.options) for key, values in self.grid}
        own: dict[str, Any] = {"on": self.request.on, "start": self.request.start}
        own["seed"] = self.study.seed
        if self.study.rescored is not None:
            own["best_by"] = self.study.reward_text
        if self.request.other_data is not None:
            own[OTHER_DATA] = self.request.other_data
            own[SPACE_CHANGES] = list(self.request.space_changes)
        if self.request.changes_space:
            own[SPACE] = plain(self.study.config[SPACE])
        return {**own, **groups, **({"grid": grid} if grid else {})}

    def _check_start(self) -> None:
        """Refuses to go on with weights that are not there, or that a grid would ignore.

        Raises:
            ConfigError: says which.
        """
        if self.request.start == "scratch":
            return
        if self.grid:
            raise ConfigError(
                "start=child goes on with the child's weights, and grid= searches settings for "
                "training from scratch: legal is one of them"
            )
        for child in self.children:
            if child.outcome is not None and not child.outcome.is_trained:
                raise ConfigError(
                    f"start=child goes on with the child's weights, and child {name_of(child)} was "
                    f"not trained, as it is too large ({child.outcome.error}): legal is "
                    "start=scratch"
                )
            if keyed(fidelity := child.proposal.fidelity).get("width", 1) != 1:
                raise ConfigError(
                    "start=child goes on with the child's weights, and child "
                    f"{name_of(child)} was trained at {shown_fidelity(fidelity)}, as a narrower "
                    "network: legal is start=scratch"
                )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # each network's log has them
            for child in self.children:
                self.task.borrowed(child.proposal.index, self.config)

    def _check_fits(self) -> None:
        """Refuses architectures that other data cannot be trained with.

        Raises:
            ConfigError: says which.
        """
        if self.request.other_data is None:
            return
        for child in self.children:
            try:
                self.trainer.inspect(child.proposal.genotype)
            except SpaceError as error:
                raise ConfigError(
                    f"data={self.request.other_data}: child {name_of(child)} cannot be rebuilt for "
                    f"it: {error}"
                ) from error

    def _child_task(self) -> LightningTask:
        return self.trainer.task(self.folder, self.study.seed)

    def _tuned_task(self, child: RecordedChild) -> RetrainTask | None:
        """What trains the networks of one architecture; None where its grid gives no settings."""
        if not self.grid:
            return self.task
        search = self.searches[name_of(child)]
        best = best_of(search.points()) if search.is_done else None
        if best is None:
            return None
        tuned = replace(
            self.task.child, config=applied(self.task.child.config, best.settings.items())
        )
        return replace(self.task, child=tuned)


def name_of(child: RecordedChild) -> str:
    """Returns what the folders of a child's networks begin with."""
    return f"{child.proposal.index:04d}"


def _repeated(proposal: Proposal, repetition: int) -> Proposal:
    return Proposal(
        proposal.index, proposal.genotype, notes={**proposal.notes, REPETITION: repetition}
    )
