"""Studies whose children begin with weights of others: loop, executor, children, and kills."""

import dataclasses
import functools
import json
from pathlib import Path

import pytest

from nasrunner.children.networks import SpaceNetworks
from nasrunner.core import ConfigError, Proposal, Source, StudyInfo, child_folder
from nasrunner.executors.local import LocalExecutor
from nasrunner.executors.serial import SerialExecutor
from nasrunner.searchers.evolution.evolution import RegularizedEvolution
from nasrunner.searchers.wrappers.asha import Asha
from nasrunner.searchers.wrappers.inheriting import Inheriting
from nasrunner.study.keeping import Keeping
from nasrunner.study.ledger import Ledger
from nasrunner.study.loop import Study
from tests.children.blobs import make_trainer
from tests.children.progress.test_studies import told
from tests.sampling import one_in
from tests.toys import RULES, train_one

UNITS = {"affine": {"units": {"oneof": [4, 8, 16]}}}
SPACE = {"concat": [UNITS, "relu", UNITS, "relu", {"affine": {"units": 3}}]}
CHILDREN = 10


class KilledError(Exception):
    """The driver is gone."""


def inheriting(*, morphism_share=0, **arguments):
    inner = functools.partial(RegularizedEvolution, population_size=3, tournament_size=2)
    return Inheriting(
        searcher=inner, bank="last", max_sources=2, morphism_share=morphism_share, **arguments
    )


def morphing(**arguments):
    return inheriting(morphism_share=0.7, **arguments)


def climbing(**arguments):
    rungs = {"rungs": [1], "min_epochs": 1, "max_epochs": 3, "fidelity": None}
    return Asha(searcher=morphing, num_brackets=1, eta=2, **rungs, **arguments)


def run(
    folder: Path,
    executor,
    searcher=inheriting,
    keep="all",
    survives=None,
    trainer=None,
    **changes,
):
    """Runs a study and returns its summary; it dies after so many events if it is told to."""
    folder.mkdir(exist_ok=True)
    trainer = trainer or make_trainer("trainer.max_epochs=3", space=SPACE)
    rules = dataclasses.replace(RULES, **{"max_children": CHILDREN, **changes})
    with Ledger(folder / "ledger.jsonl") as ledger:
        study = Study(
            space=trainer.space,
            searcher=searcher(space=trainer.space, seed=rules.seed),
            trainer=trainer,
            executor=executor,
            trackers=[],
            ledger=ledger,
            rules=rules,
            info=StudyInfo("inheriting", folder, {}, rules.max_children, {}),
            networks=SpaceNetworks(trainer.space, trainer.in_shape, "float32", identifies=True),
            keeping=Keeping(folder, keep),
        )
        if survives is not None:
            append, left = ledger.append, iter(range(survives))

            def dies(*arguments, **more):
                append(*arguments, **more)
                if next(left, None) is None:
                    raise KilledError

            ledger.append = dies
        try:
            return study.run()
        finally:
            executor.close()


def serial():
    return SerialExecutor(threads=1)


@one_in(2, 0, "searcher", [inheriting, climbing])
@pytest.mark.parametrize("keep", ["all", "none"])
def test_children_begin_with_weights_that_are_there(tmp_path, searcher, keep):
    run(tmp_path, serial(), searcher, keep)
    proposed = {each["index"]: each for each in told(tmp_path, "proposed")}
    inherited = 0
    for outcome in told(tmp_path, "outcome"):
        sources = proposed[outcome["index"]].get("sources", [])
        assert "lacks" not in outcome
        if any(each["what"] != "training" for each in sources):
            inherited += 1
            assert 0 < outcome["metrics"]["inherited_share"] <= 1
            assert outcome["metrics"]["inherited_tensors"] >= 2
    assert inherited >= 5
    whats = {each["what"] for event in proposed.values() for each in event.get("sources", [])}
    assert ("morphism" in whats) == (searcher is climbing)


@one_in(3, 1, "searcher", [inheriting, morphing, climbing], rest=pytest.mark.matrix)
@pytest.mark.slow
def test_a_killed_study_goes_on_as_if_it_had_not_been(tmp_path, searcher):
    run(tmp_path / "whole", serial(), searcher)
    for survives in (4, 8, 6):
        with pytest.raises(KilledError):
            run(tmp_path / "parts", serial(), searcher, survives=survives)
    run(tmp_path / "parts", serial(), searcher)
    for kind in ("proposed", "outcome"):
        assert told(tmp_path / "parts", kind) == told(tmp_path / "whole", kind)


@pytest.mark.slow
@one_in(2, 0, "searcher", [inheriting, climbing], rest=pytest.mark.matrix)
def test_two_workers_begin_with_weights_of_children_that_have_ended(tmp_path, searcher):
    workers = LocalExecutor(2, 1, None, 0, [], None, 1, ["pytorch_lightning"])
    run(tmp_path, workers, searcher)
    ended: set[int] = set()
    inherited = 0
    for line in map(json.loads, (tmp_path / "ledger.jsonl").read_text().splitlines()):
        if line["event"] == "proposed":
            sources = line.get("sources", [])
            assert {each["child"] for each in sources} <= ended
            inherited += any(each["what"] != "training" for each in sources)
        elif line["event"] == "outcome":
            ended.add(line["index"])
            assert "lacks" not in line
    assert inherited >= 4
    before = told(tmp_path, "proposed")
    workers = LocalExecutor(2, 1, None, 0, [], None, 1, ["pytorch_lightning"])
    run(tmp_path, workers, searcher, max_children=CHILDREN + 3)  # the replayed state is legal, too
    assert told(tmp_path, "proposed")[: len(before)] == before


@pytest.mark.slow
def test_a_child_whose_source_was_removed_by_hand_is_trained_without(tmp_path):
    run(tmp_path, serial())
    for path in tmp_path.glob("children/*/*.ckpt"):
        path.unlink()
    run(tmp_path, serial(), max_children=CHILDREN + 1)
    outcome, proposed = told(tmp_path, "outcome")[-1], told(tmp_path, "proposed")[-1]
    assert outcome["lacks"] == [each["child"] for each in proposed["sources"]]
    assert outcome["metrics"]["inherited_share"] == 0
    assert outcome["status"] == "completed"
    log = (child_folder(tmp_path, outcome["index"]) / "log.txt").read_text()
    assert f"the weights of child {outcome['lacks'][0]} are gone: none are borrowed" in log


def test_an_interrupted_child_tells_what_it_had_inherited(tmp_path):
    trainer = make_trainer("trainer.max_epochs=3", space=SPACE)
    task = trainer.task(tmp_path, 0)
    genotype = trainer.space.walk(lambda decision: 0)
    train_one(task, Proposal(0, genotype, seed=1))
    half = Proposal(1, genotype, seed=2, sources=(Source(0, "weights"),), until=1)
    assert train_one(task, half).metrics["inherited_share"] == 1
    for path in child_folder(tmp_path, 0).glob("*.ckpt"):
        path.unlink()
    outcome = train_one(task, Proposal(2, genotype, seed=2, sources=(Source(1, "training"),)))
    assert outcome.metrics["inherited_share"] == 1


def test_where_no_weights_are_kept_the_study_does_not_begin():
    trainer = make_trainer("trainer.checkpoint=none", space=SPACE)
    with pytest.raises(ConfigError, match=r"trainer\.checkpoint=none keeps no weights for"):
        trainer.check(Proposal(0, {}, sources=(Source(0, "weights"),)))
