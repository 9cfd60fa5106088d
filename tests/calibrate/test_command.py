"""The command: a sample that is trained, and the table of what ranks it."""

import csv
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import kendalltau, spearmanr

from nasrunner import command as search
from nasrunner.calibrate import command
from nasrunner.calibrate.agreement import Agreement
from nasrunner.calibrate.arguments import parse
from nasrunner.calibrate.predicting import NUM_DIVISIONS, NUM_PARTS, divisions, surrogates
from nasrunner.calibrate.ranking import CheapRanking
from nasrunner.calibrate.recommending import write_option
from nasrunner.children.proxies import scores
from nasrunner.core.errors import ConfigError
from nasrunner.core.machine.child_folder import ChildFolder
from nasrunner.study.ledger import read_events

ON_DIGITS = (
    "data=digits",
    "tracker=none",
    "executor=serial",
    "trainer.max_epochs=1",
    "trainer.accelerator=cpu",
)
SMALL = "space={concat: [{affine: {units: {oneof: [4, 8, 16, 32]}}}, {or: [relu, tanh, sigmoid]}, "
SMALL += "{affine: {units: 10}}]}"
ZERO_COST = "trainer=zero_cost"


def calibrate(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr("sys.argv", ["nasrunner-calibrate", *arguments])
    command.main()


def refused(monkeypatch: pytest.MonkeyPatch, capsys: Any, *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        calibrate(monkeypatch, *arguments)
    assert ended.value.code == 2
    return str(capsys.readouterr().err)


def table(folder: Path, what: str) -> dict[str, dict[str, str]]:
    lines = (folder / f"calibration-{what}.csv").read_text().splitlines()
    return {row["ranking"]: row for row in csv.DictReader(lines)}


def outcomes(folder: Path, status: str = "completed") -> list[dict[str, Any]]:
    """Of what was trained; the random search also proposes what it has proposed before."""
    events, _ = read_events(folder / "ledger.jsonl")
    return [e for e in events if e["event"] == "outcome" and e["status"] == status]


def trained(folder: Path, status: str = "completed") -> list[dict[str, Any]]:
    """The proposals of the children that were trained."""
    events, _ = read_events(folder / "ledger.jsonl")
    indices = {each["index"] for each in outcomes(folder, status)}
    return [e for e in events if e["event"] == "proposed" and e["index"] in indices]


def seeds(folder: Path, status: str = "completed") -> set[int]:
    """Of the children that were trained."""
    return {each["seed"] for each in trained(folder, status)}


@pytest.mark.slow
def test_predictors_and_proxies_are_measured_on_one_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    folder = tmp_path / "study"
    calibrate(monkeypatch, "what=predictors", "num_children=9", f"to={folder}", SMALL, *ON_DIGITS)
    recorded = outcomes(folder)
    assert len(recorded) == 9
    found = table(folder, "predictors")
    assert list(found) == ["parameters", "flops", *surrogates(sees_networks=True)]
    rewards = [each["reward"] for each in recorded]
    counts = [each["metrics"]["parameters"] for each in recorded]
    assert float(found["parameters"]["tau"]) == pytest.approx(kendalltau(counts, rewards).statistic)
    assert float(found["parameters"]["rho"]) == pytest.approx(spearmanr(counts, rewards).statistic)
    training_s = np.mean([each["cost_s"] for each in recorded])
    told = json.loads((folder / "calibration-predictors.json").read_text())
    assert told["training_s"] == pytest.approx(training_s)
    assert told["num_children"] == 9
    for row in told["rankings"]:
        assert row["share_of_training"] == pytest.approx(row["cost_s"] / training_s)
        assert row["cost_s"] > 0
    assert "Kendall's τ" in capsys.readouterr().out

    calibrate(monkeypatch, "what=proxies", f"from={folder}")
    assert outcomes(folder) == recorded  # nothing was trained again
    scored = table(folder, "proxies")
    assert {"flops", "synflow", "naswot", "grad_norm"} <= set(scored)
    for name in ("parameters", "flops"):  # counted by another way
        assert float(scored[name]["tau"]) == pytest.approx(float(found[name]["tau"]))


@pytest.mark.slow
def test_a_sample_that_was_broken_off_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    folder = tmp_path / "study"
    calibrate(monkeypatch, "what=proxies", "num_children=5", f"to={folder}", SMALL, *ON_DIGITS)
    whole = [(each["index"], each["reward"]) for each in outcomes(folder)]
    ledger = folder / "ledger.jsonl"
    lines = ledger.read_text().splitlines(keepends=True)
    at = [place for place, line in enumerate(lines) if '"outcome"' in line][2]
    ledger.write_text("".join(lines[: at + 1]))
    calibrate(monkeypatch, "what=proxies", f"from={folder}")
    assert [(each["index"], each["reward"]) for each in outcomes(folder)] == whole


@pytest.mark.slow
def test_cheaper_trainings_are_compared_with_the_full_ones_and_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    folder = tmp_path / "study"
    longer = [each.replace("max_epochs=1", "max_epochs=3") for each in ON_DIGITS]
    asked = ("what=fidelities", "fidelities={data: [0.3], width: 0.5}", "bound=-0.99")
    calibrate(monkeypatch, *asked, "num_children=5", f"to={folder}", SMALL, *longer)
    told = capsys.readouterr().out
    full = outcomes(folder)
    found = table(folder, "fidelities")
    assert list(found) == ["until=1", "data=0.3", "width=0.5"]
    rewards = [each["reward"] for each in full]
    first = [each["curve"]["val_accuracy"][0] for each in full]
    anew = [outcomes(folder / "fidelities" / name) for name in ("data=0.3", "width=0.5")]
    ranked = [first, *([each["reward"] for each in study] for study in anew)]
    for row, cheap in zip(found.values(), ranked, strict=True):
        assert float(row["tau"]) == pytest.approx(kendalltau(cheap, rewards).statistic)
    costs = [np.mean([each["cost_s"] for each in study]) for study in (full, *anew)]
    assert float(found["until=1"]["cost_s"]) == pytest.approx(costs[0] / 3)
    for row, cost_s in zip(list(found.values())[1:], costs[1:], strict=True):
        assert float(row["cost_s"]) == pytest.approx(cost_s)
        assert float(row["share_of_training"]) == pytest.approx(cost_s / costs[0])
    good = [name for name, row in found.items() if row["low"] and float(row["low"]) > -0.99]
    best = min(good, key=lambda name: float(found[name]["cost_s"]))
    assert json.loads((folder / "calibration-fidelities.json").read_text())["recommended"] == best
    assert f"bound=-0.99: {best}" in told
    assert "--config-dir" in told

    ledger = folder / "fidelities" / "width=0.5" / "ledger.jsonl"
    lines = ledger.read_text().splitlines(keepends=True)
    at = [place for place, line in enumerate(lines) if '"outcome"' in line][1]
    ledger.write_text("".join(lines[: at + 1]))
    calibrate(monkeypatch, *asked, f"from={folder}")
    assert outcomes(folder) == full
    assert outcomes(folder / "fidelities" / "data=0.3") == anew[0]
    again = outcomes(folder / "fidelities" / "width=0.5")
    assert [each["reward"] for each in again] == [each["reward"] for each in anew[1]]
    assert again[:2] == anew[1][:2]
    assert seeds(folder / "fidelities" / "width=0.5") == seeds(folder)

    calibrate(monkeypatch, "what=all", asked[1], f"from={folder}")
    whole = table(folder, "all")
    assert {"synflow", "parameters", "GP all", *found} <= set(whole)
    assert [whole[name]["tau"] for name in found] == [row["tau"] for row in found.values()]


@pytest.mark.slow
def test_first_epochs_with_inherited_weights_are_compared_and_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "study"
    longer = [each.replace("max_epochs=1", "max_epochs=4") for each in ON_DIGITS]
    asked = ("what=inherited", "bound=-0.99")
    with monkeypatch.context() as leaving:
        leaving.setattr(ChildFolder, "remove_checkpoints", lambda folder: None)
        calibrate(leaving, *asked, "num_children=5", f"to={folder}", SMALL, *longer)
    full, rows = outcomes(folder), table(folder, "inherited")
    assert list(rows) == ["until=1", "until=3", "inherited until=1", "inherited until=3"]
    for epochs in (1, 3):
        own = folder / "inherited" / f"until={epochs}"
        paused, proposed = outcomes(own, "paused"), trained(own, "paused")
        assert not outcomes(own)  # nobody is promoted
        assert [len(each["curve"]["val_accuracy"]) for each in paused] == [epochs] * 5
        assert [e["genotype"] for e in proposed] == [e["genotype"] for e in trained(folder)]
        assert seeds(own, "paused") == seeds(folder)
        lent = [{each["child"] for each in p.get("sources", ())} for p in proposed]
        assert any(lent)
        assert all(child < index for index, each in enumerate(lent) for child in each)
        shares = [each["metrics"].get("inherited_share", 0) for each in paused]
        assert [share > 0 for share in shares] == [bool(each) for each in lent]
        row = rows[f"inherited until={epochs}"]
        rewards = [[each["reward"] for each in study] for study in (paused, full)]
        assert float(row["tau"]) == pytest.approx(kendalltau(*rewards).statistic)
        assert float(row["cost_s"]) == pytest.approx(np.mean([e["cost_s"] for e in paused]))
    without = [each["curve"]["val_accuracy"][0] for each in full]
    begun = [each["reward"] for each in outcomes(folder / "inherited" / "until=1", "paused")]
    assert begun[0] == without[0]  # who has nobody before it is trained as ever
    assert begun != without

    own = folder / "inherited" / "until=3"
    ledger, whole = own / "ledger.jsonl", outcomes(own, "paused")
    lines = ledger.read_text().splitlines(keepends=True)
    at = [place for place, line in enumerate(lines) if '"outcome"' in line][2]
    ledger.write_text("".join(lines[: at + 1]))
    calibrate(monkeypatch, *asked, f"from={folder}")
    again = outcomes(own, "paused")
    assert [each["reward"] for each in again] == [each["reward"] for each in whole]
    assert outcomes(folder) == full
    assert not list((folder / "inherited").rglob("*.ckpt"))  # nobody needs them any more


@pytest.mark.slow
def test_a_search_with_the_option_of_inherited_weights_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranking = CheapRanking([], 1.0, 0, ("until", 1), inherits=True)
    agreed = Agreement(0.8, 0.7, 0.9, 0.9)
    conf = write_option(tmp_path, {"inherited until=1": (ranking, agreed)}, "inherited until=1", 9)
    longer = [each.replace("max_epochs=1", "max_epochs=3") for each in ON_DIGITS]
    to = tmp_path / "search"
    given = ["searcher=calibrated", SMALL, *longer, "max_children=6", f"hydra.run.dir={to}"]
    monkeypatch.setattr("sys.argv", ["nasrunner", "--config-dir", str(conf), *given])
    search.main()
    assert len(outcomes(to, "paused")) == 6
    assert outcomes(to)  # who was promoted
    proposed = [*trained(to, "paused"), *trained(to)]
    sources = [source["what"] for each in proposed for source in each.get("sources", ())]
    assert set(sources) == {"weights", "training"}


@pytest.mark.slow
def test_a_usual_fidelity_that_cannot_be_is_left_out_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    batch = "data.batch_size=200"  # of 1,150 examples 0.1 are fewer
    for given in ((SMALL, *ON_DIGITS, batch, "num_children=5", "to=study"), ("from=study",)):
        monkeypatch.chdir(tmp_path)
        calibrate(monkeypatch, *given)
        told = capsys.readouterr().err
        assert told.count("data=0.1 is left out: data.batch_size must be at most 114") == 1
        assert not (tmp_path / "study" / "fidelities" / "data=0.1").exists()
        found = table(tmp_path / "study", "fidelities")
        assert list(found) == ["data=0.3", "width=0.25", "width=0.5", "resolution=4"]


@pytest.mark.parametrize(
    ("fidelities", "reason"),
    [
        ("{data: [0.1, 1]}", "data: [1]}: it is the full training, with which it would be"),
        ("{width: [2]}", "width: [2]}: fidelity: width must be a share in (0, 1], got 2"),
        ("{epoch: [2]}", "no 'epoch'; did you mean 'epochs'"),
        ("{data: [0.5, 0.01]}", "data: [0.01]}: data.batch_size must be at most 10, "),
    ],
)
def test_fidelities_that_cannot_be_are_refused_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, fidelities: str, reason: str
) -> None:
    to = tmp_path / "study"
    asked = ("what=fidelities", f"fidelities={fidelities}", "num_children=5", f"to={to}")
    assert reason in refused(monkeypatch, capsys, *asked, SMALL, *ON_DIGITS)
    assert not to.exists()


def test_divisions_predict_each_child_once_a_division_by_who_has_not_seen_it() -> None:
    found = list(divisions(11, seed=0))
    assert len(found) == NUM_PARTS * NUM_DIVISIONS
    left_out = np.concatenate([part for _, part in found])
    assert np.bincount(left_out).tolist() == [NUM_DIVISIONS] * 11
    assert all(sorted([*fitted, *part]) == list(range(11)) for fitted, part in found)
    assert min(len(part) for _, part in found) >= 2  # or it has no pair


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["what=proxy"], r"there is no what=proxy, "),
        (["what=proxies", "num_children=4"], r"must be a whole number >= 5: .*, got 4"),
        (["what=proxies", "num_children=many"], r"must be a whole number >= 5: .*, got many"),
        (["what=proxies", "what=proxies"], r"what is given twice"),
        (["what=proxies", "searcher=smbo"], r"searcher=smbo: the sample is a random search"),
        (["what=proxies", "max_children=9"], r"max_children=9: the sample is a random search"),
        (["what=proxies", "from=x", "space=mlp"], r"space=mlp cannot be given with it"),
        (["what=proxies", "from=x", "--config-dir=y"], r"--config-dir cannot be given with it"),
        (["what=proxies", "--config-dir"], r"--config-dir needs a folder"),
        (["what=proxies", "--config-dir", "not_there"], r"--config-dir: not_there is no folder"),
        (["what=proxies", "fidelities={data: 0.1}"], r"is for what=fidelities and what=all"),
        (["what=inherited", "fidelities={data: 0.1}"], r"is for what=fidelities and what=all"),
        (["what=all", "fidelities=data"], r"data must be a list of numbers, got None"),
        (["what=all", "fidelities={data: [x]}"], r"data must be a list of numbers, got \['x'\]"),
        (["what=all", "fidelities={data: [1, 1]}"], r"must have different numbers, got \[1, 1\]"),
        (["what=all", "bound=1"], r"bound must be a number in \[-1, 1\), .* got 1"),
        (["what=all", "bound=high"], r"bound must be a number in \[-1, 1\), .* got high"),
        (["what=proxies", "from=x", "num_children=9"], r"num_children and to are for a new one"),
    ],
)
def test_arguments_that_mean_nothing_are_refused(arguments: list[str], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        parse(arguments)


def test_a_space_without_a_ranking_is_refused_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    to = f"to={tmp_path / 'study'}"
    few = refused(monkeypatch, capsys, "what=predictors", to, SMALL, *ON_DIGITS)
    assert "num_children=30: the space has 12 architectures, and each is trained once" in few
    alike = "space={concat: [{or: [empty, empty, empty, empty, empty]}, {affine: {units: 10}}]}"
    same = refused(monkeypatch, capsys, "what=proxies", "num_children=5", to, alike, *ON_DIGITS)
    assert "space: its networks all look the same, 100 of 100 random ones" in same
    assert not (tmp_path / "study").exists()


@pytest.mark.slow
def test_a_space_of_ones_own_is_found_in_a_configuration_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "conf" / "space").mkdir(parents=True)
    (tmp_path / "conf" / "space" / "mine.yaml").write_text(SMALL.removeprefix("space="))
    folder, own = tmp_path / "study", str(tmp_path / "conf")
    calibrate(
        monkeypatch,
        *("--config-dir", own, "space=mine", "what=predictors", "num_children=5", f"to={folder}"),
        *ON_DIGITS,
    )
    assert len(outcomes(folder)) == 5


