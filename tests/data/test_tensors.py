from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.environments import LightningEnvironment

from nasrunner.compose.construct import construct
from nasrunner.core import ConfigError, DataError
from nasrunner.data.normalize import Normalization
from nasrunner.data.tensors import Arrays, Grouped, TensorDataModule

COMMON = {
    "in_shape": [2],
    "num_outputs": 2,
    "batch_size": 4,
    "eval_batch_size": 16,
    "drop_last": False,
    "validation_examples": 5,
    "split_seed": 0,
}


@dataclass(kw_only=True, eq=False)
class Numbered(TensorDataModule):
    """30 examples whose first feature is their number, and 10 for the test numbered from 100."""

    log: Path
    offset: float = 0.0

    def read_fit(self) -> Arrays:
        with self.log.open("a") as file:
            file.write("fit ")
        numbers = np.arange(30)
        return np.column_stack([numbers, numbers + self.offset]), numbers % 2

    def read_test(self) -> Arrays:
        with self.log.open("a") as file:
            file.write("test ")
        numbers = np.arange(100, 110)
        return np.column_stack([numbers, numbers + self.offset]), numbers % 2


class Regression(Numbered):
    def read_fit(self) -> Arrays:
        x, _ = super().read_fit()
        return x, x[:, :1]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    (tmp_path / "log").touch()
    return tmp_path / "log"


def raw(module: TensorDataModule, x: torch.Tensor) -> list[int]:
    """The numbers of normalized examples."""
    normalization = module.normalization
    return (x[:, 0].double() * normalization.std[0] + normalization.mean[0]).round().int().tolist()


def test_training_validation_and_test_are_disjoint_and_complete(log: Path) -> None:
    module = Numbered(**COMMON, log=log)
    module.setup("test")
    train, validation, test = (
        raw(module, loader.x)
        for loader in (
            module.train_dataloader(),
            module.val_dataloader(),
            module.test_dataloader(),
        )
    )
    assert len(validation) == 5
    assert sorted(train + validation) == list(range(30))
    assert test == list(range(100, 110))


def test_targets_stay_with_their_examples(log: Path) -> None:
    module = Numbered(**COMMON, log=log)
    module.setup("fit")
    for x, y in [*module.train_dataloader(), *module.val_dataloader()]:
        assert [number % 2 for number in raw(module, x)] == y.tolist()
        assert y.dtype == torch.int64


def test_statistics_come_from_the_training_part_alone(log: Path) -> None:
    module = Numbered(**COMMON, log=log)
    module.setup("fit")
    x = module.train_dataloader().x
    torch.testing.assert_close(x.mean(0), torch.zeros(2), atol=1e-6, rtol=0)
    torch.testing.assert_close(x.std(0, correction=0), torch.ones(2))
    assert abs(module.val_dataloader().x.mean()) > 1e-3


def test_a_search_never_reads_the_test_part(log: Path) -> None:
    module = Numbered(**COMMON, log=log)
    module.prepare_data()
    module.setup("fit")
    module.setup("validate")
    assert log.read_text() == "fit "
    module.setup("test")
    assert log.read_text() == "fit test "


def test_joined_validation_examples_are_trained_on_and_counted_in_the_statistics(
    log: Path,
) -> None:
    module = Numbered(**COMMON, log=log)
    module.join_validation()
    module.setup("test")
    x, y = module.training_tensors()
    assert raw(module, x) == list(range(30))
    assert y.tolist() == [number % 2 for number in range(30)]
    torch.testing.assert_close(x.mean(0), torch.zeros(2), atol=1e-6, rtol=0)
    assert list(module.val_dataloader()) == []
    assert raw(module, module.test_dataloader().x) == list(range(100, 110))


def test_a_joined_data_set_does_not_change_the_one_it_was_made_from(log: Path) -> None:
    apart, joined = Numbered(**COMMON, log=log), Numbered(**COMMON, log=log)
    joined.join_validation()
    for module in (apart, joined, apart):
        module.setup("fit")
    assert len(apart.training_tensors()[0]) == 25
    assert len(joined.training_tensors()[0]) == 30


def test_data_is_read_once_a_process_whatever_the_batch_size(log: Path) -> None:
    first = Numbered(**COMMON, log=log)
    first.setup("fit")
    first.setup("fit")
    second = Numbered(**{**COMMON, "batch_size": 7}, log=log)
    second.setup("fit")
    assert log.read_text() == "fit "
    assert second.train_dataloader().x is first.train_dataloader().x
    assert len(next(iter(second.train_dataloader()))[0]) == 7


