"""``start_with``: what a study begins with, and what it cannot begin with."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from nasrunner import show_space
from nasrunner.command import main
from nasrunner.compose import config as skeleton
from nasrunner.compose.config import rules_from
from nasrunner.compose.launch import build_space
from nasrunner.compose.start_with import anchored, doubts_of_start, read_start
from nasrunner.core import ConfigError, LedgerError, Outcome, Proposal, Searcher, SearchSpace
from nasrunner.core.ledger.known import Known
from nasrunner.recorded import read_study
from nasrunner.report.study.overview import overview_section
from nasrunner.searchers.sampling.random import RandomSearch
from nasrunner.study.ledger import read_events
from tests.compose.test_trust import of_a_stranger
from tests.searchers.worlds import make_searcher

QUICK = (
    "executor=serial",
    "tracker=csv",
    "trainer.max_epochs=1",
    "max_children=3",
    "space=figure1",
    "space.concat.0.conv2d.filters.oneof=[2,4]",
)
Start = Callable[..., Known | None]


class Plain(Searcher):
    """A user's own searcher, which knows nothing of earlier studies."""

    def suggest(self, index: int) -> Proposal:
        return Proposal(index, self.space.walk(lambda decision: 0))

    def learn(self, outcome: Outcome) -> None:
        pass


