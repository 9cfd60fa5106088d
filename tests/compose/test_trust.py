"""A stranger's study never runs code, and a user's own is never asked about."""

import importlib
import json
import os
import pickle
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from nasrunner import show_space
from nasrunner.children.progress.continuing import read_progress
from nasrunner.compose.launch import build_space, run_study
from nasrunner.compose.saved import save_config, saved_config
from nasrunner.compose.signature import key_path, why_not_own
from nasrunner.compose.trackers import shipped_places, usual_settings
from nasrunner.compose.trust import GROUPS
from nasrunner.core import Outcome, Proposal, child_folder
from nasrunner.core.errors import ConfigError
from nasrunner.executors.slurm.results import read_result
from nasrunner.recorded import read_study
from tests.children.studies import make_study
from tests.report.recordings import recorded

PROPOSAL = json.dumps(Proposal(0, {"0/affine/units": 0}).to_json())
TRUSTED = "may be a stranger's study .*trust=true"


class Payload:
    """Touches a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.fixture
def evil(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A configuration of an object that makes a folder ``ran`` when it is built."""
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(Payload(tmp_path / "ran")))
    (tmp_path / "evil_module.py").write_text(
        f"import os\nos.makedirs({str(tmp_path / 'ran')!r})\nclass Evil: pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return "{_target_: joblib.load, filename: " + str(tmp_path / "x.pkl") + "}"


def of_a_stranger(study: Path, *changes: str) -> Path:
    """Changes a study's configuration as someone without the user's key would."""
    config = OmegaConf.load(study / "config.yaml")
    for change in changes:
        key, _, value = change.partition("=")
        node = OmegaConf.to_container(OmegaConf.create(f"value: {value}"))["value"]
        OmegaConf.update(config, key, node, merge=False, force_add=True)
    text = (study / "config.yaml").read_text().splitlines(keepends=True)
    (study / "config.yaml").write_text(OmegaConf.to_yaml(config) + text[-1])
    return study


def resumed(study: Path) -> None:
    run_study(saved_config(study), study)


HELD = "tracker={{_target_: nasrunner.trackers.several.SeveralTrackers, trackers: "
TO_A_SERVER = (
    "{{_target_: nasrunner.trackers.mlflow.tracker.MlflowTracker, tracking_uri: http://evil}}"
)


@pytest.mark.parametrize(
    "place",
    [
        "task.reward={0}",
        "task.metrics.mine={0}",
        "trainer.callbacks=[{0}]",
        "trainer.logger={0}",
        "trainer.plugins=[{{_target_: pytorch_lightning.plugins.TorchCheckpointIO, x: {0}}}]",
        "searcher={0}",
        "searcher.sampler={0}",
        "baseline={0}",
        "data={0}",
        "optimizer={0}",
        "scheduler.schedulers=[{0}]",
        "executor={0}",
        "tracker={0}",
        "space.concat=[{0}]",
        "space.hyperparameters={{optimizer: {{oneof: [{0}]}}}}",
        "space.hyperparameters={{trainer.callbacks: {{oneof: [[], [{0}]]}}}}",
        "space.hyperparameters={{optimizer._target_: {{oneof: [torch.optim.SGD, joblib.load]}}}}",
        "optimizer._target_={{oneof: [torch.optim.SGD, joblib.load]}}",
        "optimizer._target_='${{study}}'",
        "study='${{oc.env:HOME}}'",
        "space.hyperparameters={{optimizer: {{_target_: {{oneof: [joblib.load]}}}}}}",
        "space.hyperparameters={{optimizer._target_: 'torch.optim.${{task.metrics}}'}}",
        "space.hyperparameters={{optimizer.lr: '${{oc.env:HOME}}'}}",
        "space.hyperparameters={{optimizer.lr: '${{executor.threads}}'}}",
        "optimizer={{_target_: hydra.utils.instantiate, config: {0}}}",
        "optimizer={{_target_: hydra.utils.get_method, path: os.system}}",
        "optimizer={{_target_: hydra.utils.get_method, _partial_: true, path: os.system}}",
        "optimizer={{_target_: torch.os.system, _args_: [true]}}",
        "optimizer={{_target_: torch.optim.lr_scheduler.warnings.warn, _args_: [x]}}",
        "optimizer={{_target_: torch.optim.optimizer.defaultdict}}",
        "optimizer={{_target_: torch.load, f: x.pkl, weights_only: false}}",
        "optimizer={{_target_: builtins.exec, _args_: ['1']}}",
        "optimizer={{_target_: evil_module.Evil}}",
        "optimizer={{_target_: torch.nn.Linear}}",
        "scheduler={{_target_: torch.optim.lr_scheduler.LambdaLR, lr_lambda: {0}}}",
        "trainer.callbacks=[{{_target_: pytorch_lightning.callbacks.LambdaCallback, setup: {0}}}]",
        "trainer.callbacks=[{{_target_: pytorch_lightning.callbacks.ModelCheckpoint, dirpath: /}}]",
        "trainer.logger={{_target_: pytorch_lightning.loggers.MLFlowLogger}}",
        "trainer.default_root_dir=/",
        "task.metrics.mine={{_target_: torchmetrics.text.bert.BERTScore}}",
        "executor._target_=nasrunner.executors.slurm.executor.SlurmExecutor",
        "executor._target_=nasrunner.executors.dask.address.AddressExecutor",
        "executor.preload=[evil_module]",
        "tracker={{_target_: nasrunner.trackers.mlflow.tracker.MlflowTracker, tracking_uri: http://evil}}",
        "tracker={{_target_: nasrunner.trackers.none.NoTracker, artifact_uri: /}}",
        "tracker={{_target_: nasrunner.trackers.wandb.WandbTracker, entity: evil}}",
        HELD + "{{a: {{_target_: nasrunner.trackers.wandb.WandbTracker, project: evil}}}}}}",
        HELD + "{{a: " + TO_A_SERVER + "}}}}",
        HELD + "[" + TO_A_SERVER + "]}}",
        HELD + "{{a: {{_target_: evil_module.Evil}}}}}}",
        "tracker._target_=nasrunner.trackers.mlflow.reading.StudyReader",
        "executor={{_target_: nasrunner.executors.local.LocalExecutor, _args_: [[evil_module]]}}",
        "tracker={{_target_: nasrunner.trackers.mlflow.tracker.MlflowTracker, _args_: ['http://evil']}}",
        "trainer.callbacks=[{{_target_: pytorch_lightning.callbacks.Timer, _args_: [/]}}]",
        "trainer.callbacks=[{{_target_: nasrunner.children.files._LogFile, filename: x, mode: w}}]",
        "trainer.profiler={{_target_: pytorch_lightning.profilers.SimpleProfiler, filename: ../x}}",
        "trainer.profiler={{_target_: pytorch_lightning.profilers.SimpleProfiler, filename: /x}}",
        "trainer.profiler={{_target_: pytorch_lightning.profilers.SimpleProfiler, filename: ..}}",
        "trainer.logger={{_target_: pytorch_lightning.loggers.CSVLogger, version: '{{epoch:c}}'}}",
        "space.hyperparameters={{trainer.default_root_dir: {{oneof: [/]}}}}",
        "space.hyperparameters={{trainer.callbacks: {{oneof: [[{{dirpath: /}}]]}}}}",
        "space.hyperparameters={{trainer.profiler: {{filename: {{oneof: [a, ../x]}}}}}}",
    ],
)
def test_a_strangers_study_names_what_could_run_code_and_runs_nothing(
    place: str, evil: str, tmp_path: Path
) -> None:
    study = of_a_stranger(make_study(tmp_path / "study"), place.format(evil))
    with pytest.raises(ConfigError, match=TRUSTED):
        resumed(study)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("group", GROUPS)
def test_what_is_exchanged_or_not_built_is_not_asked_about(
    group: str, evil: str, tmp_path: Path
) -> None:
    study = of_a_stranger(make_study(tmp_path / "study"), f"{group}={evil}")
    others = [each for each in GROUPS if each != group]
    assert saved_config(study, builds=others)["study"] == "test"
    with pytest.raises(ConfigError, match=rf"{group}\._target_ names 'joblib.load'.*; legal is a "):
        saved_config(study, builds=[group])


def test_files_of_a_strangers_study_are_called_as_people_call_them(tmp_path: Path) -> None:
    names = "{filename: 'best-{epoch:02d}-{val_loss:.2f}', name: null, dirpath: null, version: 1}"
    study = of_a_stranger(make_study(tmp_path / "study"), f"trainer.callbacks=[{names}]")
    assert saved_config(study)["trainer"]["callbacks"][0]["version"] == 1


def test_nothing_is_imported_from_where_a_strangers_study_says_it_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "absent_module.py").touch()
    study = make_study(tmp_path / "study")
    (study / ".hydra").mkdir()
    began = {"hydra": {"runtime": {"cwd": str(tmp_path / "theirs")}}}
    OmegaConf.save(OmegaConf.create(began), study / ".hydra" / "hydra.yaml")
    of_a_stranger(study, "data={_target_: absent_module.Data}")
    saved_config(study, builds=["space"])
    assert str(tmp_path / "theirs") not in sys.path
    saved_config(study, trust=True)
    assert str(tmp_path / "theirs") in sys.path


