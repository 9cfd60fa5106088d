"""Proposals that are no plain trainings: fidelities, borrowed weights, estimates, supernets."""

import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from nasrunner.core import Hear, NasRunnerError, Outcome, Proposal, Train
from nasrunner.searchers.sampling.random import RandomSearch
from nasrunner.study.keeping import Keeping
from tests.contracts.searchers import FidelitySearch, Filter, Inheriting, OneShot
from tests.contracts.trainers import (
    EPOCHS,
    METRIC,
    Epochs,
    EpochsTrainer,
    accuracy,
    first_state,
    step,
)
from tests.study.test_loop import Crash, Run, events, with_rules
from tests.toys import ToyExecutor, chain, toy_reward


class CountingExecutor(ToyExecutor):
    """Remembers how many children each submission had."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.submitted: list[int] = []

    def submit(
        self,
        train: Train,
        proposals: Sequence[Proposal],
        folders: Sequence[Path],
        hear: Hear | None = None,
    ) -> None:
        if proposals[0].index >= 0:
            self.submitted.append(len(proposals))
        super().submit(train, proposals, folders, hear)


def run(folder: Path, searcher: Any, slots: int = 1, **changes: Any) -> Run:
    space = chain(12)  # no two random architectures are the same
    folder.mkdir(exist_ok=True)
    return Run(
        folder,
        space,
        with_rules(**{"max_children": 20, **changes}),
        searcher,
        executor=CountingExecutor(slots),
        trainer=EpochsTrainer(space),
    )


def test_cheap_trainings_are_learnt_but_only_the_full_one_is_best(tmp_path: Path) -> None:
    cheap = functools.partial(FidelitySearch, fidelity={"trainer.max_epochs": 2})
    study = run(tmp_path, cheap)
    summary = study.run()
    proposed = events(tmp_path, "proposed")
    assert [event.get("fidelity") for event in proposed] == [{"trainer.max_epochs": 2}] * 6 + [None]
    assert [best["index"] for best in summary.best] == [6]
    assert summary.reason == "the best of the cheap ones is trained"
    costs = [event["cost_s"] for event in events(tmp_path, "outcome")]
    assert costs == [2.0] * 6 + [6.0]
    best = max(events(tmp_path, "outcome")[:6], key=lambda event: event["reward"])
    assert proposed[6]["genotype"] == proposed[best["index"]]["genotype"]
    assert proposed[6]["identity"] != proposed[best["index"]]["identity"]
    assert proposed[6]["seed"] == proposed[best["index"]]["seed"]


def trained(state: str, seed: int) -> list[str]:
    """What weights become, after each epoch."""
    states = [state]
    for epoch in range(1, EPOCHS + 1):
        states.append(step(states[-1], seed, epoch))
    return states[1:]


def test_weights_may_come_from_several_children_whose_checkpoints_are_kept_for_that(
    tmp_path: Path,
) -> None:
    study = run(tmp_path, Inheriting)
    study.study.keeping = Keeping(tmp_path, "none")
    study.run()
    sources = [event.get("sources", []) for event in events(tmp_path, "proposed")]
    assert sources == [[], [], [{"child": 1, "what": "weights"}, {"child": 0, "what": "weights"}]]
    genotypes = [event["genotype"] for event in events(tmp_path, "proposed")]
    seeds = [event["seed"] for event in events(tmp_path, "proposed")]
    lent = [trained(first_state(genotypes[child]), seeds[child])[-1] for child in (1, 0)]
    states = trained(first_state(genotypes[2], lent), seeds[2])
    expected = [accuracy(state, genotypes[2], n) for n, state in enumerate(states, start=1)]
    assert events(tmp_path, "outcome")[2]["curve"][METRIC] == expected
    assert not list(tmp_path.glob("children/*/last.ckpt"))  # nobody needs them any more


def test_a_hundred_estimates_are_one_submission_and_no_children(tmp_path: Path) -> None:
    study = run(tmp_path, Filter)
    summary = study.run()
    assert isinstance(study.executor, CountingExecutor)
    assert study.executor.submitted == [100, 1, 1, 1]
    assert summary.counts == {"estimates": 100, "completed": 3}
    rewards = sorted(
        (toy_reward(event["genotype"]) for event in events(tmp_path, "proposed")[:100]),
        reverse=True,
    )
    trained = [toy_reward(event["genotype"]) for event in events(tmp_path, "proposed")[100:]]
    assert trained == rewards[:3]
    assert [best["index"] for best in summary.best] == [100, 101, 102]


def test_estimates_spend_no_budget_of_children(tmp_path: Path) -> None:
    study = run(tmp_path, functools.partial(Filter, num_estimates=30), max_children=2)
    summary = study.run()
    assert summary.counts == {"estimates": 30, "completed": 2}
    assert summary.reason == "max_children=2 is spent"


def test_a_driver_that_dies_asks_for_the_estimates_that_it_lacks(tmp_path: Path) -> None:
    run(tmp_path / "whole", Filter).run()
    parts = run(tmp_path / "parts", Filter)
    append, left = parts.ledger.append, iter(range(150))

    def dies(*arguments: Any, **more: Any) -> None:
        append(*arguments, **more)
        if next(left, None) is None:
            raise Crash

    parts.ledger.append = dies  # type: ignore[method-assign]
    with pytest.raises(Crash):
        parts.run()
    again = run(tmp_path / "parts", Filter)
    again.run()
    assert isinstance(again.executor, CountingExecutor)
    assert again.executor.submitted[0] == 100 - 50
    for kind in ("proposed", "outcome"):
        assert events(tmp_path / "parts", kind) == events(tmp_path / "whole", kind)


def test_a_supernet_finds_children_which_are_trained_as_any_others(tmp_path: Path) -> None:
    study = run(tmp_path, OneShot)
    summary = study.run()
    proposed = events(tmp_path, "proposed")
    assert [event.get("kind") for event in proposed] == ["supernet", None, None, None]
    found = events(tmp_path, "outcome")[0]["found"]
    assert len({json.dumps(each) for each in found}) == 3
    assert [event["genotype"] for event in proposed[1:]] == found
    assert summary.counts == {"supernets": 1, "completed": 3}
    assert summary.reason == "the 3 children that the supernet found are trained"
    again = run(tmp_path, OneShot)
    again.run()
    assert events(tmp_path, "proposed") == proposed


def test_a_study_ends_with_its_supernet_where_that_fails(tmp_path: Path) -> None:
    told = f"no such layer{', nor another' * 20}; legal: one"  # what is legal stands at the end

    class Breaks(EpochsTrainer):
        def task(self, folder: Path, seed: int, policy: Any = None) -> Train:
            class Broken(Epochs):
                def _train(self, proposal: Proposal, hear: Hear | None) -> Outcome:
                    return Outcome(proposal, "failed", error=f"Traceback:\nValueError: {told}")

            return Broken(folder, self.space, policy=policy)

    space = chain()
    study = Run(tmp_path, space, with_rules(max_children=20), OneShot, trainer=Breaks(space))
    summary = study.run()
    assert summary.failure == f"the supernet failed: ValueError: {told}"
    assert summary.reason == summary.failure
    assert len(events(tmp_path, "proposed")) == 1


def test_a_searcher_that_waits_while_nothing_runs_is_an_error(tmp_path: Path) -> None:
    class Waits(RandomSearch):
        @property
        def is_ready(self) -> bool:
            return self.num_proposed < 3

    study = run(tmp_path, Waits)
    with pytest.raises(NasRunnerError, match="Waits waits for outcomes, but nothing runs"):
        study.run()
    assert len(events(tmp_path, "outcome")) == 3
