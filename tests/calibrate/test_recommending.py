"""Which ranking is recommended, and the searcher's option that begins with it."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from nasrunner import command as search
from nasrunner.calibrate.agreement import Agreement
from nasrunner.calibrate.arguments import parse
from nasrunner.calibrate.command import recommend
from nasrunner.calibrate.ranking import CheapRanking
from nasrunner.calibrate.recommending import (
    cheapest,
    command_with,
    trained_alone,
    write_option,
)
from nasrunner.calibrate.table import show


def found(*rows: tuple[str, float, float, tuple[str, float] | None]) -> Any:
    """Rankings by name: (name, low end of its interval, its cost, what is asked)."""
    return {
        name: (
            CheapRanking([], cost_s, 0, asked, inherits=name.startswith("inherited")),
            Agreement(low + 0.1, low, low + 0.2, low),
        )
        for name, low, cost_s, asked in rows
    }


EVOLUTION = "searcher@searcher.searcher.searcher=evolution"

RANKINGS = found(
    ("synflow", 0.6, 0.1, None),
    ("until=1", 0.3, 1.0, ("until", 1)),
    ("until=3", 0.55, 3.0, ("until", 3)),
    ("until=9", 0.8, 9.0, ("until", 9)),
    ("data=0.3", 0.65, 4.0, ("data", 0.3)),
    ("data=0.1", 0.61, 2.0, ("data", 0.1)),
    ("inherited until=1", 0.45, 1.1, ("until", 1)),
    ("inherited until=3", 0.5, 3.1, ("until", 3)),
)


def test_the_cheapest_above_the_bound_is_recommended() -> None:
    assert cheapest(RANKINGS, 0.5, 20.0) == "synflow"
    assert cheapest(trained_alone(RANKINGS), 0.2, 20.0) == "until=1"
    assert cheapest(trained_alone(RANKINGS), 0.4, 20.0) == "inherited until=1"
    assert cheapest(trained_alone(RANKINGS), 0.5, 20.0) == "data=0.1"
    assert cheapest(trained_alone(RANKINGS), 0.7, 20.0) == "until=9"
    assert cheapest(RANKINGS, 0.8, 20.0) is None
    assert cheapest(trained_alone(RANKINGS), 0.7, 9.0) is None  # as expensive as a full training
    unknown = {"flops": (CheapRanking([], 0.0), Agreement(*[float("nan")] * 4))}
    assert cheapest(unknown, -1.0, 20.0) is None


@pytest.mark.parametrize(
    ("name", "rungs", "fidelity"),
    [("until=3", [3, 9], None), ("data=0.1", None, {"data": [0.1, 0.3]})],
)
def test_the_option_is_a_searcher_that_nasrunner_takes(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
    name: str,
    rungs: list[int] | None,
    fidelity: dict[str, list[float]] | None,
) -> None:
    conf = write_option(tmp_path, RANKINGS, name, training_s=20.0)
    given = ["searcher=calibrated", "searcher@searcher.searcher=evolution", "trainer.max_epochs=27"]
    monkeypatch.setattr("sys.argv", ["nasrunner", "--config-dir", str(conf), *given, "--cfg=job"])
    search.main()
    searcher = yaml.safe_load(capsys.readouterr().out)["searcher"]
    assert searcher["_target_"].endswith(".Asha")
    assert searcher["searcher"]["_target_"].endswith(".RegularizedEvolution")
    assert (searcher["rungs"], searcher["fidelity"]) == (rungs, fidelity)
    assert searcher["max_epochs"] in (27, "${oc.select:trainer.max_epochs,null}")


def test_the_option_of_inherited_weights_has_a_searcher_of_them_inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    conf = write_option(tmp_path, RANKINGS, "inherited until=1", training_s=20.0)
    for given, inmost in (([], "RandomSearch"), ([EVOLUTION], "RegularizedEvolution")):
        asked = ["--config-dir", str(conf), "searcher=calibrated", "trainer.max_epochs=27"]
        monkeypatch.setattr("sys.argv", ["nasrunner", *asked, *given, "--cfg=job"])
        search.main()
        searcher = yaml.safe_load(capsys.readouterr().out)["searcher"]
        assert searcher["_target_"].endswith(".Asha")
        assert searcher["rungs"] == [1, 3]
        assert searcher["searcher"]["_target_"].endswith(".Inheriting")
        assert searcher["searcher"]["searcher"]["_target_"].endswith(f".{inmost}")


def test_what_trains_nothing_is_said_to_be_no_rung_where_another_option_is_written(
    tmp_path: Path, capsys: Any
) -> None:
    arguments = parse(["what=all", "space=mlp"])
    for bound, best, rung in ((0.5, "synflow", "data=0.1"), (0.62, "data=0.3", "data=0.3")):
        found = {name: each for name, each in RANKINGS.items() if each[1].low > bound}
        assert (cheapest(found, bound, 20.0), cheapest(trained_alone(found), bound, 20.0)) == (
            best,
            rung,
        )
        recommend(found, best, rung, arguments, tmp_path, 20.0)
        said = capsys.readouterr().out
        assert f"0.5: {best}\n" in said
        assert f"a search with rungs from {rung} on: nasrunner --config-dir" in said
        why = f"{best} trains nothing, so it is no rung of a search: what is written is of {rung}"
        assert (why in said) == (best != rung)


def test_the_table_says_of_how_many_children_a_ranking_has_scores(
    monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    nothing = float("nan")
    few = CheapRanking([], 0.1, lacking=4)
    show({"naswot": (few, Agreement(-1.0, nothing, nothing, -1.0))}, 6, 2.0)
    said = capsys.readouterr().out
    assert "naswot (2 of 6 children)" in said
    assert "-1.00" in said
    assert "…" not in said
    assert "none is given of fewer than 5" in " ".join(said.split())


def test_the_command_repeats_what_was_given(tmp_path: Path) -> None:
    told = command_with(tmp_path, ["space=mlp", "study=mine", "trainer.max_epochs=9"])
    words = "searcher=calibrated space=mlp trainer.max_epochs=9"
    assert told == f"nasrunner --config-dir {tmp_path} {words}"
