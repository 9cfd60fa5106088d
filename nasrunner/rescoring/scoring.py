"""Gives the recorded children of a study another reward than the one that it searched with."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from nasrunner.children.evaluating import DIVERGED, mean_outcome
from nasrunner.children.progress.attempts import rewarded_metrics
from nasrunner.children.tasks.reward import Reward
from nasrunner.core.errors import ConfigError
from nasrunner.core.ledger.goal_settings import read_goals
from nasrunner.core.ledger.goals import Goals
from nasrunner.core.ledger.objectives import REWARD, SIZES
from nasrunner.core.records import MEASURED, Outcome
from nasrunner.recorded import RecordedStudy, Rescored
from nasrunner.rescoring.measured import Curve, KeptValues, check_recorded, measured
from nasrunner.rescoring.request import Rescoring
from nasrunner.rescoring.rule import config_after, own_arguments, own_rule, rule_after

_OF_THE_EPOCHS = {
    "best": "the best of a child's epochs",
    "last": "that of a child's last epoch",
    "mean_last": "the mean of a child's last {} epochs",
    "max_last": "the best of a child's last {} epochs",
}
_OF_THE_REWARD = ("reward_epoch", "reward_std")
"""Metrics that say something of the reward that a study searched with."""


def rescored(study: RecordedStudy, rescoring: Rescoring) -> Rescored:
    """Scores a study's children as if it had searched with another reward.

    All is taken from what was recorded: the curves in the children's folders, or else those of the
    ledger, and the metrics of outcomes. The rule, the objectives and their scalarization are those
    that a study applies. Children that failed stay failed, and estimates keep their scores.

    Args:
        study: as it searched.
        rescoring: the other reward.

    Raises:
        ConfigError: a metric that is asked for was not recorded of all children, or the reward
            cannot be made; names the study.
    """
    try:
        return _Scoring(study, rescoring).done()
    except ConfigError as error:
        raise ConfigError(f"{study.folder}: {error}") from None


class _Scoring:
    def __init__(self, study: RecordedStudy, rescoring: Rescoring) -> None:
        given = rescoring.goals_after(study.config)
        self.study = study
        self.goals = read_goals(given)
        self.children = {
            child.proposal.index: measured(study, child)
            for child in study.trainings
            if child.outcome is not None and _has_ended(child.outcome)
        }
        self._check_metric(rescoring.reward.get("metric"))
        self.rule = rule_after(study, rescoring.reward) if rescoring.reward else None
        self.config = config_after(study, given, self.rule)

    def _check_metric(self, metric: Any) -> None:
        """Refuses a metric that no child has, before it is asked which of its values are better."""
        children = list(self.children.values())
        if metric is not None and not any(metric in each.names() for each in children):
            check_recorded("reward.metric", str(metric), 0, children)

    def done(self) -> Rescored:
        """Scores every child.

        Raises:
            ConfigError: a child lacks what its reward is made of.
        """
        if self.rule is not None:
            found = self._by_rule(self.rule, "reward.metric", self.children)
        else:
            found = self._as_searched()
        if self.goals is not None:
            self._check_objectives(self.goals, found)
            found = {index: self.goals.judged(outcome) for index, outcome in found.items()}
        found |= self._untrained()
        for child in self.study.recorded:
            outcome = child.outcome
            assert outcome is not None, "it was recorded"
            source = outcome.reused_from
            if source in found and source is not None and outcome.status != "duplicate":
                found[outcome.proposal.index] = _repeated(found[source], outcome)
        return Rescored(self.config, found, self._detail(), tuple(self._notes()))

    def _untrained(self) -> dict[int, Outcome]:
        """The outcomes of children that the search did not train, since they were too large."""
        found = {}
        for child in self.study.trainings:
            outcome = child.outcome
            if outcome is None or outcome.is_trained or outcome.reused_from is not None:
                continue
            sizes = {name: outcome.metrics[name] for name in SIZES if name in outcome.metrics}
            beyond = None if self.goals is None else self.goals.foreseen(outcome.proposal, sizes)
            found[outcome.proposal.index] = beyond or replace(outcome, reward=None, objectives={})
        return found

    def _by_rule(
        self, rule: Reward, key: str, children: Mapping[int, KeptValues]
    ) -> dict[int, Outcome]:
        """The outcomes with the reward of a rule, before objectives are looked at.

        Raises:
            ConfigError: the metric was not recorded of all that did not diverge.
        """
        is_curved = _is_curved(rule.metric, children)
        whole = [each for each in children.values() if DIVERGED not in each.outcome.metrics]
        having = sum(
            each.has_curve(rule.metric) if is_curved else rule.metric in each.outcome.metrics
            for each in whole
        )
        check_recorded(key, rule.metric, having, whole)
        return {
            index: self._with_reward(rule, child, is_curved=is_curved)
            for index, child in children.items()
        }

    def _with_reward(self, rule: Reward, child: KeptValues, *, is_curved: bool) -> Outcome:
        outcome = child.outcome
        plain = replace(outcome, objectives={}, error=None)
        try:
            if DIVERGED in outcome.metrics and rule.diverged != "keep":
                return replace(plain, reward=self._of_diverged(rule, outcome))
            if not is_curved:
                return _of_one_value(rule, plain)
            reward, metrics = _of_curves(rule, child)
        except ValueError as error:  # what fails a child of a study, too
            told = f"{type(error).__name__}: {error}"
            return replace(plain, status="failed", reward=None, error=told)
        before = _without(outcome.metrics, *_OF_THE_REWARD)
        return replace(plain, reward=reward, metrics={**before, **metrics})

    def _of_diverged(self, rule: Reward, outcome: Outcome) -> float:
        """The reward of a child that diverged, where that is not what it had before.

        Raises:
            ConfigError: it is that of a guess, which was not recorded.
            ValueError: there is none.
        """
        if rule.diverged == "failed":
            raise ValueError("its training diverged")
        own = own_arguments(self.study) or {}
        is_known = (own.get("diverged"), own.get("metric")) == ("chance", rule.metric)
        if not is_known or "trainings" in outcome.metrics:
            raise ConfigError(
                f"reward.diverged=chance: which {rule.metric} a guess has was not recorded, and "
                f"child {outcome.proposal.index:04d} diverged; legal: reward.diverged=keep, failed"
            )
        return rule.of_value(outcome.metrics[rule.metric])

    def _as_searched(self) -> dict[int, Outcome]:
        """The outcomes with the reward that the study's task or table made, where it matters.

        Raises:
            ConfigError: it was not recorded of a child, and cannot be made of its curves.
        """
        found, unknown = {}, {}
        own = read_goals(self.study.config)
        is_plain = own is None or own.scalarization is None
        for index, child in self.children.items():
            outcome = child.outcome
            reward = outcome.objectives.get(REWARD, outcome.reward if is_plain else None)
            if reward is None and not self._takes_reward:
                reward = 0.0  # of no consequence: the scalarization puts another in its place
            if reward is None:
                unknown[index] = child
            else:
                found[index] = replace(outcome, reward=reward, objectives={}, error=None)
        if not unknown:
            return found
        rule = own_rule(self.study)
        if rule is None:
            check_recorded("scalarization", REWARD, len(found), list(self.children.values()))
        assert rule is not None, "the check has refused it"
        found |= self._by_rule(rule, "task.reward.metric", unknown)
        return {index: found[index] for index in self.children}

    @property
    def _takes_reward(self) -> bool:
        """Whether the reward that the task or table made is that of children, or part of it."""
        if self.goals is None or self.goals.scalarization is None:
            return True
        return any(each.name == REWARD for each in self.goals.objectives)

    def _check_objectives(self, goals: Goals, found: Mapping[int, Outcome]) -> None:
        judged = {i: o for i, o in found.items() if o.status != "failed"}
        children = [self.children[index] for index in judged]
        for each in goals.objectives:
            having = sum(each.value(outcome) is not None for outcome in judged.values())
            check_recorded(f"objectives.{each.name}", each.name, having, children)

    def _detail(self) -> str:
        rule = self.rule
        if rule is None or not _is_curved(rule.metric, self.children):
            return ""
        return _OF_THE_EPOCHS[rule.reduce].format(rule.last_epochs)

    def _notes(self) -> Iterator[str]:
        if self.rule is None:
            return
        metric, children = self.rule.metric, self.children.values()
        is_curved = _is_curved(metric, self.children)
        cut = sum(not each.is_whole and bool(each.curves) for each in children)
        if is_curved and cut:
            yield (
                f"Of {cut:,} of {len(children):,} children the curves are the ledger's, a value "
                "for each epoch: their other metrics are of the epoch that the search's reward is "
                "of."
            )
        of_epochs = metric.startswith(("val_", "train_"))
        lost = any("reward_epoch" in e.outcome.metrics and not e.is_whole for e in children)
        if not is_curved and of_epochs and lost:
            yield (
                f"No curve of {metric} was found: its values are those of the epoch that the "
                "search's reward is of."
            )


def _has_ended(outcome: Outcome) -> bool:
    return outcome.status in MEASURED and outcome.is_trained and outcome.reused_from is None


def _is_curved(metric: str, children: Mapping[int, KeptValues]) -> bool:
    return any(each.has_curve(metric) for each in children.values())


def _of_one_value(rule: Reward, plain: Outcome) -> Outcome:
    """The outcome of a child whose metric has no curve; of several trainings it is their mean.

    Raises:
        ValueError: there is no reward.
    """
    metrics = _without(plain.metrics, "reward_std", "trainings")
    if rule.metric not in metrics:
        raise ValueError(f"training diverged before {rule.metric} was measured")
    return replace(plain, reward=rule.of_value(metrics[rule.metric]), metrics=metrics)


def _of_curves(rule: Reward, child: KeptValues) -> tuple[float, dict[str, float]]:
    """The mean reward of a child's trainings, and the metrics of the epochs that it is of.

    Raises:
        ValueError: a training has no reward.
    """
    each = [(rule(curve), _metrics_of(rule, curve, child)) for curve in child.curves]
    if len(each) == 1:
        return each[0]
    proposal = child.outcome.proposal
    return mean_outcome([Outcome(proposal, "completed", *made) for made in each])


def _metrics_of(rule: Reward, curve: Curve, child: KeptValues) -> dict[str, float]:
    lines = [dict(line) for line in curve]
    metrics = rewarded_metrics(lines, rule.chosen(lines))
    return metrics if child.is_whole else _without(metrics, "epochs")


def _repeated(source: Outcome, outcome: Outcome) -> Outcome:
    """What a child has that repeats another's outcome; its size is its own."""
    sizes = {name: outcome.metrics[name] for name in SIZES if name in outcome.metrics}
    return replace(
        source,
        proposal=outcome.proposal,
        metrics={**source.metrics, **sizes},
        cost_s=outcome.cost_s,
        reused_from=outcome.reused_from,
        is_changed=outcome.is_changed,
    )


def _without(metrics: Mapping[str, float], *names: str) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if name not in names}
