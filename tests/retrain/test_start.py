"""``start=child``: networks that go on with their child's weights."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

Retrain = Callable[..., None]
GIVEN = ("top=1", "seeds=2", "mlp_classifier=false", "start=child")


def weights(path: Path) -> dict[str, torch.Tensor]:
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    return {name.removeprefix("network."): value for name, value in state.items()}


def test_training_begins_with_the_weights_that_the_childs_reward_is_of(
    retrain: Retrain, study: Path
) -> None:
    retrain(f"from={study}", *GIVEN, "optimizer.lr=1e-12")  # they stay where they began
    before = weights(study / "children" / "0001" / "best.ckpt")
    for repetition in (0, 1):
        after = weights(study / "retrained" / f"0001-seed{repetition}" / "last.ckpt")
        assert set(after) == set(before)
        for name, value in before.items():
            torch.testing.assert_close(after[name], value, rtol=0, atol=1e-6)


def test_repetitions_differ_in_what_follows_the_same_weights_and_it_is_recorded(
    retrain: Retrain, study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    retrain(f"from={study}", *GIVEN, "trainer.max_epochs=3")
    record = json.loads((study / "retrained" / "retrain.json").read_text())
    assert record["start"] == "child"
    assert [each["epochs"] for each in record["networks"]] == [3, 3]
    first, second = record["architectures"][0]["metrics"]["test_loss"]["values"]
    assert first != second
    assert OmegaConf.load(study / "retrained" / "retrain.yaml").start == "child"
    assert "Children's weights trained further on train and validation" in capsys.readouterr().out


def refused(retrain: Retrain, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit, match="2"):
        retrain(*arguments)
    return capsys.readouterr().err


def test_a_narrower_childs_weights_are_none_of_the_whole_network(
    retrain: Retrain, study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = study / "ledger.jsonl"
    events = [json.loads(line) for line in path.read_text().splitlines()]
    for event in events:
        event |= {"fidelity": {"width": 0.5}} if event["event"] == "proposed" else {}
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    told = refused(retrain, capsys, f"from={study}", *GIVEN)
    assert "child 0001 was trained at width=0.5, as a narrower network: legal is start=sc" in told


def test_networks_from_scratch_are_not_mixed_with_them(
    retrain: Retrain, study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    retrain(f"from={study}", *GIVEN[:3])
    said = refused(retrain, capsys, f"from={study}", *GIVEN)
    assert "with start=scratch, not child: give folder= another one" in said
    path = study / "retrained" / "retrain.yaml"
    path.write_text(path.read_text().replace("start: scratch\n", ""))  # of an earlier version
    retrain(f"from={study}", *GIVEN[:3])
    assert "start=scratch, not child" in refused(retrain, capsys, f"from={study}", *GIVEN)


@pytest.mark.parametrize("is_damaged", [False, True])
def test_weights_that_are_gone_are_one_sentence_before_anything_is_trained(
    is_damaged: bool, retrain: Retrain, study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = study / "children" / "0001" / "best.ckpt"
    checkpoint.unlink()
    if is_damaged:
        checkpoint.write_bytes(b"cut off")
    said = refused(retrain, capsys, f"from={study}", *GIVEN)
    why = f"{checkpoint} cannot be read: " if is_damaged else "they are gone, or keep_weights and"
    assert f"0001 holds no weights that can be read (best.ckpt or last.ckpt): {why}" in said
    assert "legal is start=scratch" in said
    assert not (study / "retrained").exists()
    retrain(f"from={study}", *GIVEN[:3])  # start=scratch needs none


def test_a_grid_searches_trainings_from_scratch(
    retrain: Retrain, study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(retrain, capsys, f"from={study}", *GIVEN, "grid={optimizer.lr: [0.01, 0.1]}")
    assert "start=child goes on with the child's weights, and grid= searches" in said
    assert "start=chld is no choice" in refused(retrain, capsys, f"from={study}", "start=chld")