def command(*arguments: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        GlobalHydra.instance().clear()
        patch.setattr(sys, "argv", ["nasrunner", *arguments])
        main()


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of four random children."""
    folder = tmp_path_factory.mktemp("earlier") / "study"
    command(*QUICK, "searcher=random", "max_children=4", f"hydra.run.dir={folder}")
    return folder


@pytest.fixture
def earlier(recorded: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(recorded, tmp_path / "earlier")


def composed(*overrides: str) -> dict[str, Any]:
    skeleton.register()
    with initialize_config_dir(str(skeleton.config_dir()), version_base="1.3"):
        config = compose("config", overrides=["study=test", *overrides])
    found: Any = OmegaConf.to_container(config, resolve=True)
    return found


def start(
    start_with: Any, *overrides: str, searcher: Callable[..., Searcher] = RandomSearch
) -> Known | None:
    """What a study would begin with."""
    config = {**composed(*QUICK, *overrides), "start_with": start_with}
    space: SearchSpace = build_space(config)
    return read_start(config, space, rules_from(config), searcher(space=space, seed=0))


def events(folder: Path, kind: str) -> list[dict[str, Any]]:
    found = [e for e in read_events(folder / "ledger.jsonl")[0] if e["event"] == kind]
    return [{k: v for k, v in e.items() if k not in ("time", "monotonic_s")} for e in found]


@pytest.mark.slow
def test_a_search_begins_with_a_study_and_with_what_a_person_believes_in(
    earlier: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A found child is written by one command as the other takes it."""
    monkeypatch.setattr(sys, "argv", ["nasrunner-space", "--found", str(earlier), "--answers"])
    show_space.main()
    written = capsys.readouterr().out
    (tmp_path / "mine.yaml").write_text(written)
    best = json.loads((earlier / "summary.json").read_text())["best"][0]
    folder = tmp_path / "new"
    command(
        *QUICK,
        f"start_with=[{tmp_path / 'mine.yaml'},{earlier},{{genotypes:[{{0/conv2d/filters:4}}]}}]",
        "searcher=smbo",
        f"hydra.run.dir={folder}",
    )
    told = capsys.readouterr().out
    assert "Began with: 4 of 4 outcomes of random-figure1, 2 architectures given" in told
    assert "makes this a random search" not in told
    (known,) = events(folder, "known")
    assert [e["reward"] for e in known["studies"][0]["outcomes"]] == [
        e["reward"] for e in events(earlier, "outcome")
    ]
    first, second, third = events(folder, "proposed")
    assert first["genotype"] == events(earlier, "proposed")[best["index"]]["genotype"]
    assert second["genotype"]["0/conv2d/filters"] == 1
    assert (first["notes"], second["notes"], third["notes"]) == ({"given": 0}, {"given": 1}, {})
    rows = (folder / "children.csv").read_text().splitlines()
    place = rows[0].split(",").index("given")
    assert "true" in rows[1]
    assert place > 0
    study = read_study(folder)
    assert study.state.begins_with is not None
    text = overview_section(study, None).text
    assert "It began with 4 of 4 outcomes of random-figure1, 2 architectures given." in text
    assert "drawn at random, of 0001" in text

    shutil.rmtree(earlier)  # of which nothing is needed any more
    command(f"resume={folder}", "max_children=5")
    assert [each["index"] for each in events(folder, "outcome")] == [0, 1, 2, 3, 4]
    assert events(folder, "known") == [known]


def test_a_searcher_to_which_rewards_say_nothing_says_so(earlier: Path) -> None:
    known = start(str(earlier))
    assert known is not None
    assert list(doubts_of_start(known)) == [
        "start_with: the search learns nothing from earlier studies: random search looks at no "
        "rewards"
    ]
    assert known.told.endswith("the searcher learnt nothing (random search looks at no rewards)")


def test_what_is_taken_is_told_where_it_is_not_all_or_was_trained_otherwise(earlier: Path) -> None:
    def smbo(**given: Any) -> Searcher:
        return make_searcher("smbo", given["space"])

    shared = "space.concat.0.conv2d.kernel_size.oneof=[5,7]"
    known = start(str(earlier), shared, "optimizer.lr=0.5", "seed=9", searcher=smbo)
    assert known is not None
    taken = [e for e in events(earlier, "proposed") if e["genotype"]["0/conv2d/kernel_size"] == 1]
    assert 0 < len(taken) < 4
    assert [outcome.child for outcome in known.outcomes] == [e["index"] for e in taken]
    assert {o.genotype["0/conv2d/kernel_size"] for o in known.outcomes} == {0}  # 5 is first
    first, second = doubts_of_start(known)
    assert f"begins with {len(taken)} of 4 outcomes of random-figure1 (the others: " in first
    assert "whose answer to 0/conv2d/kernel_size is no option here" in first
    assert second.endswith(
        "their rewards are taken as they are: optimizer.lr (0.001 there, 0.5 here)"
    )


def test_proxies_that_are_measured_beside_rewards_are_no_other_training(earlier: Path) -> None:
    known = start(str(earlier), "trainer.proxies=[synflow]")
    assert known is not None
    assert known.studies[0].differs == ()


def test_a_strangers_study_is_read_and_nothing_of_it_is_built(earlier: Path) -> None:
    of_a_stranger(
        earlier,
        "searcher={_target_: evil_module_that_is_not_there.Evil}",
        "space={_target_: evil_module_that_is_not_there.Evil}",
        "data.root=${oc.env:HOME}",
    )
    known = start(str(earlier))
    assert known is not None
    assert len(known.outcomes) == 4
    assert "evil_module_that_is_not_there" not in sys.modules


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["task.reward.metric=val_loss", "task.reward.mode=min"], r"metric is val_accuracy there"),
        (["task.reward.power=3"], r"task.reward.power is 1 there and 3 here"),
        (["task=regression"], r"of another unit .*task._target_ is .*Classification there"),
    ],
)
def test_rewards_of_another_unit_are_refused(
    earlier: Path, overrides: list[str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        start(str(earlier), *overrides)


def test_losses_of_standardized_targets_are_of_another_unit(earlier: Path) -> None:
    wine = ("data=wine_quality_regression", "task=regression")
    task = OmegaConf.to_yaml(composed(*QUICK, *wine)["task"])
    of_a_stranger(earlier, f"task={json.dumps(OmegaConf.to_container(OmegaConf.create(task)))}")
    assert start(str(earlier), *wine) is not None
    with pytest.raises(ConfigError, match=r"task.normalize_targets is True there and absent here"):
        start(str(earlier), *wine, "task.normalize_targets=false")


@pytest.mark.slow
def test_scores_are_no_rewards_of_trainings_and_proxies_have_units_of_their_own(
    earlier: Path, tmp_path: Path
) -> None:
    quick = [each for each in QUICK if not each.startswith("trainer.")]

    def begun(folder: Path, proxy: str) -> Known | None:
        config = composed(*quick, "trainer=zero_cost", f"trainer.proxy={proxy}")
        config["start_with"] = str(folder)
        space = build_space(config)
        return read_start(config, space, rules_from(config), RandomSearch(space=space, seed=0))

    with pytest.raises(ConfigError, match=r"trainer.proxy is absent there and snip here"):
        begun(earlier, "snip")
    scored = tmp_path / "scored"
    command(*quick, "trainer=zero_cost", "trainer.proxy=synflow", f"hydra.run.dir={scored}")
    with pytest.raises(ConfigError, match=r"trainer.proxy is synflow there and absent here"):
        start(str(scored))
    with pytest.raises(ConfigError, match=r"trainer.proxy is synflow there and snip here"):
        begun(scored, "snip")
    known = begun(scored, "synflow")
    assert known is not None
    assert len(known.outcomes) == 3


def test_a_table_of_rewards_is_another_unit(earlier: Path) -> None:
    config = {**composed("trainer=nasbench_macro", "space=figure1"), "start_with": str(earlier)}
    space = build_space(config)
    message = (
        r"of another unit .*trainer._target_ is absent there and nasrunner.*TabularTrainer here"
    )
    with pytest.raises(ConfigError, match=message):
        read_start(config, space, rules_from(config), RandomSearch(space=space, seed=0))


def test_a_study_of_another_space_is_refused_with_what_both_have_and_have_not(
    earlier: Path,
) -> None:
    with pytest.raises(ConfigError, match="no outcome tells anything of this space") as caught:
        start(str(earlier), "space.concat.0.conv2d.filters.oneof=[8,16]")
    assert "both have with other options 0/conv2d/filters" in str(caught.value)
    assert "both have 0/conv2d/kernel_size, 1/maybe_swap, 2/optional" in str(caught.value)
    config = {**composed("space=mlp"), "start_with": str(earlier)}
    space = build_space(config)
    message = r"both have no decision; only the earlier study has .*only this one has "
    with pytest.raises(ConfigError, match=message):
        read_start(config, space, rules_from(config), RandomSearch(space=space, seed=0))


def test_a_searcher_of_ones_own_that_cannot_learn_them_is_told(earlier: Path) -> None:
    with pytest.raises(ConfigError, match=r"Plain learns nothing from earlier.*genotypes alone"):
        start(str(earlier), searcher=Plain)
    assert start({"genotypes": [{}]}, searcher=Plain) is not None


@pytest.mark.parametrize(
    ("start_with", "message"),
    [
        ("nowhere", r"^start_with=nowhere is neither a study's folder nor a YAML file"),
        (3, r"^start_with must be a study's folder, a YAML file, .*got 3$"),
        ({"genotype": []}, r"^start_with has a key 'genotype' that .*; did you mean 'genotypes'\?"),
        ({"genotypes": []}, r"^start_with.genotypes must be a list of genotypes, got \[\]$"),
        ({"genotypes": {"a": 1}}, r"must be a list of genotypes, got \{'a': 1\}"),
        ({"studies": [3]}, r"^start_with.studies.0 must be a study's folder, got 3$"),
        ({"genotypes": [{}] * 4}, r"^start_with gives 4 genotypes, more than max_children=3 are"),
        (
            [{"genotypes": [{"0/conv2d/filters": 3}]}],
            r"^start_with.0.genotypes.0: 0/conv2d/filters",
        ),
    ],
)
def test_what_is_no_start_is_refused_in_one_sentence(
    start_with: Any, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=message):
        start(start_with)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"genotypes: [", r"^start_with=\S*mine.yaml cannot be read: while parsing"),
        (b"\xff\xfe", r"cannot be read: 'utf-8' codec"),
        (b"", r"must hold genotypes: a list of them; got"),
        (b"just text", r"mine.yaml has a key 'just text' that nothing begins with; legal: g"),
        (
            b"- {0/conv2d/filters: 3}",
            r"mine.yaml.genotypes.0: 0/conv2d/filters must be one of 2, 4",
        ),
    ],
)
def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "mine.yaml").write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        start(str(tmp_path / "mine.yaml"))