def test_going_on_with_one_study_of_a_strangers_multirun_does_not_sign_it(tmp_path: Path) -> None:
    study = make_study(tmp_path / "theirs" / "0")
    (tmp_path / "theirs" / "multirun.yaml").write_text("hydra: {}\n")
    save_config(saved_config(study), study)
    assert why_not_own((tmp_path / "theirs" / "multirun.yaml").read_text()) is not None


def test_a_hyperparameter_may_be_what_another_one_is(tmp_path: Path) -> None:
    searched = "{scheduler.T_max: '${trainer.max_epochs}', trainer.max_epochs: {oneof: [2, 8]}}"
    study = of_a_stranger(make_study(tmp_path / "study"), f"space.hyperparameters={searched}")
    assert saved_config(study)["space"]["hyperparameters"]["scheduler.T_max"].startswith("${")


def test_trust_takes_a_strangers_study_with_all_it_names(evil: str, tmp_path: Path) -> None:
    study = of_a_stranger(make_study(tmp_path / "study"), f"task.reward={evil}")
    assert saved_config(study, trust=True)["task"]["reward"]["_target_"] == "joblib.load"


def report(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("nasrunner.report.command", monkeypatch, f"from={study}")


def retrain(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("nasrunner.retrain.command", monkeypatch, f"from={study}")


def export(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("nasrunner.export.command", monkeypatch, f"from={study}")


def found(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("nasrunner.show_space", monkeypatch, "--found", str(study))


def resume(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hydra.core.global_hydra import GlobalHydra

    GlobalHydra.instance().clear()
    run("nasrunner.command", monkeypatch, f"resume={study}")


def child(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = child_folder(study, 0)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "proposal.json").write_text(PROPOSAL)
    run("nasrunner.child", monkeypatch, str(folder))


def run(module: str, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", [module, *arguments])
    importlib.import_module(module).main()


@pytest.mark.parametrize("command", [report, retrain, export, found, resume, child])
def test_no_command_runs_what_a_strangers_space_names(
    command: Callable[..., None],
    evil: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    study = of_a_stranger(
        recorded(tmp_path / "study", [0.5, 0.7]), "space={_target_: evil_module.Evil}"
    )
    with pytest.raises(SystemExit, match="2"):
        command(study, monkeypatch)
    told = capsys.readouterr().err
    assert "space._target_ names 'evil_module.Evil'" in told
    assert "trust=true" in told
    assert told.count("\n") == 1
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("lost", ["nothing", "key", "signature", "open key"])
def test_own_modules_are_asked_about_only_where_the_signature_is_not_to_be_had(
    lost: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    own = {"_target_": "tests.children.blobs.StopOnce", "path": "x", "epoch": 1}
    study = make_study(tmp_path / "study", trainer={"callbacks": [own]})
    assert key_path().stat().st_mode & 0o777 == 0o600
    assert key_path().parent.stat().st_mode & 0o777 == 0o700
    if lost == "key":  # as on another machine, where a study of the user's own makes another
        shutil.rmtree(tmp_path / "home")
        make_study(tmp_path / "other")
    elif lost == "signature":
        OmegaConf.save(OmegaConf.load(study / "config.yaml"), study / "config.yaml")
    elif lost == "open key":
        key_path().chmod(0o644)
    if lost == "nothing":
        assert saved_config(study)["trainer"]["callbacks"] == [own]
    else:
        reason = {"key": "not made with", "signature": "not signed", "open key": "others can read"}
        with pytest.raises(ConfigError, match=f"{reason[lost]}.*tests.children.blobs.*trust=true"):
            saved_config(study)


def test_a_study_runs_where_no_key_can_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home").touch()  # a file: nothing can be made below it, by root neither
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    study = make_study(tmp_path / "study")
    assert build_space(saved_config(study)).size() > 1


@pytest.mark.parametrize("name", ["ledger.jsonl.unfinished", "report", "children/0000"])
def test_links_that_lead_out_of_a_strangers_study_are_refused(name: str, tmp_path: Path) -> None:
    study = of_a_stranger(make_study(tmp_path / "study"), "seed=1")
    (study / "children").mkdir()
    (study / "inside").symlink_to(study / "config.yaml")
    assert saved_config(study)["seed"] == 1
    (study / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match=f"{name} is a link that leads out of it"):
        saved_config(study)


@pytest.mark.slow
def test_every_shipped_option_is_legal_in_a_strangers_study(tmp_path: Path) -> None:
    from nasrunner.compose.config import REQUIRED, config_dir, shipped_option

    num_seen = 0
    for group in GROUPS:
        for path in sorted((config_dir() / group).glob("*.yaml")):
            if group == "executor" and not path.stem.startswith(("local", "serial", "simulated")):
                continue
            option = shipped_option(group, path.stem)
            text = OmegaConf.to_yaml(option).replace("${", "$ {")
            study = tmp_path / f"{group}-{path.stem}"
            study.mkdir()
            (study / "ledger.jsonl").touch()
            config = {group: OmegaConf.to_container(OmegaConf.create(text))}
            if group == "tracker":
                inside = config["tracker"].get("trackers", {})
                for name, each in {path.stem: config["tracker"], **inside}.items():
                    usual = usual_settings(name)
                    each |= {place: usual[place] for place in shipped_places().get(name, ())}
            if group == "baseline":
                config = {"baseline": None}
            whole = {**{key: {} for key in REQUIRED}, **config}
            OmegaConf.save(OmegaConf.create(whole), study / "config.yaml")
            saved_config(study)
            num_seen += 1
    assert num_seen > 40


def checkpoint(path: Path, **changes: object) -> Path:
    own = {
        "identity": "mine",
        "has_ended": False,
        "curves": [],
        "cost_s": 1.0,
        "random": [],
        "metrics": {},
        "should_stop": False,
    }
    torch.save({"nasrunner": own, "callbacks": changes}, path)
    return path


def test_a_checkpoint_runs_nothing(tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "last.ckpt", state=Payload(tmp_path / "ran"))
    with pytest.warns(UserWarning, match="last.ckpt is not used.*cannot be read"):
        assert read_progress(path, ["mine"], {}) is None
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("what", ["success", "error"])
def test_a_result_of_a_slurm_job_runs_nothing(what: str, tmp_path: Path) -> None:
    path = tmp_path / "0_result.pkl"
    proposal = Proposal(0, {"a": 1})
    outcome = Outcome(proposal, "completed", 0.5, {"val_accuracy": np.float64(0.5)})
    path.write_bytes(pickle.dumps((what, outcome)))
    assert read_result(path) == (what, outcome)
    path.write_bytes(pickle.dumps((what, Payload(tmp_path / "ran"))))
    with pytest.raises(pickle.UnpicklingError, match=r"it holds posix\.mkdir; legal are outcomes"):
        read_result(path)
    assert not (tmp_path / "ran").exists()


class Kept:
    """A state of a user's own callback."""


@pytest.mark.parametrize("is_named", [True, False])
def test_a_checkpoint_holds_objects_of_packages_that_the_configuration_names(
    is_named: bool, tmp_path: Path
) -> None:
    import datetime

    harmless = [
        np.arange(3),
        np.float64(1),
        np.array(["a", 2.0], dtype=object),
        datetime.datetime(2026, 1, 31),
        Path("x"),
    ]
    path = checkpoint(tmp_path / "last.ckpt", harmless=harmless, own=Kept())
    callback = {"_target_": "tests.anything.Callback" if is_named else "torch.optim.Adam"}
    if is_named:
        assert read_progress(path, ["mine"], {"trainer": {"callbacks": [callback]}}) is not None
    else:
        with pytest.warns(UserWarning, match="cannot be read.*tests.compose.test_trust.Kept"):
            assert read_progress(path, ["mine"], {"optimizer": callback}) is None


@pytest.mark.parametrize("what", ["data", "trainer"])
def test_a_network_of_ones_own_study_is_not_exported_with_a_strangers_data(
    what: str, evil: str, tmp_path: Path
) -> None:
    from nasrunner.export.trained import find

    study = recorded(tmp_path / "study", [0.5])
    child = child_folder(study, 0)
    child.mkdir(parents=True)
    (child / "proposal.json").write_text(PROPOSAL)
    config = OmegaConf.load(study / "config.yaml")
    OmegaConf.save(
        {group: config[group] for group in ("data", "task", "trainer")}, child / "config.yaml"
    )
    assert find(str(child), None).proposal.index == 0
    OmegaConf.update(config, f"{what}._target_", "joblib.load")
    OmegaConf.save(
        {group: config[group] for group in ("data", "task", "trainer")}, child / "config.yaml"
    )
    if what == "trainer":  # an export builds no trainer
        assert find(str(child), None).proposal.index == 0
    else:
        with pytest.raises(ConfigError, match=r"0000/config.yaml: data._target_ names 'joblib"):
            find(str(child), None)


@pytest.mark.parametrize("whose", ["own", "a stranger's", "trusted"])
def test_an_export_reads_objects_of_those_packages_alone_that_are_trusted(
    whose: str, tmp_path: Path
) -> None:
    from nasrunner.export.trained import find, read_weights

    study = recorded(tmp_path / "study", [0.5])
    child = child_folder(study, 0)
    child.mkdir(parents=True)
    (child / "proposal.json").write_text(PROPOSAL)
    of_a_stranger(study, "trainer.callbacks=[{_target_: tests.compose.test_trust.Kept}]")
    if whose == "own":
        save_config(saved_config(study, trust=True), study)
    config = OmegaConf.load(study / "config.yaml")
    OmegaConf.save(
        {group: config[group] for group in ("data", "task", "trainer")}, child / "config.yaml"
    )
    torch.save({"state_dict": {}, "epoch": 0, "kept": Kept()}, child / "best.ckpt")
    trained = find(str(child), None, trust=whose == "trusted")
    if whose == "a stranger's":
        with pytest.raises(
            ConfigError, match=r"it holds tests\.compose\.test_trust\.Kept; legal are"
        ):
            read_weights(trained)
    else:
        assert read_weights(trained).file == "best.ckpt"


def test_a_space_is_read_from_a_study_without_its_other_classes(tmp_path: Path) -> None:
    study = of_a_stranger(
        recorded(tmp_path / "study", [0.5]), "executor={_target_: nasrunner.executors.slurm.X}"
    )
    assert read_study(study).space.size() == 100
    assert "affine" in show_space.found_space(study, None)
