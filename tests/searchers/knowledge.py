"""What searchers propose and learn in studies, told in digests that processes can compare.

    python -m tests.searchers.knowledge --long figure1 mlp

prints a JSON object: one digest for each searcher on each of the spaces and, with ``--long``, one
for each study of ``LONG_STUDIES``.
"""

import dataclasses
import functools
import hashlib
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_info  # type: ignore[import-untyped]  # ships no types

from nasrunner.core import Searcher, SearchSpace, StudyInfo
from nasrunner.searchers.optuna import Tpe
from nasrunner.searchers.policy.policy_gradient import PolicyGradient
from nasrunner.searchers.sampling.random import RandomSearch
from nasrunner.searchers.surrogates.forest import Forest
from nasrunner.searchers.surrogates.smbo import Smbo
from nasrunner.study.ledger import Ledger, read_events
from nasrunner.study.loop import Study
from nasrunner.study.one_thread import OneThread
from tests.searchers.worlds import SEARCHERS, STOPPING, load_space, make_searcher
from tests.toys import RULES, ToyExecutor, ToyTrainer, chain

Make = Callable[..., Searcher]


def search(folder: Path, make: Make, space: SearchSpace, num_children: int) -> Searcher:
    """Begins a study, or goes on with it, until it has so many children, two at a time."""
    searcher = make(space=space, seed=RULES.seed)
    with Ledger(folder / "ledger.jsonl") as ledger:
        Study(
            space=space,
            searcher=searcher,
            trainer=ToyTrainer(space),
            executor=ToyExecutor(slots=2),
            trackers=[],
            ledger=ledger,
            rules=dataclasses.replace(RULES, max_children=num_children, duplicates="retrain"),
            info=StudyInfo("toy", folder, {}, num_children),
        ).run()
    return searcher


def shipped(name: str) -> Make:
    return functools.partial(make_searcher, name)


def forest(space: SearchSpace, seed: int) -> Searcher:
    """SMBO with a forest of 20 trees for its surrogate."""
    searcher = make_searcher("smbo", space, seed)
    assert isinstance(searcher, Smbo)
    searcher.surrogate = Forest(num_trees=20, max_features=0.5, min_leaf=1, space=space)
    return searcher


def proposed(folder: Path) -> list[Any]:
    events, _ = read_events(folder / "ledger.jsonl")
    return [(e["genotype"], e["notes"]) for e in events if e["event"] == "proposed"]


def knowledge(searcher: Searcher) -> Any:
    """The numbers that a searcher has computed from rewards, to the last digit."""
    match searcher:
        case Smbo():
            genotypes = [searcher.space.walk(lambda decision: 0), *searcher.genotypes[:20]]
            with OneThread().held():
                return [values.tolist() for values in searcher.surrogate.predict(genotypes)]
        case PolicyGradient():
            return [weight.tolist() for weight in searcher.controller.parameters()]
        case Tpe():
            sampler: Any = searcher.study.sampler
            found = getattr(sampler, "_restore_optimizer", lambda trials: None)(
                searcher.study.get_trials()
            )
            return None if found is None else [found._mean.tolist(), found._C.tolist()]
    return None


def digest(make: Make, space: SearchSpace, num_recorded: int, num_children: int) -> str:
    """Proposals and knowledge after a study of random children went on with a searcher."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if num_recorded:
            search(folder, RandomSearch, space, num_recorded)
        searcher = search(folder, make, space, num_recorded + num_children)
        told = json.dumps([proposed(folder), knowledge(searcher)])
    return hashlib.sha256(told.encode()).hexdigest()


LONG_STUDIES: dict[str, tuple[Make, str | int, int, int]] = {
    "ppo": (shipped("ppo"), "deepconv_hyperparameters", 0, 24),
    "reinforce": (shipped("reinforce"), "deepconv_hyperparameters", 0, 24),
    "smbo": (shipped("smbo"), "mlp", 250, 3),
    "smbo_lstm": (shipped("smbo_lstm"), "mlp", 60, 3),
    "smbo_ngrams": (shipped("smbo_ngrams"), "small_cnn", 250, 3),
    "tpe": (shipped("tpe"), "mlp", 100, 3),
    "cmaes": (shipped("cmaes"), 120, 0, 16),
    "gp": (shipped("gp"), "mlp", 150, 2),
    "forest": (forest, "mlp", 250, 3),
}
"""Searcher, space or length of a chain, recorded children and further ones: so many that OpenBLAS
divides the work between threads. The last brings all libraries that the others might lack."""


def libraries() -> set[str]:
    """The numerical libraries that are loaded."""
    return {pool["filepath"] for pool in threadpool_info()}


def main(arguments: list[str]) -> None:
    """Prints the digests."""
    found = {}
    spaces = [argument for argument in arguments if argument != "--long"]
    studies = LONG_STUDIES if "--long" in arguments else {}
    for name, (make, space, num_recorded, num_children) in studies.items():
        there = chain(space) if isinstance(space, int) else load_space(space)
        make(space=there, seed=0)
        loaded = libraries()
        found[f"{name} for long"] = digest(make, there, num_recorded, num_children)
        assert libraries() == loaded, f"{name} loads {libraries() - loaded} when it is asked"
    for space in spaces:
        for name in (each for each in SEARCHERS if each not in STOPPING):  # toys report nothing
            found[f"{name} on {space}"] = digest(shipped(name), load_space(space), 0, 12)
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])
