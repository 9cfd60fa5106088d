import csv
import gzip
import itertools
import json
import os
import pickle
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from torch.utils.flop_counter import FlopCounterMode

from nasrunner.children.tables.tabular import TabularTrainer
from nasrunner.compose.construct import construct
from nasrunner.core import ConfigError, DataError, Proposal, SearchSpace, SpaceError
from nasrunner.core.ledger.goal_settings import read_goals
from nasrunner.searchers.sampling.exhaustive import ExhaustiveSearch
from nasrunner.spaces.language.parsing import parse_space
from tests.toys import train_one

ROOT = Path(__file__).parents[3]
DATA = Path(os.environ.get("NASRUNNER_DATA", ROOT / "../shared/data"))
MACRO, NB201 = DATA / "nasbench_macro", DATA / "nasbench201"
EDGES = ("e01", "e02", "e12", "e03", "e13", "e23")

needs_macro = pytest.mark.skipif(
    not (MACRO / "nasbench_macro.csv.gz").exists(), reason=f"{MACRO} holds no table"
)

needs_nb201 = pytest.mark.skipif(
    not (NB201 / "nasbench201.csv.gz").exists(), reason=f"{NB201} holds no table"
)

ROWS = "arch,acc,seconds,size,ops\n8-0,0.5,1.5,80,100\n8-1,0.75,2.5,80,200\n16-0,0.25,3.5,160,300\n"
SPACE = {"concat": [{"affine": {"units": {"oneof": [8, 16]}}}, {"or": ["relu", "tanh"]}]}


def trainer(path: Path, space: object = SPACE, **changes: object) -> TabularTrainer:
    config = {
        "_target_": "nasrunner.children.tables.tabular.TabularTrainer",
        "path": str(path),
        "source": "https://example.org/table",
        "key_column": "arch",
        "template": "{}-{}",
        "symbols": None,
        "reward": "acc",
        "metrics": {"doubled": "acc"},
        "cost_s": "seconds",
        "parameters": "size",
        "parameters_factor": 1,
        "flops": "ops",
        "flops_factor": 2,
        **changes,
    }
    return build(config, parse_space(space))


