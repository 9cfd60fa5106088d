"""Networks of several inputs by name are trained, measured and refused as those of one are."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from hydra.core.global_hydra import GlobalHydra
from torch import nn

from nasrunner.children.blueprint import measure
from nasrunner.children.fit.memory_format import is_channels_last, laid_out
from nasrunner.command import main as search
from nasrunner.compose.launch import in_shape_of
from nasrunner.core import ConfigError, DataError, SpaceError, child_folder
from nasrunner.export.command import main as export
from nasrunner.retrain.command import main as retrain
from nasrunner.show_space import main as show_space
from nasrunner.spaces.language.parsing import parse_space
from tests.children.blobs import make_trainer, train
from tests.children.fit.halves import HALVES, OWN_HALVES, SPACE
from tests.children.fit.test_as_lightning import compare
from tests.sampling import one_in

Command = Callable[..., None]
IN_SHAPE = {"left": (1, 8, 4), "right": (32,)}
OWN_NETWORK = {
    "concat": [
        {"_target_": "tests.children.fit.halves.TwoEyes", "units": {"oneof": [8, 12]}},
        {"affine": {"units": 10}},
    ]
}
TOKENS = {
    **HALVES,
    "_target_": "tests.children.fit.halves.HalvesAndTokens",
    "in_dtype": {"right": "int64"},
}
OF_TOKENS = {
    "concat": [
        {"_target_": "tests.children.fit.halves.OfTokens", "vocabulary": 17},
        {"affine": {"units": 10}},
    ]
}


class ByHand(nn.Module):
    """What ``SPACE`` with its first option is, in torch."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding="same")
        self.right = nn.Linear(32, 16)
        self.last = nn.Linear(20, 10)

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        seen = torch.relu(self.conv(left)).mean((2, 3))
        y: torch.Tensor = self.last(torch.cat([seen, torch.relu(self.right(right))], dim=1))
        return y


def first_network(space: object) -> nn.Module:
    parsed = parse_space(space)
    network, out_shape = parsed.freeze(parsed.walk(lambda decision: 0)).build(IN_SHAPE)
    assert out_shape == (10,)
    return network


