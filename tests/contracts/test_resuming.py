"""Studies of every kind of proposal, whose driver dies after any event of their ledgers."""

import contextlib
import functools
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nasrunner.core import Searcher
from nasrunner.searchers.stopping.median_stopping import MedianStopping
from tests.contracts.searchers import (
    EverySecond,
    FidelitySearch,
    Filter,
    Halving,
    Inheriting,
    OneShot,
)
from tests.contracts.test_kinds import run, trained
from tests.contracts.trainers import METRIC, accuracy, first_state
from tests.sampling import one_in, spread
from tests.searchers.wrappers.test_promoting import asha, halving, hyperband
from tests.study.test_loop import Crash, events, evolution

SEARCHERS: dict[str, Callable[..., Searcher]] = {
    "fidelity": functools.partial(FidelitySearch, fidelity={"trainer.max_epochs": 2}),
    "weights": Inheriting,
    "estimates": functools.partial(Filter, num_estimates=10),
    "supernet": OneShot,
    "promotions": Halving,
    "asha": asha(num_brackets=2),
    "asha_anew": asha(fidelity={"trainer.max_epochs": [1, 3]}),
    "halving": halving(num_children=4, rungs=[2]),
    "hyperband": hyperband(),
    "stopping": functools.partial(
        MedianStopping,
        searcher=asha(rungs=[2]),
        metric=METRIC,
        mode="max",
        reward={"metric": METRIC, "mode": "max"},
        min_epochs=3,
        min_children=1,
    ),
    "wrapper": functools.partial(EverySecond, searcher=evolution),
}


def dies(folder: Path, name: str, slots: int, num_events: int) -> bool:
    """Runs a study whose driver dies after so many events; False: it has fewer."""
    study = run(folder, SEARCHERS[name], slots, max_children=6)
    append, left = study.ledger.append, iter(range(num_events - 1))

    def then_die(*arguments: Any, **more: Any) -> None:
        append(*arguments, **more)
        if next(left, None) is None:
            raise Crash

    study.ledger.append = then_die  # type: ignore[method-assign]
    with contextlib.suppress(Crash):
        study.run()
        return False
    return True


@one_in(3, 0, "name", SEARCHERS)
def test_a_driver_that_dies_after_any_event_goes_on_as_if_it_had_not(
    tmp_path: Path, name: str
) -> None:
    run(tmp_path / "whole", SEARCHERS[name], max_children=6).run()
    num_events = 0
    while dies(tmp_path / f"{num_events + 1}", name, 1, num_events + 1):
        num_events += 1
        parts = tmp_path / f"{num_events}"
        run(parts, SEARCHERS[name], max_children=6).run()
        for kind in ("proposed", "outcome"):
            assert events(parts, kind) == events(tmp_path / "whole", kind)
    assert num_events >= 8


@pytest.mark.parametrize(
    ("name", "num_events"), spread(itertools.product(SEARCHERS, range(2, 20, 2)), ci=2)
)
def test_children_that_end_in_any_order_are_what_they_would_be_alone(
    tmp_path: Path, name: str, num_events: int
) -> None:
    dies(tmp_path, name, 3, num_events)
    run(tmp_path, SEARCHERS[name], 3, max_children=6).run()
    proposed, ended = events(tmp_path, "proposed"), events(tmp_path, "outcome")
    assert [event["index"] for event in proposed] == list(range(len(proposed)))
    assert sorted(event["index"] for event in ended) == list(range(len(proposed)))
    alone = 0
    for outcome in ended:
        proposal = proposed[outcome["index"]]
        if "curve" not in outcome or "sources" in proposal:
            continue
        states = trained(first_state(proposal["genotype"]), proposal["seed"])
        curve = outcome["curve"][METRIC]
        expected = [accuracy(s, proposal["genotype"], n) for n, s in enumerate(states, start=1)]
        assert curve == expected[: len(curve)]
        alone += 1
    assert alone >= 2