def test_scores_of_a_proxy_are_no_rewards_to_compare_rankings_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    to, on = tmp_path / "study", [each for each in ON_DIGITS if "max_epochs" not in each]
    told = refused(
        monkeypatch, capsys, "what=proxies", "num_children=5", f"to={to}", SMALL, *on, ZERO_COST
    )
    assert "rewards of trainings, and ZeroCostTrainer trains nothing" in told
    assert not to.exists()
    monkeypatch.setattr(
        "sys.argv", ["nasrunner", *on, ZERO_COST, "max_children=5", f"hydra.run.dir={to}"]
    )
    search.main()
    told = refused(monkeypatch, capsys, "what=predictors", f"from={to}")
    assert "rewards of trainings, and ZeroCostTrainer trains nothing" in told


@pytest.mark.slow
def test_what_is_loaded_with_the_first_score_is_no_proxys_cost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first network is where layers and kernels are loaded, and the first proxy paid for it."""
    folder = tmp_path / "study"
    calibrate(monkeypatch, "what=predictors", "num_children=5", f"to={folder}", SMALL, *ON_DIGITS)
    left, count = [1], scores.PROXIES["parameters"]

    def slow_at_first(sample: scores.Sample) -> float:
        until_s = time.process_time() + 5.0 * bool(left and left.pop())
        while time.process_time() < until_s:
            pass
        return count(sample)

    monkeypatch.setattr(scores, "PROXIES", {**scores.PROXIES, "parameters": slow_at_first})
    calibrate(monkeypatch, "what=proxies", f"from={folder}")
    assert not left
    assert float(table(folder, "proxies")["parameters"]["cost_s"]) < 0.5


def test_a_folder_in_use_and_a_study_with_too_few_children_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    told = refused(
        monkeypatch, capsys, "what=proxies", "num_children=5", f"to={tmp_path}", SMALL, *ON_DIGITS
    )
    assert f"to={tmp_path} is not empty: nothing was changed" in told
    told = refused(monkeypatch, capsys, "what=proxies", f"from={tmp_path}")
    assert "is no study's folder" in told