def batch(size: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {n: torch.randn(size, *shape, generator=generator) for n, shape in IN_SHAPE.items()}


def test_the_network_computes_what_one_written_by_hand_does() -> None:
    network, by_hand = first_network(SPACE), ByHand()
    by_hand.load_state_dict(
        dict(zip(by_hand.state_dict(), network.state_dict().values(), strict=True))
    )
    x = batch(5)
    torch.testing.assert_close(network(x), by_hand(x["left"], x["right"]))


def test_its_size_is_that_of_the_network_by_hand() -> None:
    parsed = parse_space(SPACE)
    size = measure(parsed.freeze(parsed.walk(lambda decision: 0)), IN_SHAPE, 10)
    assert size.parameters == sum(p.numel() for p in ByHand().parameters())
    assert size.flops == 2 * (4 * 9 * 32 + 32 * 16 + 20 * 10)
    own = parse_space(OWN_NETWORK)
    size = measure(own.freeze(own.walk(lambda decision: 0)), IN_SHAPE, 10)
    assert size.parameters == 2 * (32 * 8 + 8) + 8 * 10 + 10
    assert size.flops == 2 * (2 * 32 * 8 + 8 * 10)


@pytest.mark.parametrize("space", [SPACE, OWN_NETWORK], ids=["language", "own"])
@pytest.mark.parametrize("data", [HALVES, OWN_HALVES], ids=["memory", "loader"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_child_is_trained_as_lightning_trains_it(
    tmp_path: Path, data: dict[str, object], space: object
) -> None:
    compare(tmp_path, "trainer.channels_last=false", data=data, space=space)


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs a command beside a folder of configurations of the halves."""
    monkeypatch.chdir(tmp_path)
    for group, name, config in (
        ("data", "halves", HALVES),
        ("data", "own_halves", OWN_HALVES),
        ("space", "halves", SPACE),
    ):
        (tmp_path / "conf" / group).mkdir(parents=True, exist_ok=True)
        (tmp_path / "conf" / group / f"{name}.yaml").write_text(yaml.safe_dump(config))

    def run(main: Callable[[], None], *arguments: str) -> None:
        GlobalHydra.instance().clear()
        monkeypatch.setattr(sys, "argv", [main.__module__, *arguments])
        main()

    return run


COMMON = ("--config-dir", "conf", "space=halves")
SEARCH = (*COMMON, "searcher=random", "executor=serial", "max_children=3", "duplicates=retrain")
QUICK = ("trainer.max_epochs=4", "trainer.accelerator=cpu", "optimizer.lr=0.01")


def searched(command: Command, *arguments: str) -> Path:
    command(search, *SEARCH, *QUICK, *arguments)
    (ledger,) = Path.cwd().glob("outputs/*/*/ledger.jsonl")
    for index in range(3):
        record = json.loads((child_folder(ledger.parent, index) / "outcome.json").read_text())
        assert record["status"] == "completed"
        assert record["reward"] > 0.6
    return ledger.parent


@pytest.mark.slow
def test_a_study_searches_networks_of_two_inputs_in_a_users_own_loaders(command: Command) -> None:
    searched(command, "data=own_halves", "tracker=csv")


@pytest.mark.slow
@one_in(2, 1, "data", ["halves", "own_halves"], rest=pytest.mark.matrix)
def test_two_ranks_divide_batches_of_two_inputs(command: Command, data: str) -> None:
    more = ("data=halves", "data.batch_size=1149") if data == "halves" else (f"data={data}",)
    ranks = ("trainer.devices=2", "trainer.strategy=ddp", "tracker=none", "max_children=1")
    command(
        search, *SEARCH, *QUICK, *ranks, *more
    )  # of a last batch of one example rank 1 has none
    (outcome,) = Path.cwd().glob("outputs/*/*/children/0000/outcome.json")
    record = json.loads(outcome.read_text())
    assert record["status"] == "completed", record["error"]


@pytest.mark.slow
def test_what_is_found_is_retrained_but_not_exported(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    study = searched(command, "data=halves", "tracker=none")
    command(retrain, f"from={study}", "top=1", "seeds=1", "trainer.max_epochs=8")
    (record,) = (study / "retrained").glob("*/tested.json")
    tested = json.loads(record.read_text())
    assert tested["examples"] == 360
    assert tested["metrics"]["test_accuracy"] > 0.7
    capsys.readouterr()
    with pytest.raises(SystemExit, match="2"):
        command(export, f"from={study}")
    assert capsys.readouterr().err == (
        "nasrunner-export: data.in_shape has inputs by name (left, right): such networks cannot be "
        "exported; legal are networks of one input without a name\n"
    )


def test_the_space_is_shown_with_both_inputs(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    command(show_space, *COMMON, "data=halves", "--checked", "2", "--samples", "1")
    out = " ".join(capsys.readouterr().out.split())
    assert "left 1×8×4, right 32" in out
    assert "2 of 2 random architectures are valid" in out


def test_an_input_that_the_data_lack_is_refused_before_training(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    for changes, message in (
        (["data=digits"], "space: input: left picks one of several inputs by name, but data.in_sh"),
        (
            ["data=halves", "space.concat.0.fork.branches.1.concat.0.input=rigth"],
            "space: input: there is no input 'rigth' among left (1, 8, 4), right (32,) of "
            "data.in_shape, did you mean 'right'? Legal: left, right",
        ),
    ):
        with pytest.raises(SystemExit, match="2"):
            command(search, *SEARCH, *changes, "tracker=none")
        assert message in capsys.readouterr().err


def test_examples_may_have_weights(tmp_path: Path) -> None:
    weighted = {**OWN_HALVES, "_target_": "tests.children.fit.halves.WeightedHalves"}
    outcome = train(tmp_path, data=weighted, space=SPACE)
    assert outcome.status == "completed"


@pytest.mark.parametrize(
    "space",
    [
        OF_TOKENS,
        {
            "concat": [
                {"input": "right"},
                {"embedding": {"vocabulary": 17, "units": 3, "dropout": 0.0}},
                {"affine": {"units": 10}},
            ]
        },
    ],
    ids=["own", "language"],
)
def test_tokens_stay_whole_numbers(tmp_path: Path, space: object) -> None:
    outcome = train(tmp_path, data=TOKENS, space=space)
    assert outcome.status == "completed", outcome.error


def test_images_among_the_inputs_are_laid_out_by_pixels() -> None:
    network = first_network(SPACE)
    assert is_channels_last("auto", network, IN_SHAPE)
    assert not is_channels_last(True, network, {"left": (32,), "right": (32,)})
    x = {**batch(2), "left": torch.randn(2, 3, 8, 4)}
    found = laid_out(x)
    assert isinstance(found, dict)
    assert found["left"].is_contiguous(memory_format=torch.channels_last)
    assert found["right"] is x["right"]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (
            "Half",
            r"gives inputs float32 \(64, 32\), targets .* needs inputs {left: float32 \(batch, 1",
        ),
        (
            "Nameless",
            r"gives inputs {left: float32 \(64, 1, 8, 4\), rigth: float32 \(64, 32\)}, "
            r"targets .* needs inputs {left: float32 \(batch, 1, 8, 4\), right: float32 \(batch, 3",
        ),
        (
            "Flat",
            r"inputs {left: float32 \(64, 32\), right: .* needs inputs {left: float32 \(batch, 1",
        ),
    ],
)
def test_other_inputs_than_configured_are_refused(how: str, message: str) -> None:
    data = {**OWN_HALVES, "_target_": f"tests.children.fit.halves.{how}Halves"}
    with pytest.raises(DataError, match=message):
        make_trainer(data=data, space=SPACE)


def test_a_data_module_that_says_another_shape_is_refused() -> None:
    data = {**OWN_HALVES, "_target_": "tests.children.blobs.OwnBlobs", "is_regression": False}
    with pytest.raises(DataError, match=r"data.in_shape is .*left.*, but the data module says"):
        make_trainer(data=data, space=SPACE)


def test_a_space_of_one_tensor_is_refused_with_the_inputs() -> None:
    with pytest.raises(
        ConfigError,
        match=r"space: its network cannot be built for data.in_shape={'left': \[1, 8, 4\], .*"
        r"'0/affine': affine takes one tensor, but the inputs left .* legal: .*input: left or",
    ):
        make_trainer(data=HALVES, space={"concat": [{"affine": {"units": 10}}]})


def test_a_task_of_tokens_is_refused() -> None:
    with pytest.raises(ConfigError, match="task: LanguageModel has a target for each token"):
        make_trainer("task.unit=word", data=HALVES, space=SPACE, task="language_model")


def test_tokens_are_refused_where_the_data_set_reads_others() -> None:
    data = {**TOKENS, "_target_": HALVES["_target_"]}
    with pytest.raises(DataError, match=r"data.in_dtype.right=int64 needs whole numbers"):
        make_trainer(data=data, space=OF_TOKENS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"in_shape": {}}, r"data.in_shape must be a list of int >= 1, or map names"),
        ({"in_shape": {"a b": [3]}}, r"data.in_shape must be .* letters.*got {'a b': \(3,\)}"),
        ({"in_shape": {"a": [0]}}, r"data.in_shape.a must be list of int >= 1, got \[0\]"),
        ({"in_shape": {"a": []}}, r"data.in_shape.a must be list of int >= 1, got \[\]"),
        (
            {"in_dtype": "int64"},
            r"data.in_dtype must be by name .*legal: float32 or int64 for each",
        ),
        ({"in_dtype": {"rigth": "int64"}}, r"in_dtype: got rigth: int64; legal: .* left, right"),
        ({"in_dtype": {"right": "int8"}}, r"in_dtype: got right: int8; legal: float32 or int64"),
        (
            {"in_shape": [8], "in_dtype": {"a": "int64"}},
            r"must be one type where data.in_shape=\[8",
        ),
    ],
)
def test_shapes_and_types_by_name_are_checked(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        in_shape_of({**HALVES, **changes})


def test_a_networks_own_error_names_the_inputs() -> None:
    parsed = parse_space(OWN_NETWORK)
    frozen = parsed.freeze(parsed.walk(lambda decision: 0))
    with pytest.raises(SpaceError, match=r"no TwoEyes on the inputs left \(4,\): .*'right'|values"):
        frozen.build({"left": (4,)})