def test_other_arguments_or_another_split_are_other_data(log: Path) -> None:
    first = Numbered(**COMMON, log=log)
    first.setup("fit")
    for other in (replace(first, offset=1.0), replace(first, split_seed=1)):
        other.setup("fit")
        assert other.train_dataloader().x is not first.train_dataloader().x
    assert log.read_text() == "fit fit fit "


def test_the_split_has_its_own_seed(log: Path) -> None:
    torch.manual_seed(1)
    first = Numbered(**COMMON, log=log)
    first.setup("fit")
    torch.manual_seed(2)
    second = Numbered(**COMMON, log=log, offset=3.0)
    second.setup("fit")
    assert raw(first, first.val_dataloader().x) == raw(second, second.val_dataloader().x)
    third = Numbered(**{**COMMON, "split_seed": 1}, log=log)
    third.setup("fit")
    assert raw(first, first.val_dataloader().x) != raw(third, third.val_dataloader().x)


def test_regression_targets_keep_their_values_and_their_column(log: Path) -> None:
    module = Regression(**{**COMMON, "num_outputs": 1}, log=log)
    module.setup("fit")
    x, y = next(iter(module.val_dataloader()))
    assert y.shape == (5, 1)
    assert y.dtype == torch.float32
    assert y[:, 0].int().tolist() == raw(module, x)


def test_drop_last_is_for_training_only(log: Path) -> None:
    module = Numbered(**{**COMMON, "drop_last": True, "eval_batch_size": 4}, log=log)
    module.setup("fit")
    assert [len(x) for x, _ in module.train_dataloader()] == [4] * 6
    assert [len(x) for x, _ in module.val_dataloader()] == [4, 1]


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("in_shape", [3], r"data.in_shape must be \[2\], the shape of an example of Numbered"),
        ("num_outputs", 3, r"data.num_outputs must be 2, the number of classes of Numbered, got 3"),
    ],
)
def test_a_configuration_that_does_not_fit_the_data_is_refused(
    argument: str, value: object, message: str, log: Path
) -> None:
    module = Numbered(**{**COMMON, argument: value}, log=log)
    with pytest.raises(DataError, match=message):
        module.setup("fit")


def test_a_wrong_number_of_regression_targets_is_refused(log: Path) -> None:
    module = Regression(**COMMON, log=log)
    with pytest.raises(DataError, match="must be 1, the number of targets of an example"):
        module.setup("fit")


def test_a_batch_larger_than_the_training_part_is_refused(log: Path) -> None:
    module = Numbered(**{**COMMON, "batch_size": 1000}, log=log)
    with pytest.raises(ConfigError, match=r"data.batch_size must be at most \d+, .* got 1000"):
        module.setup("fit")


@pytest.mark.parametrize(
    ("argument", "value"), [("batch_size", 0), ("batch_size", 2.5), ("eval_batch_size", -1)]
)
def test_an_impossible_batch_size_is_refused(argument: str, value: object, log: Path) -> None:
    target = f"{Numbered.__module__}.Numbered"
    with pytest.raises(ConfigError, match=rf"data.{argument} must be int >= 1, got {value}"):
        construct({"_target_": target, **COMMON, argument: value, "log": str(log)}, "data")


def test_too_many_validation_examples_are_refused(log: Path) -> None:
    module = Numbered(**{**COMMON, "validation_examples": 30}, log=log)
    with pytest.raises(ConfigError, match=r"data.validation_examples must be .* from 1 to 29"):
        module.setup("fit")


@dataclass(kw_only=True, eq=False)
class Broken(TensorDataModule):
    x: np.ndarray
    y: np.ndarray

    def read_fit(self) -> Arrays:
        return self.x, self.y

    def read_test(self) -> Arrays:
        return self.x, self.y + 1


@pytest.mark.parametrize(
    "y", [np.zeros(9, int), np.zeros(8), np.zeros((8, 2), str), -np.ones(8, int)]
)
def test_targets_of_no_known_form_are_refused(y: np.ndarray) -> None:
    module = Broken(**COMMON, x=np.zeros((8, 2)), y=y)
    with pytest.raises(DataError, match=r"the 8 examples of Broken need targets \(N,\)"):
        module.setup("fit")