def test_damaged_and_wrong_folders_are_told(earlier: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"needs config.yaml and ledger.jsonl; choose one in it: "
    ):
        start(str(tmp_path))
    with pytest.raises(ConfigError, match="names a study twice"):
        start([str(earlier), {"studies": [f"{earlier}/"]}])
    ledger = earlier / "ledger.jsonl"
    lines = ledger.read_text().splitlines(keepends=True)
    ledger.write_text("".join([lines[0], "{broken\n", *lines[2:]]))
    with pytest.raises(LedgerError, match="is damaged in line 2"):
        start(str(earlier))
    ledger.write_text("")
    with pytest.raises(LedgerError, match=r"ledger\.jsonl is empty"):
        start(str(earlier))
    ledger.write_text(lines[0])
    with pytest.raises(ConfigError, match=r"tells anything of this space \(there is none yet\)"):
        start(str(earlier))
    (earlier / "config.yaml").write_text("study: [")
    with pytest.raises(ConfigError, match=r"config.yaml is damaged"):
        start(str(earlier))


def test_relative_places_are_where_the_command_was_started() -> None:
    given = ["a.yaml", {"studies": ["b", "/c"], "genotypes": [{"d": "e"}]}]
    assert anchored(given, Path("/here")) == [
        "/here/a.yaml",
        {"studies": ["/here/b", "/c"], "genotypes": [{"d": "e"}]},
    ]
    assert anchored(None, Path("/here")) is None


def test_a_bad_start_leaves_nothing_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        command(*QUICK, "start_with={genotypes: [{0/conv2d/filters: 5}]}")
    told = capsys.readouterr().err
    assert told.startswith(
        "nasrunner: start_with.genotypes.0: 0/conv2d/filters must be one of 2, 4"
    )
    assert not (tmp_path / "outputs").exists()


def test_what_a_study_began_with_cannot_change(earlier: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        command(f"resume={earlier}", "start_with=x.yaml")
    assert "start_with cannot change when a study is resumed" in capsys.readouterr().err


def test_a_baseline_begins_with_nothing(tmp_path: Path, earlier: Path) -> None:
    folder = tmp_path / "new"
    start_with = f"start_with={{studies: [{earlier}], genotypes: [{{0/conv2d/filters: 4}}]}}"
    command(*QUICK, start_with, "baseline=random", f"hydra.run.dir={folder}")
    assert len(events(folder, "known")) == 1
    assert events(folder / "baseline", "known") == []


def test_rewards_that_are_made_of_objectives_are_of_another_unit(earlier: Path) -> None:
    goals = "objectives={val_accuracy:max,flops:{goal:min,limit:1e6}}"
    assert start(str(earlier), goals) is not None  # the task's reward, within the limits
    with pytest.raises(ConfigError, match="scalarization is absent there and product here"):
        start(str(earlier), goals, "scalarization=product")