def build(config: Mapping[str, Any], space: SearchSpace) -> TabularTrainer:
    return construct(
        config,
        "trainer",
        space=space,
        config={},
        in_shape=(4,),
        construct=construct,
        draw=lambda frozen: f"<svg>{frozen.text()}</svg>",
    )


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Three of four architectures; keys are the width and, as a symbol, the activation."""
    path = tmp_path / "table.csv"
    path.write_text(ROWS.replace("8-0", "8-relu").replace("8-1", "8-tanh").replace("6-0", "6-relu"))
    return path


def test_a_child_gets_what_its_row_says(table: Path, tmp_path: Path) -> None:
    train = trainer(table).task(tmp_path, seed=0)
    outcome = train_one(train, Proposal(3, {"0/affine/units": 0, "1/or": 1}))
    assert (outcome.status, outcome.reward, outcome.cost_s) == ("completed", 0.75, 2.5)
    assert outcome.metrics == {"doubled": 0.75}


def test_the_order_of_answers_in_a_genotype_does_not_matter(table: Path, tmp_path: Path) -> None:
    train = trainer(table).task(tmp_path, seed=0)
    assert train_one(train, Proposal(0, {"1/or": 1, "0/affine/units": 0})).reward == 0.75


def test_a_blueprint_has_the_rows_figures_and_the_networks_text(table: Path) -> None:
    blueprint = trainer(table).inspect({"0/affine/units": 1, "1/or": 0})
    assert (blueprint.parameters, blueprint.flops) == (160, 600)
    assert blueprint.text == "affine(units=16) → relu"
    assert blueprint.drawing == "<svg>affine(units=16) → relu</svg>"
    assert blueprint.values == {"0/affine/units": 16, "1/or": "relu"}


def test_an_architecture_is_drawn_when_somebody_looks_and_once(table: Path) -> None:
    drawn: list[str] = []
    looked_up = trainer(table)
    looked_up.draw = lambda frozen: drawn.append(frozen.text()) or "<svg/>"
    blueprint = looked_up.inspect({"0/affine/units": 1, "1/or": 0})
    assert drawn == []
    assert [blueprint.drawing, blueprint.drawing] == ["<svg/>"] * 2
    assert drawn == [blueprint.text]


def test_what_the_table_does_not_say_is_unknown(table: Path, tmp_path: Path) -> None:
    silent = trainer(table, cost_s=None, parameters=None, flops=None)
    blueprint = silent.inspect({"0/affine/units": 0, "1/or": 0})
    assert (blueprint.parameters, blueprint.flops) == (None, None)
    outcome = train_one(silent.task(tmp_path, 0), Proposal(0, {"0/affine/units": 0, "1/or": 0}))
    assert outcome.cost_s == 0.0


COST: dict[str, Any] = {
    "_target_": "nasrunner.children.tables.cost.LinearCost",
    "epochs": 12,
    "constant": 2.0,
    "per_symbol": {8: 0.5, 16: 1.0, "relu": 0.0, "tanh": -0.25},
}


def test_an_estimated_cost_counts_the_symbols_of_every_epoch(table: Path, tmp_path: Path) -> None:
    train = trainer(table, cost_s=COST).task(tmp_path, 0)
    wide, tanh = {"0/affine/units": 1, "1/or": 0}, {"0/affine/units": 0, "1/or": 1}
    assert train_one(train, Proposal(0, wide)).cost_s == 12 * (2.0 + 1.0)
    assert train_one(train, Proposal(1, tanh)).cost_s == 12 * (2.0 + 0.5 - 0.25)
    assert train_one(pickle.loads(pickle.dumps(train)), Proposal(0, wide)).cost_s == 36.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "trainer.cost_s.epochs must be float > 0, got 0"),
        (
            {"per_symbol": {**COST["per_symbol"], "tan": 1.0}},
            "trainer.cost_s.per_symbol: there is no symbol 'tan', did you mean 'tanh'",
        ),
        ({"per_symbol": {8: 1.0}}, "trainer.cost_s.per_symbol needs the seconds .* of '16'"),
        ({"per_symbol": {32: 1.0}}, "there is no symbol '32', .*legal: 16, 8, relu, tanh"),
        ({"per_symbol": {**COST["per_symbol"], 8: "x"}}, "'8' must be float, got 'x'"),
        (
            {"epoch": 3},
            r"trainer\.cost_s\.epoch: LinearCost takes no 'epoch', did you mean 'epochs'\?",
        ),
        ({"constant": None}, "trainer.cost_s.constant must be float, got None"),
    ],
)
def test_an_estimated_cost_must_speak_of_the_spaces_symbols(
    table: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        trainer(table, cost_s={**COST, **changes})


def test_figures_in_millions_are_counted_one_by_one(table: Path) -> None:
    millions = trainer(table, parameters_factor=1e6, flops_factor=2e6)
    blueprint = millions.inspect({"0/affine/units": 1, "1/or": 0})
    assert (blueprint.parameters, blueprint.flops) == (160_000_000, 600_000_000)


def test_symbols_stand_for_the_options(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(ROWS.replace("8-", "a:").replace("16-", "b:").replace(":0", ":a"))
    train = trainer(path, symbols=["a", "b"], template="{}:{}").task(tmp_path, 0)
    assert train_one(train, Proposal(0, {"0/affine/units": 1, "1/or": 0})).reward == 0.25


def test_json_and_packed_tables_say_the_same(table: Path, tmp_path: Path) -> None:
    rows = {"8-tanh": {"acc": 0.75, "seconds": 2.5, "size": 80, "ops": 200}}
    plain, packed, csv = (tmp_path / name for name in ("t.json", "t.json.gz", "t.csv.gz"))
    plain.write_text(json.dumps(rows))
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    csv.write_bytes(gzip.compress(table.read_bytes()))
    proposal = Proposal(0, {"0/affine/units": 0, "1/or": 1})
    outcomes = [
        train_one(trainer(p).task(tmp_path, 0), proposal) for p in (table, plain, packed, csv)
    ]
    assert outcomes == [outcomes[0]] * 4


def test_an_architecture_without_a_row_is_invalid(table: Path, tmp_path: Path) -> None:
    missing = {"0/affine/units": 1, "1/or": 1}
    with pytest.raises(SpaceError, match="has no row '16-tanh'"):
        trainer(table).inspect(missing)
    outcome = train_one(trainer(table).task(tmp_path, 0), Proposal(0, missing))
    assert outcome.status == "failed"
    assert "has no row '16-tanh'" in str(outcome.error)


def test_the_task_is_pickled_without_the_table(table: Path, tmp_path: Path) -> None:
    text = pickle.dumps(trainer(table).task(tmp_path, 0))
    assert len(text) < 1000
    assert (
        train_one(pickle.loads(text), Proposal(0, {"0/affine/units": 0, "1/or": 0})).reward == 0.5
    )


def test_a_missing_table_is_one_error_that_says_where_to_get_it(tmp_path: Path) -> None:
    path = tmp_path / "none.csv"
    expected = (
        f"{path} is missing. Expected: a CSV or JSON table with acc, seconds, size, ops "
        "for each architecture. Get it from https://example.org/table, or set trainer.path"
    )
    with pytest.raises(DataError, match=f"^{re.escape(expected)}$"):
        trainer(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"", "is damaged: it has no column 'arch'"),
        ("t.csv", b"arch,acc,seconds,size\n", "no column 'ops', .*legal: acc, arch, seconds, size"),
        ("t.csv", b"arch,acc,seconds,size,ops\n", "is damaged: it has no rows"),
        ("t.csv", b"arch,acc,seconds,size,ops\na,0.5,1\n", "is damaged: row 'a' has no 'size'"),
        ("t.csv", b"arch,acc,seconds,size,ops\na,x,1,1,1\n", "could not convert string to float"),
        ("t.csv", b"\xff\xfe\x00", "is damaged: 'utf-8' codec"),
        (
            "t.csv.gz",
            gzip.compress(ROWS.encode(), mtime=0)[:40],
            "is damaged: Compressed file ended",
        ),
        ("t.csv.gz", ROWS.encode(), "cannot be read: Not a gzipped file"),
        ("t.json", b"{", "is damaged: Expecting property name"),
        ("t.json", b"[1]", "is damaged: 'list' object has no attribute 'items'"),
        ("t.json", b'{"a": 1}', "is damaged: 'int' object has no attribute 'get'"),
        ("t.json", b'{"a": {"acc": [1]}}', "is damaged: row 'a' has no 'seconds'"),
    ],
)
def test_a_damaged_table_is_one_error(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=f"{name} .*{message}"):
        trainer(tmp_path / name)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"template": "{}"},
            r"trainer\.template needs one \{\} for each of the space's 2 decisions, got 1 in",
        ),
        ({"template": "{} {"}, r"trainer.template: '\{\} \{' is no format string"),
        ({"template": "{a} {b}"}, "trainer.template: .* is no format string"),
        (
            {"symbols": ["a"]},
            r"trainer.symbols names 1 options, but '0/affine/units' has 2: \[8, 16\]",
        ),
        (
            {"space": {"optional": {"dropout": {"p": {"oneof": [0.1, 0.2]}}}}},
            "trainer: .*same decisions",
        ),
    ],
)
def test_template_symbols_and_space_must_fit_together(
    table: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=f"^{message}"):
        trainer(table, **changes)


def test_a_branch_without_decisions_of_its_own_leaves_the_others_as_they_are(table: Path) -> None:
    optional = trainer(table, space={"optional": "relu"}, template="{}")
    assert optional.lookup.key({"optional": 1}) == "relu"


def shipped(name: str, monkeypatch: pytest.MonkeyPatch) -> TabularTrainer:
    """Trainer and space of a table as shipped."""
    monkeypatch.setenv("NASRUNNER_DATA", str(DATA))
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        space = compose(f"space/{name}", ["+data={num_outputs: 10}"]).space
        trainer = compose(f"trainer/{name}").trainer
    return build(trainer, parse_space(OmegaConf.to_container(space, resolve=True)))


@pytest.fixture
def macro(monkeypatch: pytest.MonkeyPatch) -> TabularTrainer:
    return shipped("nasbench_macro", monkeypatch)


@pytest.fixture
def nb201(monkeypatch: pytest.MonkeyPatch) -> TabularTrainer:
    return shipped("nasbench201", monkeypatch)


def genotype_of(trainer: TabularTrainer, arch: str) -> dict[str, int]:
    return dict(zip(trainer.space.walk(lambda decision: 0), map(int, arch), strict=True))


@needs_macro
def test_the_best_of_nasbench_macro_has_the_published_accuracy(
    macro: TabularTrainer, tmp_path: Path
) -> None:
    best = Proposal(0, genotype_of(macro, "22212202"))
    assert train_one(macro.task(tmp_path, 0), best).reward == pytest.approx(93.12666)


@needs_macro
@pytest.mark.parametrize("arch", ["00000000", "11111111", "22222222", "22212202", "01201201"])
def test_the_macro_space_builds_the_networks_of_its_table(macro: TabularTrainer, arch: str) -> None:
    genotype = genotype_of(macro, arch)
    blueprint = macro.inspect(genotype)
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        network, out_shape = macro.space.freeze(genotype).build((3, 32, 32))
        network.eval()(torch.zeros(1, 3, 32, 32))
    assert out_shape == (10,)
    assert sum(weight.numel() for weight in network.parameters()) == blueprint.parameters
    assert counter.get_total_flops() == blueprint.flops


@needs_nb201
def test_a_cell_of_nasbench201_has_the_figures_of_its_row(
    nb201: TabularTrainer, tmp_path: Path
) -> None:
    # idx 0: |avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|…~2|
    genotype = genotype_of(nb201, "421211")
    outcome = train_one(nb201.task(tmp_path, 0), Proposal(0, genotype))
    assert outcome.reward == 63.364  # c10_valid_12
    assert outcome.metrics == {
        "c10_valid_200": 81.98267,
        "c10_test_200": 85.86333,
        "c100_test_200": 52.91333,
        "in16_test_200": 26.63333,
    }
    assert outcome.cost_s == pytest.approx(12 * (7.178 + 1.635 + 2 * 3.454 - 3 * 0.384))
    blueprint = nb201.inspect(genotype)
    assert (blueprint.parameters, blueprint.flops) == (129_306, 2 * 15_647_370)


@needs_nb201
def test_every_cell_of_nasbench201_has_a_row(nb201: TabularTrainer) -> None:
    paths = list(nb201.space.walk(lambda decision: 0))
    keys = {
        nb201.lookup.key(dict(zip(paths, cell, strict=True)))
        for cell in itertools.product(range(5), repeat=6)
    }
    assert keys == set(nb201.lookup.table.rows())


@needs_nb201
def test_the_estimated_seconds_are_those_measured_on_a_thousand_cells(
    nb201: TabularTrainer, tmp_path: Path
) -> None:
    with gzip.open(NB201 / "nasbench201.csv.gz", "rt") as file:
        cells = {row["idx"]: row for row in csv.DictReader(file)}
    train, apart = nb201.task(tmp_path, 0), []
    with gzip.open(NB201 / "nasbench201_time1000.csv.gz", "rt") as file:
        for row in csv.DictReader(file):
            edges = "".join(cells[row["idx"]][name] for name in EDGES)
            estimated = train_one(train, Proposal(0, genotype_of(nb201, edges))).cost_s
            apart.append(abs(estimated / float(row["c10_train_time_12_s"]) - 1))
    assert len(apart) == 1000
    assert sum(apart) / 1000 < 0.03


FIDELITIES = {
    "trainer.max_epochs": {1: {"reward": "ops", "metrics": {"size": "size"}, "cost_s": "acc"}}
}


def test_a_fidelity_reads_columns_of_its_own(table: Path, tmp_path: Path) -> None:
    found = trainer(table, fidelities=FIDELITIES)
    genotype = {"0/affine/units": 0, "1/or": 1}
    for number in (1, 1.0):
        proposal = Proposal(0, genotype, fidelity={"trainer.max_epochs": number})
        found.check(proposal)
        outcome = train_one(pickle.loads(pickle.dumps(found.task(tmp_path, 0))), proposal)
        assert (outcome.reward, outcome.metrics, outcome.cost_s) == (200, {"size": 80}, 0.75)
    plain = train_one(found.task(tmp_path, 0), Proposal(0, genotype))
    assert (plain.reward, plain.metrics) == (0.75, {"doubled": 0.75})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"fidelity": {"trainer.max_epochs": 7}}, "has no trainings with trainer.max_epochs=7; "),
        ({"fidelity": {"a": 1, "trainer.max_epochs": 1}}, "a=1, .*; legal: trainer.max_epochs=1$"),
        (
            {"until": 3},
            "a table has rows of children that were trained to their ends; legal .*, got until$",
        ),
        (
            {"kind": "estimate"},
            "a table has .* legal are proposals of kind=train without .*, got kind=estimate$",
        ),
    ],
)
def test_what_a_table_has_not_is_refused(table: Path, fields: dict[str, Any], message: str) -> None:
    found = trainer(table, fidelities=FIDELITIES)
    with pytest.raises(ConfigError, match=message):
        found.check(Proposal(0, {"0/affine/units": 0, "1/or": 1}, **fields))


@pytest.mark.parametrize(
    ("fidelities", "message"),
    [
        ({"a": {1: {"rewards": "acc"}}}, "fidelities.a.1: there is no 'rewards', did you mean"),
        ({"a": {"x": {"reward": "acc"}}}, "fidelities.a.x must be a number with columns"),
        ({"a": {1: {"epochs": 3}}}, "fidelities.a.1.epochs is counted by a LinearCost alone"),
        ({"a": {1: {"reward": "acc_1"}}}, "it has no column 'acc_1', did you mean 'acc'"),
    ],
)
def test_fidelities_must_name_columns(
    table: Path, fidelities: dict[str, Any], message: str
) -> None:
    with pytest.raises((ConfigError, DataError), match=message):
        trainer(table, fidelities=fidelities)


@needs_nb201
def test_nasbench201_has_trainings_of_12_and_of_200_epochs(
    nb201: TabularTrainer, tmp_path: Path
) -> None:
    genotype = nb201.space.walk(lambda decision: 3)
    rows = [Proposal(0, genotype)]
    rows += [Proposal(0, genotype, fidelity={"epochs": 12})]
    rows += [Proposal(0, genotype, fidelity={"trainer.max_epochs": 200})]
    for proposal in rows:
        nb201.check(proposal)
    plain, short, long = (train_one(nb201.task(tmp_path, 0), each) for each in rows)
    row = nb201.lookup.table.rows()[nb201.lookup.key(genotype)]
    assert short.reward == row["c10_valid_12"] == plain.reward
    assert long.reward == row["c10_valid_200"] != short.reward
    assert short.cost_s == plain.cost_s
    assert long.cost_s == pytest.approx(short.cost_s * 200 / 12)
    assert short.metrics == long.metrics == plain.metrics
    assert [nb201.plainest(each).evaluation == each.hash for each in rows] == [True, True, False]
    assert [nb201.most_epochs(each) for each in rows] == [12, 12, 200]
    legal = re.escape("legal: trainer.max_epochs=12, trainer.max_epochs=200")
    with pytest.raises(ConfigError, match=legal):
        nb201.check(Proposal(0, genotype, fidelity={"trainer.max_epochs": 50}))


def test_objectives_are_the_reward_the_metrics_and_the_sizes_of_a_table(table: Path) -> None:
    trainer(table, objectives=["reward", "doubled", "parameters", "flops"])
    with pytest.raises(ConfigError, match=r"objectives\.acc: no child measures 'acc'"):
        trainer(table, objectives=["acc"])
    with pytest.raises(ConfigError, match=r"objectives\.flops: no child measures 'flops'"):
        trainer(table, flops=None, objectives=["flops"])


@needs_macro
@pytest.mark.parametrize(("size", "num_points"), [("flops", 35), ("parameters", 39)])
def test_exhaustive_search_finds_the_fronts_of_nasbench_macro(
    size: str, num_points: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = shipped("nasbench_macro", monkeypatch)
    goals = read_goals({"objectives": {"reward": "max", size: "min"}})
    assert goals is not None
    searcher, outcomes = ExhaustiveSearch(space=table.space, seed=0), []
    column, factor = {
        "flops": (table.flops, table.flops_factor),
        "parameters": (table.parameters, table.parameters_factor),
    }[size]
    while (proposal := searcher.propose()) is not None:
        outcome = table.lookup(proposal)
        row = table.lookup.table.rows()[table.lookup.key(proposal.genotype)]
        # As a study adds it, without drawing up 6,561 networks.
        outcomes.append(goals.judged(replace(outcome, metrics={size: row[str(column)] * factor})))
        searcher.observe(outcomes[-1])
    assert len(outcomes) == 3**8
    assert len(goals.front(outcomes)) == num_points
