import json
from pathlib import Path

import pytest

from nasrunner.compose.launch import baseline_config, check_learns, in_shape_of
from nasrunner.core import ConfigError, Proposal
from nasrunner.core.randomness.seeds import baseline_seed
from nasrunner.searchers.sampling.random import RandomSearch
from tests.toys import chain


@pytest.mark.parametrize(
    ("name", "value", "legal"),
    [
        ("in_shape", 64, "list of int >= 1"),
        ("in_shape", [], "list of int >= 1"),
        ("in_shape", [1, "8"], "list of int >= 1"),
        ("in_shape", [0, 8], "list of int >= 1"),
        ("in_shape", None, "list of int >= 1"),
        ("num_outputs", 2.5, "int >= 1"),
    ],
)
def test_data_of_no_shape_is_named(name: str, value: object, legal: str) -> None:
    data = {"in_shape": [1, 8, 8], "num_outputs": 10}
    assert in_shape_of(data) == (1, 8, 8)
    with pytest.raises(ConfigError) as refused:
        in_shape_of({**data, name: value})
    assert str(refused.value) == f"data.{name} must be {legal}, got {value!r}"


def test_a_baseline_draws_with_another_searchers_seed_and_keeps_an_earlier_versions_rule(
    tmp_path: Path,
) -> None:
    config = {"study": "a", "seed": 3, "baseline": {"_target_": "x"}, "target_reward": 1.0}
    begun = baseline_config(config, tmp_path)
    assert begun["seed"] == 3
    assert begun["searcher"] == {"_target_": "x", "seed": baseline_seed(3)}
    own = {**config, "baseline": {"_target_": "x", "seed": 5}}
    assert baseline_config(own, tmp_path)["searcher"]["seed"] == 5
    header = {"event": "study", "time": 0.0, "version": 1, "seed": baseline_seed(3), "space": {}}
    (tmp_path / "ledger.jsonl").write_text(json.dumps(header) + "\n")
    earlier = baseline_config(config, tmp_path)
    assert earlier["seed"] == baseline_seed(3)
    assert earlier["searcher"] == {"_target_": "x"}


def test_a_searcher_that_learns_rewards_as_earlier_ones_did_is_refused() -> None:
    class Earlier(RandomSearch):
        def learn(self, proposal: Proposal, reward: float) -> None:  # type: ignore[override]
            pass

    message = (
        r"^searcher: Earlier\.learn must take an outcome alone, learn\(outcome\), which holds "
        r"outcome\.proposal and outcome\.reward; it takes \(proposal: .*, reward: float\)"
    )
    with pytest.raises(ConfigError, match=message):
        check_learns(Earlier(space=chain(), seed=0))
    check_learns(RandomSearch(space=chain(), seed=0))
