import json

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