def test_a_class_that_only_the_test_part_has_is_refused() -> None:
    x = np.arange(16.0).reshape(8, 2)
    module = Broken(**{**COMMON, "batch_size": 2}, x=x, y=np.arange(8) % 2)
    with pytest.raises(DataError, match="test part of Broken has classes that training lacks"):
        module.setup("test")


def parts(module: TensorDataModule) -> tuple[torch.Tensor, torch.Tensor]:
    module.setup("fit")
    return module.train_dataloader().x, module.val_dataloader().x


def test_equal_inputs_are_in_one_part_unless_they_are_to_be_apart() -> None:
    x = np.repeat(np.arange(20.0), 2)[:, None] * [1, 2]
    x[1] = -0.0  # equals its neighbour's zeros
    y = np.arange(40) % 2
    settings = {**COMMON, "validation_examples": 0.4}
    train, validation = parts(Broken(**settings, x=x, y=y))
    assert not {*train[:, 0].tolist()} & {*validation[:, 0].tolist()}
    assert len(validation) == 16
    train, validation = parts(Broken(**settings, x=x, y=y, equal_inputs="apart"))
    assert {*train[:, 0].tolist()} & {*validation[:, 0].tolist()}


@dataclass(kw_only=True, eq=False)
class Patients(Broken):
    """Names a group of each example, as tensors, arrays or lists."""

    patient: object

    def read_fit(self) -> Grouped:
        return self.x, self.y, self.patient  # type: ignore[return-value]


