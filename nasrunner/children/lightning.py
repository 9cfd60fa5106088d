"""The child trainer: networks of a space, trained with Lightning."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from nasrunner.children.evaluating import Evaluation
from nasrunner.children.inspecting import draw_up
from nasrunner.children.proxies.scores import Proxy
from nasrunner.children.proxies.zero_cost import NUM_ESTIMATES_AT_ONCE
from nasrunner.children.recipe import Recipe
from nasrunner.children.rehearsal.needs import Fidelity, Needs
from nasrunner.children.settings.fidelity import check_fidelity, effective, keyed, reduced
from nasrunner.children.settings.options import ChildOptions
from nasrunner.children.settings.searched import (
    Config,
    Construct,
    applied,
    check_not_searched,
)
from nasrunner.children.settings.supernet_devices import check_shares_gradients
from nasrunner.children.tasks.tasks import make_task, out_shape_of
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
from nasrunner.core.annotations import check_values, takes_fields_of
from nasrunner.core.errors import suggest
from nasrunner.core.machine.imports import quick_imports
from nasrunner.core.ports import LearningPolicy
from nasrunner.core.relaxation import ForwardGrowth, Relaxation
from nasrunner.core.shapes import as_in_shape, in_dtype_of

_EPOCHS = ("trainer", "trainer.max_epochs")
"""The keys that say how many epochs a training has."""

_VALIDATED = ("trainer", "trainer.check_val_every_n_epoch")
"""Likewise after how many it is validated."""

_SAME_IN_ESTIMATES = ("width", "data.resolution", "trainer.shared_batch_norm")
"""What no supernet can have for itself: its networks are estimated as children are."""

_OF_SPLIT = ("data.split_seed", "data.test_examples", "data.validation_examples")
"""What says which examples are held out: what one trains on, another must not be measured on."""


def takes_shared(proposal: Proposal) -> bool:
    """Tells whether a proposal is an estimate of a network with the weights of a supernet."""
    return proposal.kind == "estimate" and bool(proposal.sources)


class LightningTrainer:
    """Trains each child with Lightning; see ``ChildTrainer`` for who calls what.

    Lightning is imported only where children are trained: it takes seconds. The rehearsal there
    tries everything a child will need: the data's files, the task, optimizer, scheduler and
    Lightning's Trainer, with every option of every hyperparameter.

    Args:
        space: what is searched.
        config: the child's configuration: data, task, optimizer, scheduler, trainer.
        in_shape: shape of one example, or of each of its inputs by name.
        construct: builds an object from its configuration; picklable.
        draw: draws a frozen space as SVG.
        proxies: what an estimate of a child measures, without training; the first one's score is
            its reward; without one no estimates are made.
        evaluation: ``repeats`` and ``folds``, see ``Evaluation``; None: one training.
        objectives: what the study compares its children by.
        max_memory_gb: ``limits.memory_gb``, for supernets: what the training of their weights may
            take, in 10^9 bytes; None: what the machine has. The study looks at children.
        arguments: those of ``ChildOptions``, and of Lightning's Trainer, by its own names.
    """

    @takes_fields_of(ChildOptions)
    def __init__(
        self,
        *,
        space: SearchSpace,
        config: Config,
        in_shape: InShape,
        construct: Construct,
        draw: Callable[[Space], str],
        proxies: Sequence[Proxy] = (),
        evaluation: Mapping[str, Any] | None = None,
        objectives: Sequence[str] = (),
        max_memory_gb: float | None = None,
        **arguments: Any,
    ) -> None:
        own = {each.name: arguments[each.name] for each in fields(ChildOptions)}
        self.space = space
        trainer = {name: value for name, value in config["trainer"].items() if name != "proxies"}
        self.config = {**config, "trainer": {**trainer, **own}}
        self.proxies = tuple(dict.fromkeys(proxies))
        self.in_shape = as_in_shape(in_shape)
        self.construct = construct
        self.draw = draw
        self.objectives = tuple(objectives)
        self.max_memory_gb = max_memory_gb
        evaluation = evaluation or {}
        legal = [field.name for field in fields(Evaluation)]
        if unknown := next((key for key in evaluation if key not in legal), None):
            name = f"evaluation.{unknown}"
            raise ConfigError(f"there is no key {name!r}, {suggest(unknown, legal)}")
        if wrong := check_values(Evaluation, evaluation):
            raise ConfigError(f"evaluation.{wrong[0]} {wrong[1]}")
        self.evaluation = Evaluation(**evaluation)
        self._fidelities: list[Fidelity] = []  # those checked, for the rehearsal
        self._pause: int | None = None  # the fewest epochs after which one pauses, likewise
        self._heard: tuple[str, ...] = ()  # what children must report, likewise
        self._policy: Policy | Relaxation | ForwardGrowth | None = None  # of a supernet, likewise
        self._supernet: Recipe | None = None  # how it is made, likewise

    @staticmethod
    def legal_arguments() -> Collection[str]:
        """Returns what may be given beside our own options."""
        from nasrunner.children.settings.arguments import lightning_defaults  # imports Lightning

        return lightning_defaults()

    def inspect(self, genotype: Genotype) -> Blueprint:
        return draw_up(
            self.space,
            genotype,
            self.in_shape,
            out_shape_of(self.config, self.construct, self.in_shape),
            self.draw,
            in_dtype_of(self.config["data"]),
        )

    @property
    def reports(self) -> bool:
        return self.evaluation.is_single  # the curves of several trainings are there at the end

    def check_heard(self, metrics: Mapping[str, Collection[int]]) -> None:
        if not self.evaluation.is_single:
            repeats, folds = self.evaluation.repeats, self.evaluation.folds
            raise ConfigError(
                f"evaluation.repeats={repeats}, folds={folds or 'null'}: a child of several "
                "trainings has its curves at their end, and no searcher stops it by them before; "
                "legal with one that stops children: evaluation.repeats=1 evaluation.folds=null"
            )
        every = self._validated_every(self.config["trainer"])
        for metric, epochs in metrics.items():
            missed = [epoch for epoch in sorted(epochs) if every and epoch % every]
            if missed and metric.startswith("val_"):
                raise ConfigError(
                    f"trainer.check_val_every_n_epoch={every} measures no {metric} after epoch "
                    f"{missed[0]}, when the searcher compares children by it (searcher.rungs, "
                    f"min_epochs); legal are multiples of {every}, or check_val_every_n_epoch=1"
                )
        self._heard = tuple(metrics)

    @property
    def estimates(self) -> Collection[str]:
        return self.proxies

    def check(self, proposal: Proposal) -> None:
        if proposal.kind == "supernet" or takes_shared(proposal):
            self._check_shared(proposal)
            return
        is_estimate = proposal.kind == "estimate"
        if is_estimate and not self.proxies:
            raise ConfigError(
                "trainer: LightningTrainer trains children and makes no kind=estimate; legal: "
                "train, or estimate with trainer.proxies=[synflow]"
            )
        if is_estimate and proposal.until:
            raise ConfigError(
                "trainer.proxies: an estimate scores a network with its first weights, and is "
                "neither paused nor begun with others (until, sources)"
            )
        if not self.evaluation.is_single and (proposal.until or proposal.sources):
            raise ConfigError(
                "evaluation: a child of several trainings is neither paused nor begun with others "
                "(until, sources); legal with these: repeats=1 folds=null"
            )
        borrows = any(each.what != "training" for each in proposal.sources)
        if borrows and self.config["trainer"]["checkpoint"] == "none":
            raise ConfigError(
                "trainer.checkpoint=none keeps no weights for others to begin with (sources); "
                "legal: best, last or all"
            )
        if proposal.fidelity and (proposal.until or proposal.continues is not None):
            raise ConfigError(
                "fidelity: what is trained with one has a schedule of its own, is not paused and "
                "goes on with nothing; legal without until and a source of training"
            )
        if proposal.continues is not None and len(proposal.sources) > 1:
            raise ConfigError(
                "sources: a child that goes on with a training has its weights; legal are one "
                f"source of training or any of weights, got {proposal.sources}"
            )
        searched = [key for key, _ in self.space.hyperparameters]
        check_fidelity(self.config, proposal.fidelity, searched, self.space)
        self._check_validated(proposal.fidelity, proposal.until)
        if proposal.until:
            self._pause = min(proposal.until, self._pause or proposal.until)
        self._note("train", proposal.fidelity)

    def _check_shared(self, proposal: Proposal) -> None:
        """Refuses a supernet, or an estimate with its weights, that cannot be made."""
        check_not_searched(self.space.hyperparameters)
        trainer = self.config["trainer"]
        if not self.evaluation.is_single:
            raise ConfigError(
                "evaluation: a supernet is trained once, and its networks are validated once; "
                "legal: repeats=1 folds=null"
            )
        if takes_shared(proposal):
            self._check_of_estimates()
        if self.proxies:
            raise ConfigError(
                f"trainer.proxies={list(self.proxies)}: estimates with the weights of a supernet "
                "are no scores of proxies; legal: []"
            )
        check_shares_gradients(trainer)
        try:
            self._check_of_supernet(proposal.fidelity)
        except ConfigError as error:
            about = str(error).removeprefix("fidelity: ")
            raise ConfigError(f"searcher.supernet: {about}") from error

    def _check_of_estimates(self) -> None:
        """Refuses what estimates with the weights of a supernet cannot be made with, or lack."""
        if self.config["trainer"]["checkpoint"] == "none":
            raise ConfigError(
                "trainer.checkpoint=none keeps no weights of a supernet to estimate with; legal: "
                "best, last or all"
            )
        if "train_loss" in self.objectives:
            raise ConfigError(
                "objectives.train_loss: an estimate with shared weights is not trained and has "
                "none; legal are what is validated, such as val_loss, and what networks cost"
            )
        metric = self.rewarded["metric"]
        if not metric.startswith("val_"):
            raise ConfigError(
                f"task.reward.metric={metric}: an estimate with shared weights is not trained and "
                "has none; legal are metrics of validation examples, such as val_loss"
            )

    def _check_of_supernet(self, fidelity: Mapping[str, float]) -> None:
        """Refuses numbers that a supernet cannot be trained with, and notes others."""
        check_fidelity(self.config, fidelity, (), self.space)
        for key, number in keyed(fidelity).items():
            if key in _SAME_IN_ESTIMATES:
                raise ConfigError(
                    f"fidelity: {key} must be the same for a supernet and for the networks that "
                    f"take its weights, got {number:g} for it alone; legal are numbers of its "
                    "training, such as trainer.max_epochs or optimizer.lr"
                )
            self._check_held_out(key, number)
        self._check_validated(fidelity)
        if isinstance(self._policy, Relaxation):
            from nasrunner.children.supernets.relaxed.supernet import num_epochs_of  # imports torch

            num_epochs_of(self._policy, reduced(self.config, fidelity))
        self._note("supernet", fidelity)

    def _note(self, kind: Kind, fidelity: Mapping[str, float]) -> None:
        """Keeps a fidelity for the rehearsal to try."""
        if fidelity and (kind, fidelity) not in self._fidelities:
            self._fidelities.append((kind, fidelity))

    def _check_held_out(self, key: str, number: float) -> None:
        """Refuses a split with which a supernet trains on what its networks are measured on."""
        lends = not isinstance(self._policy, Relaxation)  # weights that learnt of its examples
        group, _, name = key.partition(".")
        if key in _OF_SPLIT[:2] or (key in _OF_SPLIT and lends):
            own = self.config[group][name]
            if number != own:
                raise ConfigError(
                    f"fidelity: {key}={number:g} holds out other examples than {own}, so that a "
                    "supernet trains on some that its networks are validated or tested on; legal "
                    "are the examples of all children, and data.train_share"
                )

    def _check_validated(self, fidelity: Mapping[str, float], until: int | None = None) -> None:
        """Refuses trainings that end, or pause, before a validation that children need."""
        if not fidelity and until is None:
            return  # the rehearsal looks at whole trainings
        trainer = reduced(self.config, fidelity)["trainer"]
        every = self._validated_every(trainer)
        epochs = trainer.get("max_epochs") if until is None else until
        if every is None or not (isinstance(epochs, int) and 0 < epochs < every):
            return
        needed = (self.rewarded["metric"], *self.objectives)
        if metric := next((each for each in needed if each.startswith("val_")), None):
            what = (
                f"fidelity: trainer.max_epochs={epochs} ends"
                if until is None
                else f"searcher.rungs, min_epochs or interval: until={epochs} pauses"
            )
            raise ConfigError(
                f"{what} training before {metric} is measured, "
                f"with trainer.check_val_every_n_epoch={every}; legal: at least {every} epochs"
            )

    def _validated_every(self, trainer: Config) -> int | None:
        """After how many epochs children are validated, again and again; None: nobody knows."""
        if any(key in _VALIDATED for key, _ in self.space.hyperparameters):
            return None
        every = trainer.get("check_val_every_n_epoch")
        return every if isinstance(every, int) else None

    @property
    def rewarded(self) -> Mapping[str, str]:
        given = self.config["task"].get("reward")
        if isinstance(given, Mapping) and "_target_" in given:
            reward = self.construct(given, "task.reward")
        else:  # a user's task makes its own
            reward = make_task(self.config, self.construct).reward
        return {"metric": reward.metric, "mode": reward.mode}

    @property
    def trains_networks(self) -> bool:
        return True

    def plainest(self, proposal: Proposal) -> Proposal:
        until = proposal.until
        if until is not None:
            most = self.most_epochs(proposal)
            until = None if most is not None and until >= most else until
        return replace(proposal, until=until, fidelity=effective(self.config, proposal.fidelity))

    def most_epochs(self, proposal: Proposal) -> int | None:
        config = reduced(self.config, proposal.fidelity)
        if proposal.genotype and self.space.hyperparameters:
            config = applied(config, self.space.freeze(proposal.genotype).hyperparameters)
        elif any(key in _EPOCHS for key, _ in self.space.hyperparameters):
            return None  # an example of what a searcher asks for, which has no answers
        epochs = config["trainer"].get("max_epochs")
        return epochs if isinstance(epochs, int) and epochs > 0 else None

    def num_at_once(self, kind: Kind) -> int:
        # One with shared weights takes as long as a validation, and is learnt before the next.
        return NUM_ESTIMATES_AT_ONCE if kind == "estimate" and self.proxies else 1

    def rehearsal(self) -> "LightningRehearsal":
        return LightningRehearsal(
            self.space,
            self.config,
            self.in_shape,
            self.construct,
            self.evaluation,
            self.proxies,
            Needs(
                objectives=self.objectives,
                learns_by_validation=isinstance(self._policy, Relaxation | LearningPolicy),
                heard=self._heard,
                pause=self._pause,
            ),
            tuple(self._fidelities),
            self._supernet,
        )

    def task(
        self, folder: Path, seed: int, policy: Policy | Relaxation | ForwardGrowth | None = None
    ) -> "LightningTask":
        self._policy = policy
        share = self.config["trainer"].get("overfit_batches")
        if share and isinstance(policy, Relaxation | LearningPolicy | ForwardGrowth):
            raise ConfigError(
                f"trainer.overfit_batches={share:g} puts training examples in the place of those "
                "for validation, beside which the architecture of a supernet cannot be learnt; "
                "legal: 0, or trainer.limit_train_batches"
            )
        if isinstance(policy, Relaxation):
            from nasrunner.children.supernets.relaxed.checks import check_relaxes  # imports torch

            check_relaxes(self.space, self.in_shape, policy, self.config)
        if isinstance(policy, ForwardGrowth):
            from nasrunner.children.supernets.growing.supernet import check_grows  # imports torch

            widths = self.config["trainer"]["shared_widths"]
            check_grows(self.space, self.in_shape, policy, widths)
        task = LightningTask(
            self.space,
            self.config,
            self.in_shape,
            self.construct,
            Path(folder),
            seed,
            self.evaluation,
            self.objectives,
            policy,
            self.max_memory_gb,
            proxies=self.proxies,
        )
        self._supernet = None if policy is None else task
        return task


@dataclass(frozen=True)
class LightningRehearsal:
    """Tries what children will need; see ``check_child`` for what it raises."""

    space: SearchSpace
    config: Config
    in_shape: InShape
    construct: Construct
    evaluation: Evaluation
    proxies: Sequence[str]
    needs: Needs
    fidelities: Sequence[Fidelity] = ()
    supernet: Recipe | None = None

    def __call__(self) -> list[str]:
        with quick_imports():
            from nasrunner.children.proxies.checks import check_scores
            from nasrunner.children.rehearsal.checks import (
                check_child,
                check_evaluation,
                check_folds,
            )
            from nasrunner.children.rehearsal.fidelities import check_fidelities
            from nasrunner.children.rehearsal.samples import sampled

        cut: list[str] = []
        if self.supernet is not None:
            from nasrunner.children.rehearsal.cut_short import cut_short
            from nasrunner.children.rehearsal.memory import check_memory

            check_memory(self.supernet)
            own = next((given for kind, given in self.fidelities if kind == "supernet"), {})
            cut = cut_short(self.supernet, reduced(self.config, own), keyed(own).keys())
        in_dtype = in_dtype_of(self.config["data"])
        out_shape = out_shape_of(self.config, self.construct, self.in_shape)
        found = sampled(self.space, self.in_shape, out_shape, in_dtype)
        settings = self.space.hyperparameters
        config = check_evaluation(self.evaluation, self.config, self.construct)
        check_fidelities(
            config,
            settings,
            self.fidelities,
            self.in_shape,
            self.construct,
            found.networks,
            self.needs,
        )
        said = check_child(
            config,
            settings,
            self.in_shape,
            self.construct,
            found.networks,
            self.needs,
        )
        check_folds(self.evaluation, self.config, self.in_shape, self.construct)
        if self.proxies:
            check_scores(
                config, settings, self.in_shape, self.construct, found.networks, self.proxies
            )
        return [*cut, *said, *([found.remark] if found.remark else [])]


@dataclass(frozen=True)
class LightningTask(Recipe):
    """Trains a proposal where it is called, or scores an estimate; picklable.

    See ``TrainChild`` and ``Scoring``.

    Children are trained one after the other. One on one device is trained in the process of the
    call, one on several by processes of its own, a rank each; see ``train_in_ranks``. Where SLURM
    has started the ranks, each of them makes this call, and the outcome of rank 0 counts.

    Attributes:
        proxies: what estimates measure.
    """

    proxies: Sequence[str] = ()

    def __call__(
        self, proposals: Sequence[Proposal], hear: Hear | None = None
    ) -> Iterator[Outcome]:
        from nasrunner.children.proxies.scoring import Scoring  # imports Lightning
        from nasrunner.children.proxies.shared_scoring import SharedScoring

        score = Scoring(self, self.proxies)
        estimate = SharedScoring(self)
        for proposal in proposals:
            if takes_shared(proposal):
                yield estimate(proposal)
            elif proposal.kind == "estimate":
                yield score(proposal)
            else:
                yield self._train(proposal, hear)

    def _train(self, proposal: Proposal, hear: Hear | None) -> Outcome:
        from nasrunner.children.fit.training import TrainChild
        from nasrunner.children.processes import num_processes, train_in_ranks
        from nasrunner.children.ranks import are_started_by_srun, rank_here

        if are_started_by_srun():
            return TrainChild(self, rank_here(), hear)(proposal)
        if num_ranks := num_processes(self):
            return train_in_ranks(self, proposal, num_ranks, hear)
        return TrainChild(self, hear=hear)(proposal)
