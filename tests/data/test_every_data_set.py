"""What every configuration in conf/data must satisfy, for those whose files are at hand."""

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.utils import get_class
from omegaconf import OmegaConf

from nasrunner.compose.construct import construct
from nasrunner.core import DataError
from nasrunner.data.tensors import TensorDataModule
from nasrunner.data.tokens import TokenDataModule
from tests.data.conftest import ROOT, files_of

CONFIGS = sorted((ROOT / "conf" / "data").glob("*.yaml"))
OWN = ("arrays", "csv", "huggingface", "images", "parquet")  # of a user's own files: tests/data/own


def load(path: Path) -> dict[str, Any]:
    config = OmegaConf.to_container(OmegaConf.load(path), resolve=True)
    assert isinstance(config, dict)
    return config  # type: ignore[return-value]


@pytest.fixture(params=CONFIGS, ids=lambda path: path.stem)
def path(request: pytest.FixtureRequest) -> Path:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def module(path: Path, cifar_root: Path) -> TensorDataModule | TokenDataModule:
    config = load(path) if path.stem not in OWN else {}
    if not config:
        pytest.skip("the files are a user's own")
    if "root" in config:
        name = Path(config["root"]).name
        config["root"] = str(cifar_root if name == "cifar10" else files_of(name))
    return construct(config, "data")  # type: ignore[no-any-return]


def test_there_are_configurations() -> None:
    assert {path.stem for path in CONFIGS} >= {
        *("digits", "wine_quality", "speakers", "mnist", "cifar10", "ptb", "ptb_char")
    }


def test_arguments_stand_in_the_order_of_the_signature(path: Path) -> None:
    config = load(path)
    names = list(inspect.signature(get_class(config["_target_"])).parameters)
    given = [name for name in names if name not in ("folds", "fold")]  # those evaluation.folds sets
    if "in_dtype" not in config:  # what is of one input and no tokens need not say it
        given = [name for name in given if name != "in_dtype"]
    own_images = config["in_shape"] is None and "resolution" in config
    if not own_images and len(config["in_shape"] or ()) != 3:
        given = [name for name in given if name != "resolution"]  # of images alone
    assert list(config)[1:] == given


@pytest.mark.filterwarnings("ignore:data. the checksum of:UserWarning")
def test_it_serves_whole_batches_of_the_shapes_it_promises(
    module: TensorDataModule | TokenDataModule,
) -> None:
    module.prepare_data()
    module.setup("fit")
    module.setup("test")
    if isinstance(module, TokenDataModule):
        check_streams(module)
    else:
        check_examples(module)


def check_streams(module: TokenDataModule) -> None:
    train, validation, test = (
        module.train_dataloader(),
        module.val_dataloader(),
        module.test_dataloader(),
    )
    for loader in (train, validation, test):
        for each in next(iter(loader)):
            assert each.shape == (loader.batch_size, *module.in_shape)
            assert each.dtype == torch.int64
            assert 0 <= int(each.min()) <= int(each.max()) < module.num_outputs
    assert len(train) > len(validation)


def check_examples(module: TensorDataModule) -> None:
    train, validation, test = (
        module.train_dataloader(),
        module.val_dataloader(),
        module.test_dataloader(),
    )
    for loader in (train, validation, test):
        x, y = next(iter(loader))
        assert x.shape == (min(loader.batch_size, len(loader.x)), *module.in_shape)
        assert x.dtype == torch.float32
        if y.dtype == torch.int64:
            assert int(loader.y.max()) + 1 == module.num_outputs
        else:
            assert y.shape == (len(x), module.num_outputs)
            assert y.dtype == torch.float32
    assert len(train.x) > len(validation.x)
    dims = [0, *range(2, train.x.ndim)]
    mean = train.x.mean(dims)
    torch.testing.assert_close(mean, torch.zeros_like(mean), atol=1e-5, rtol=0)


def test_a_missing_folder_is_one_error_before_anything_is_trained(
    path: Path, tmp_path: Path
) -> None:
    config = load(path)
    if "root" not in config or path.stem in OWN:
        pytest.skip("it has no files of its own")
    module = construct({**config, "root": str(tmp_path)}, "data")
    with pytest.raises(DataError, match=r"is missing. Expected md5: [0-9a-f]{32}. Get it from htt"):
        module.prepare_data()
