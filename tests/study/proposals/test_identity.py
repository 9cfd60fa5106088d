"""Proposals of the same training have the same identity and seed, whatever words they use."""

from pathlib import Path
from typing import Any

import pytest

from nasrunner.core import Outcome, Proposal, Searcher
from tests.contracts.trainers import EPOCHS, EpochsTrainer
from tests.study.test_loop import Run, events, with_rules
from tests.toys import chain

ASKS: dict[str, dict[str, Any]] = {
    "plain": {},
    "until its end": {"until": EPOCHS},
    "until beyond its end": {"until": EPOCHS + 3},
    "a fidelity of what is configured": {"fidelity": {"trainer.max_epochs": EPOCHS}},
    "the same as another number": {"fidelity": {"trainer.max_epochs": float(EPOCHS)}},
}


class Asks(Searcher):
    """Proposes one architecture in several words."""

    words: tuple[dict[str, Any], ...] = ()

    def suggest(self, index: int) -> Proposal | None:
        genotype = dict.fromkeys([d.path for d in self._decisions()], 0)
        return Proposal(index, genotype, **self.words[index]) if index < len(self.words) else None

    def _decisions(self) -> list[Any]:
        found: list[Any] = []

        def choose(decision: Any) -> int:
            found.append(decision)
            return 0

        self.space.walk(choose)
        return found

    def learn(self, outcome: Outcome) -> None:
        pass


def asked(folder: Path, *words: dict[str, Any]) -> Run:
    kind = type("Asking", (Asks,), {"words": words})
    study = Run(folder, chain(), with_rules(), kind, trainer=EpochsTrainer(chain()))
    study.run()
    return study


@pytest.mark.parametrize("first", ASKS)
def test_the_same_training_has_the_same_identity(tmp_path: Path, first: str) -> None:
    study = asked(tmp_path, ASKS[first], *(ASKS[name] for name in ASKS if name != first))
    proposed = events(tmp_path, "proposed")
    assert len({each["identity"] for each in proposed}) == 1
    assert proposed[0]["identity"] == study.recorder.outcomes[0].proposal.hash
    assert study.executor.num_trained == 1
    assert [o.reused_from for o in study.recorder.outcomes] == [None, 0, 0, 0, 0]
    ranked = study.study.history.ranking.best(5)
    assert [each.index for each in ranked] == [0]


def test_a_shorter_training_is_another_of_the_same_seed(tmp_path: Path) -> None:
    asked(tmp_path, {}, {"until": EPOCHS - 1}, {"fidelity": {"trainer.max_epochs": 2}})
    proposed = events(tmp_path, "proposed")
    assert len({each["identity"] for each in proposed}) == 3
    assert len({each["seed"] for each in proposed}) == 1
