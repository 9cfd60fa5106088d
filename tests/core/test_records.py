import json
from dataclasses import replace

import pytest

from nasrunner.core import Outcome, Proposal


@pytest.mark.parametrize("length", [20_000, 20_001, 5_000_000])
def test_a_long_error_keeps_its_ends(length: int) -> None:
    error = "begins" + "x" * (length - 10) + "ends"
    outcome = Outcome(Proposal(0, {}), "failed", error=error)
    assert outcome.error is not None
    assert outcome.error.startswith("begins")
    assert outcome.error.endswith("ends")
    assert len(json.dumps(outcome.to_json())) < 20_500
    if length == 20_000:
        assert outcome.error == error
    else:
        assert f"\n[{length - 19_900:,} characters were cut here]\n" in outcome.error
    assert Outcome.from_json(outcome.to_json(), outcome.proposal) == outcome


def test_a_training_that_broke_in_its_first_epoch_was_one() -> None:
    judged = Outcome(Proposal(0, {}), "completed", 0.0, {"epochs": 0.0})
    assert not judged.is_trained
    assert replace(judged, status="failed").is_trained
    assert replace(judged, metrics={"epochs": 0.0, "diverged": 1.0}).is_trained
    assert replace(judged, metrics={"epochs": 1.0}).is_trained