@pytest.mark.parametrize("equal_inputs", ["together", "apart"])
@pytest.mark.parametrize("form", [np.array, torch.tensor, list])
def test_groups_of_a_data_set_are_in_one_part(
    equal_inputs: str, form: Callable[[list[int]], object]
) -> None:
    patients = [number % 10 for number in range(40)]
    module = Patients(
        **{**COMMON, "validation_examples": 0.3},
        x=np.arange(80.0).reshape(40, 2),
        y=np.arange(40) // 20,
        equal_inputs=equal_inputs,
        patient=form(patients),
    )
    train, validation = (
        {patients[number // 2] for number in raw(module, x)} for x in parts(module)
    )
    assert not train & validation
    assert (len(train), len(validation)) == (7, 3)


def test_equal_inputs_of_two_groups_join_them() -> None:
    x = np.arange(24.0).reshape(12, 2)
    x[1] = x[2]
    names = np.array(list("aabbccddeeff"))
    settings = {**COMMON, "batch_size": 2, "validation_examples": 4}
    module = Patients(**settings, x=x, y=np.arange(12) % 2, patient=names)
    groups = module.groups_of(x, names)
    assert groups is not None
    assert [len({*groups[rows]}) for rows in ([0, 1, 2, 3], [4, 5], range(12))] == [1, 1, 5]


def test_groups_of_another_length_are_refused() -> None:
    module = Patients(**COMMON, x=np.zeros((8, 2)), y=np.arange(8) % 2, patient=[1, 2])
    with pytest.raises(
        DataError, match=r"the 8 examples of Patients need groups \(N,\), got \(2,\)"
    ):
        module.setup("fit")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"fold": 1}, "data.fold=1 needs data.folds, of which it is one"),
        ({"fold": 3, "folds": 3}, "data.fold must be below data.folds=3, got 3"),
    ],
)
def test_a_fold_that_there_is_not_is_refused(changed: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Broken(**COMMON, x=np.zeros((8, 2)), y=np.arange(8) % 2, **changed)


class Plain(Numbered):
    """No dataclass, and forgets an argument."""

    def __init__(self, secret: int, log: Path) -> None:
        super().__init__(**COMMON, log=log)


def test_a_class_that_does_not_keep_its_arguments_is_told_so(log: Path) -> None:
    with pytest.raises(ConfigError, match="Plain must keep its argument 'secret' as an attribute"):
        Plain(1, log).setup("fit")


class Linear(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(2, 2)
        self.seen: list[list[int]] = []

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], index: int) -> torch.Tensor:
        self.seen.append(batch[1].tolist())
        return torch.nn.functional.cross_entropy(self.layer(batch[0]), batch[1])

    def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor], index: int) -> None:
        self.log("val_loss", self.layer(batch[0]).mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def trainer(**more: object) -> pl.Trainer:
    settings = {
        "accelerator": "cpu",
        "max_epochs": 2,
        "logger": False,
        "enable_progress_bar": False,
        "enable_checkpointing": False,
        "enable_model_summary": False,
        "plugins": [LightningEnvironment()],  # also on a machine with SLURM
        **more,
    }
    return pl.Trainer(**settings)  # type: ignore[arg-type]


@pytest.mark.filterwarnings(r"ignore:`isinstance\(treespec, LeafSpec\)`:FutureWarning")
@pytest.mark.filterwarnings("ignore:The `srun` command is available")
def test_lightning_trains_on_it_and_one_module_serves_many_trainers(log: Path) -> None:
    module = Numbered(**COMMON, log=log)
    seen = []
    for _ in range(2):
        child = Linear()
        pl.seed_everything(5)
        trainer().fit(child, datamodule=module)
        seen.append(child.seen)
    assert len(seen[0]) == 2 * 7
    assert seen[0][:7] != seen[0][7:]
    assert seen[0] == seen[1]
    assert log.read_text() == "fit "


@pytest.mark.parametrize(("per_device", "own", "all_together"), [(False, 2, 4), (True, 4, 12)])
def test_a_device_of_three_takes_its_part_of_every_batch(
    log: Path, per_device: bool, own: int, all_together: int
) -> None:
    module = Numbered(**COMMON, log=log)
    module.trainer = trainer(devices=3, strategy="ddp")
    module.divide_batches(per_device=per_device)
    module.setup("fit")
    x, y, num_examples = next(iter(module.train_dataloader()))
    assert (len(x), len(y), num_examples) == (own, own, all_together)
    x, _, num_examples = next(iter(module.val_dataloader()))
    assert (len(x), num_examples) == (2, 5)  # of 5 in all


def test_a_share_of_the_training_part_leaves_the_validation_part_as_it_is(log: Path) -> None:
    whole, some, fewer = (Numbered(**COMMON, log=log, train_share=s) for s in (1.0, 0.6, 0.3))
    kept = []
    for module in (whole, some, fewer):
        module.setup("fit")
        kept.append(set(raw(module, module.training_tensors()[0])))
    assert [len(each) for each in kept] == [25, 15, 8]
    assert kept[0] > kept[1] > kept[2]
    validated = [set(raw(m, m.val_dataloader().x)) for m in (whole, some, fewer)]
    assert validated[0] == validated[1] == validated[2]


def test_joined_to_the_validation_part_all_are_trained_on(log: Path) -> None:
    module = Numbered(**COMMON, log=log, train_share=0.3)
    module.join_validation()
    module.setup("fit")
    assert sorted(raw(module, module.training_tensors()[0])) == list(range(30))


def test_a_batch_larger_than_the_share_is_refused(log: Path) -> None:
    module = Numbered(**COMMON, log=log, train_share=0.1)
    message = r"at most 2, .* of the training part that data.train_share=0.1 leaves, got 4"
    with pytest.raises(ConfigError, match=message):
        module.setup("fit")


@dataclass(kw_only=True, eq=False)
class Images(TensorDataModule):
    """20 images of 4x6 pixels, those of 2x3 blocks of equal ones."""

    def read_fit(self) -> Arrays:
        blocks = np.arange(20 * 4, dtype=np.uint8).reshape(20, 1, 2, 2)
        return blocks.repeat(2, axis=2).repeat(3, axis=3), np.arange(20) % 2

    def read_test(self) -> Arrays:
        return self.read_fit()


def test_images_are_resized_to_the_means_of_areas() -> None:
    module = Images(**{**COMMON, "in_shape": [1, 4, 6]}, resolution=2)
    module.setup("test")
    x, _ = next(iter(module.test_dataloader()))
    normalization = module.normalization
    assert isinstance(normalization, Normalization)
    found = x.double() * normalization.std.item() + normalization.mean.item()
    expected = torch.arange(16 * 4, dtype=torch.float64).reshape(16, 1, 2, 2)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)
    assert next(iter(module.train_dataloader()))[0].shape == (4, 1, 2, 2)


@pytest.mark.parametrize(
    ("in_shape", "resolution", "message"),
    [
        ([2], 1, r"resizes images, .* but data.in_shape is \[2\]"),
        ([1, 4, 6], 5, "must be from 1 to 4, the pixels of an image's side, got 5"),
    ],
)
def test_what_cannot_be_resized_is_refused(
    in_shape: list[int], resolution: int, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        Images(**{**COMMON, "in_shape": in_shape}, resolution=resolution)
