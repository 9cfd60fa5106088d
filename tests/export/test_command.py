"""The command ``nasrunner-export`` as a user types it, in this process; bad input above all."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import onnxruntime  # type: ignore[import-untyped]  # it has no stubs
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from nasrunner.children.files import ChildFiles
from nasrunner.command import main as search
from nasrunner.core.records import Kind, Proposal
from nasrunner.data.digits import Digits
from nasrunner.export.command import main
from tests.paused import pause_all
from tests.sampling import one_in

Command = Callable[..., None]
QUICK = (
    "executor=serial",
    "tracker=none",
    "searcher=random",
    "trainer.max_epochs=2",
    "trainer.accelerator=cpu",
    "max_children=2",
    "space=figure1",
    "space.concat.0.conv2d.filters.oneof=[2,4]",
)
CLEAN = """
import sys
sys.modules["nasrunner"] = None
sys.path.insert(0, sys.argv[1])
import torch
from network import load, normalize
x, y = torch.load(sys.argv[2])
network = load(sys.argv[1] + "/network.safetensors")
print(float((network(normalize(x)).argmax(1) == y).float().mean()))
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of two children on the digits."""
    folder = tmp_path_factory.mktemp("outputs") / "study"
    run_search(folder)
    return folder


def run_search(folder: Path, *overrides: str) -> None:
    GlobalHydra.instance().clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder.parent)
        changed = {each.partition("=")[0] for each in overrides}
        quick = [each for each in QUICK if each.partition("=")[0] not in changed]
        patch.setattr(sys, "argv", ["nasrunner", *quick, f"hydra.run.dir={folder}", *overrides])
        search()


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Command:
    def run(*arguments: str) -> None:
        monkeypatch.setattr(sys, "argv", ["nasrunner-export", *arguments])
        main()

    return run


def digits() -> Digits:
    """The data of ``conf/data/digits.yaml``."""
    return Digits(
        in_shape=[1, 8, 8],
        num_outputs=10,
        batch_size=32,
        eval_batch_size=512,
        drop_last=False,
        validation_examples=287,
        split_seed=0,
        test_examples=360,
    )


def refused(command: Command, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What the command says when it ends with exit code 2: one line."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as exit_:
        command(*arguments)
    assert exit_.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("nasrunner-export: ")
    assert error.count("\n") == 1
    return error


@one_in(2, 0, "fidelity", ["width: [0.5]", "resolution: [4]"])
def test_a_child_at_a_fidelity_is_exported_as_it_was_trained(
    command: Command, tmp_path: Path, fidelity: str
) -> None:
    cheaper = ("searcher=asha", f"searcher.fidelity={{{fidelity}}}", "max_children=1")
    run_search(tmp_path / "study", *cheaper)
    child = tmp_path / "study" / "children" / "0000"
    command(f"from={child}", f"to={tmp_path / 'exported'}")
    facts = json.loads((tmp_path / "exported" / "export.json").read_text())
    lines = (tmp_path / "study" / "ledger.jsonl").read_text().splitlines()
    (outcome,) = [each for each in map(json.loads, lines) if each["event"] == "outcome"]
    assert facts["reward"] == outcome["reward"]
    assert facts["max_absolute_difference"]["network.py"] == 0
    assert facts["in_shape"] == ([1, 8, 8] if "width" in fidelity else [1, 4, 4])
    assert facts["parameters"] < outcome["metrics"]["parameters"]  # of a full training
    assert facts["problems"] == []


def test_the_best_child_of_a_study_is_as_good_without_nasrunner(
    command: Command, study: Path, tmp_path: Path
) -> None:
    command(f"from={study}", f"to={tmp_path}")
    facts = json.loads((tmp_path / "export.json").read_text())
    outcomes = [json.loads(p.read_text()) for p in study.glob("children/*/outcome.json")]
    assert facts["reward"] == max(each["reward"] for each in outcomes)
    assert facts["max_absolute_difference"]["network.py"] == 0
    assert facts["max_absolute_difference"]["network.onnx"] < 1e-4
    assert facts["problems"] == []
    assert facts["files"].keys() == {"network.py", "network.safetensors", "network.onnx"}

    data = digits()
    data.setup("fit")
    x, y = next(iter(data.val_dataloader()))
    raw = x * torch.tensor(facts["normalization"]["std"]) + torch.tensor(
        facts["normalization"]["mean"]
    )
    assert torch.allclose(raw, raw.round(), atol=1e-3)  # pixels are whole numbers, 0 to 16
    torch.save((raw.round(), y), tmp_path / "validation.pt")
    arguments = [sys.executable, "-I", "-c", CLEAN, tmp_path, tmp_path / "validation.pt"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == pytest.approx(facts["reward"], abs=1e-6)

    session = onnxruntime.InferenceSession(tmp_path / "network.onnx")
    (logits,) = session.run(["y"], {"x": raw.round().numpy()})
    accuracy = float((logits.argmax(1) == y.numpy()).mean())
    assert accuracy == pytest.approx(facts["reward"], abs=1e-6)
    told = session.get_modelmeta().custom_metadata_map
    assert told["inputs"] == "x: as in the data set; the graph normalizes them"
    assert told["outputs"] == "y: logits of classes"
    assert json.loads(told["in_shape"]) == [1, 8, 8]
    assert json.loads(told["classes"]) == [str(digit) for digit in range(10)]
    assert json.loads(told["std"]) == facts["normalization"]["std"]


@pytest.mark.slow
def test_normalization_is_left_out_of_onnx_where_that_is_asked_for(
    command: Command, study: Path, tmp_path: Path
) -> None:
    command(f"from={study}", f"to={tmp_path}", "normalize=false")
    facts = json.loads((tmp_path / "export.json").read_text())
    data = digits()
    data.setup("fit")
    x, y = next(iter(data.val_dataloader()))  # normalized
    session = onnxruntime.InferenceSession(tmp_path / "network.onnx")
    (logits,) = session.run(["y"], {"x": x.numpy()})
    assert float((logits.argmax(1) == y.numpy()).mean()) == pytest.approx(facts["reward"], abs=1e-6)
    told = session.get_modelmeta().custom_metadata_map
    assert told["inputs"] == "x: normalized: (raw - mean) / std"
    assert facts["onnx_normalizes"] is False


@pytest.mark.slow
def test_a_child_goes_into_its_own_folder_and_a_second_export_replaces_the_first_alone(
    command: Command, study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = study / "children" / "0001" / "export"
    folder.mkdir()
    (folder / "network.onnx").write_text("of another")
    (folder / "notes.txt").write_text("mine")
    child = f"from={study / 'children' / '0001'}"
    assert "export holds network.onnx, made or changed by another" in refused(
        command, capsys, child
    )
    assert {path.name for path in folder.iterdir()} == {"network.onnx", "notes.txt"}
    command(child, "overwrite=true")
    (folder / "export.json").touch()
    command(child)
    assert json.loads((folder / "export.json").read_text())["child"] == 1
    assert (folder / "network.onnx").stat().st_size > 1000
    assert (folder / "notes.txt").read_text() == "mine"
    assert not list(folder.glob("*.unfinished"))


@pytest.mark.slow
def test_the_epsilon_that_a_network_was_trained_with_is_exported(
    command: Command, tmp_path: Path
) -> None:
    epsilon = "trainer.batch_norm_epsilon=0.5"
    run_search(tmp_path / "study", epsilon, "max_children=1")
    command(f"from={tmp_path / 'study'}", f"to={tmp_path / 'out'}")
    facts = json.loads((tmp_path / "out" / "export.json").read_text())
    assert facts["problems"] == []
    assert facts["max_absolute_difference"]["network.py"] == 0
    assert re.search(r"BatchNorm2d\(\d+, eps=0\.5\)", (tmp_path / "out" / "network.py").read_text())


@pytest.mark.parametrize("kind", ["supernet", "estimate"])
def test_what_was_not_trained_for_itself_is_not_exported(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: Kind
) -> None:
    ChildFiles(tmp_path).write_proposal(Proposal(0, {}, kind=kind))
    told = refused(command, capsys, f"from={tmp_path}")
    assert re.search(f"is an? {kind}.*, and no network that was trained for itself; legal:", told)


@pytest.mark.slow
def test_the_last_weights_are_taken_where_the_best_were_not_kept(
    command: Command, tmp_path: Path
) -> None:
    run_search(tmp_path / "study", "trainer.checkpoint=last", "max_children=1")
    command(f"from={tmp_path / 'study'}", f"to={tmp_path / 'out'}")
    facts = json.loads((tmp_path / "out" / "export.json").read_text())
    assert facts["weights"] == {"file": "last.ckpt", "epoch": 1, "dtype": "float32"}


@pytest.mark.slow
def test_a_reward_of_several_trainings_is_not_taken_for_that_of_the_weights(
    command: Command, tmp_path: Path
) -> None:
    run_search(tmp_path / "study", "evaluation.repeats=2", "max_children=1")
    command(f"from={tmp_path / 'study'}", f"to={tmp_path / 'out'}")
    code = (tmp_path / "out" / "network.py").read_text()
    assert re.search(r"reward +[\d.]+ \(val_accuracy, mean of 2 trainings\)", code)
    assert "(the first is 0) of the first training, best.ckpt" in code


@pytest.mark.slow
def test_the_best_of_the_longest_rung_is_exported_and_said_to_be_that(
    command: Command, study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(study, tmp_path / "study")
    pause_all(tmp_path / "study", 2)
    command(f"from={tmp_path / 'study'}", f"to={tmp_path / 'out'}")
    told = "No child was trained to its end: the best are of those paused after 2 epochs."
    assert capsys.readouterr().err == f"nasrunner-export: {told}\n"
    assert told in json.loads((tmp_path / "out" / "export.json").read_text())["notes"]


def test_without_weights_only_the_code_is_written(
    command: Command, study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(study, tmp_path / "study")
    for file in (tmp_path / "study").rglob("*.ckpt"):
        file.unlink()
    error = refused(command, capsys, f"from={tmp_path / 'study'}", f"to={tmp_path / 'out'}")
    assert "holds no weights" in error
    assert f"nasrunner-retrain from={tmp_path / 'study'}" in error
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"network.py", "export.json", ".nasrunner-export.json"}


@pytest.mark.slow
def test_the_setting_that_kept_no_weights_is_named(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study, to = tmp_path / "study", f"to={tmp_path / 'out'}"
    run_search(study, "keep_weights=best:1")
    (kept,) = study.glob("children/*/best.ckpt")
    command(f"from={study}", to)
    assert "network.safetensors" in capsys.readouterr().out
    other = study / "children" / ("0001" if kept.parent.name == "0000" else "0000")
    error = refused(command, capsys, f"from={other}", to, "overwrite=true")
    assert f"{other} holds no weights (keep_weights=best:1), so only network.py was" in error


@pytest.mark.slow
def test_a_network_retrained_elsewhere_needs_its_study(
    command: Command, study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = tmp_path / "networks" / "0000-seed0"
    shutil.copytree(study / "children" / "0000", network)
    (network / "tested.json").write_text('{"metrics": {"test_accuracy": 0.5}}')
    OmegaConf.save({"on": "train_and_validation"}, network.parent / "retrain.yaml")
    assert "give study=FOLDER" in refused(command, capsys, f"from={network}")
    command(f"from={network}", f"study={study}")
    assert "test          test_accuracy 0.5" in (network / "export" / "network.py").read_text()
    facts = json.loads((network / "export" / "export.json").read_text())
    x, _ = digits().read_fit()  # both parts: 1,437 images
    assert facts["normalization"]["mean"] == [pytest.approx(x.mean())]


@pytest.mark.slow
def test_a_part_that_cannot_be_written_does_not_keep_the_rest(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = "{_target_:tests.export.blocks.NeedsNumpy}"
    space = f"space.concat=[{own},{{affine:{{units:10}}}}]"
    run_search(tmp_path / "study", space, "max_children=1")
    error = refused(command, capsys, f"from={tmp_path / 'study'}", f"to={tmp_path / 'out'}")
    assert "network.py was not written: the source of tests.export.blocks.NeedsNumpy" in error
    facts = json.loads((tmp_path / "out" / "export.json").read_text())
    assert facts["files"].keys() == {"network.safetensors", "network.onnx"}
    assert facts["max_absolute_difference"]["network.onnx"] < 1e-4


def test_weights_of_another_architecture_are_refused(
    command: Command, study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(study, tmp_path / "study")
    child = tmp_path / "study" / "children" / "0000"
    torch.save({"state_dict": {"other": torch.zeros(1)}, "epoch": 0}, child / "best.ckpt")
    error = refused(command, capsys, f"from={child}")
    assert "best.ckpt does not hold the weights of this architecture" in error
    (child / "best.ckpt").write_text("damaged")
    assert "best.ckpt is no checkpoint of a child" in refused(command, capsys, f"from={child}")
    config = (child / "config.yaml").read_text()
    for text, reason in (
        ("", "config.yaml is empty"),
        (config.rstrip(), "config.yaml is cut off"),
        (config[: config.index("trainer:")], "config.yaml lacks trainer"),
    ):
        (child / "config.yaml").write_text(text)
        assert f"is damaged: {reason}" in refused(command, capsys, f"from={child}")
    (child / "proposal.json").write_text("{")
    assert "proposal.json or config.yaml is damaged" in refused(command, capsys, f"from={child}")


@pytest.mark.parametrize(
    ("trainer", "source"), [("TabularTrainer", "a table"), ("ZeroCostTrainer", "a zero-cost proxy")]
)
def test_a_study_that_trained_nothing_is_refused(
    command: Command,
    study: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    trainer: str,
    source: str,
) -> None:
    shutil.copytree(study, tmp_path / "study")
    shutil.rmtree(tmp_path / "study" / "children")
    config = tmp_path / "study" / "config.yaml"
    config.write_text(config.read_text().replace("lightning.LightningTrainer", f"t.{trainer}"))
    error = refused(command, capsys, f"from={tmp_path / 'study'}")
    assert f"no network of this study was trained, its rewards are from {source}" in error


@pytest.mark.slow
def test_a_study_is_found_by_its_run_in_mlflow(
    command: Command,
    study: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(study, tmp_path / "outputs" / "mine" / "now")
    (tmp_path / "outputs" / "mine" / "now" / "mlflow.json").write_text('{"run_id": "abc"}')
    assert "no study below" in refused(command, capsys, "from=runs:/other")
    command("from=runs:/abc", "to=out")
    assert (tmp_path / "out" / "network.onnx").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["frm=x"],
            r"there is no key 'frm', did you mean 'from'\? Legal: format, from, norm",
        ),
        (["from=x", "overwrite=yes"], "overwrite must be true or false, got 'yes'"),
        (["outputs"], "arguments are written key=value, got 'outputs'; see --help"),
        (["from="], "arguments are written key=value, got 'from='"),
        (["to=x"], "from= is missing"),
        (["from=x", "from=y"], "from is given twice: x and y"),
        (["from=nowhere"], "from=nowhere: there is no such folder"),
        (["from=."], "is no folder of a study .* of a child or of a retrained network"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_sentence(
    command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert re.search(message, refused(command, capsys, *arguments))
    assert list(tmp_path.iterdir()) == []


def test_an_argument_is_checked_before_what_is_installed(
    command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "out").write_text("mine")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "not installed; pip install" in refused(command, capsys, f"from={tmp_path}")
    error = refused(command, capsys, f"from={tmp_path}", f"to={tmp_path / 'out'}")
    assert "out is a file; it must be a folder" in error


def test_a_file_in_the_place_of_the_folder_is_refused(
    command: Command, study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").write_text("mine")
    error = refused(command, capsys, f"from={study}", f"to={tmp_path / 'out'}")
    assert "out is a file; it must be a folder" in error


def test_a_package_that_is_missing_is_named_with_the_command_that_installs_it(
    command: Command,
    study: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "onnxruntime" else object()
    )
    error = refused(command, capsys, f"from={study}")
    assert "onnxruntime: not installed; pip install 'nasrunner[export]' installs it" in error


def test_help_shows_examples(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    command("--help")
    assert "nasrunner-export from=outputs/STUDY/TIME/children/0007" in capsys.readouterr().out


@pytest.mark.parametrize("adds_constants", [False, True])
@pytest.mark.slow
def test_dead_branches_are_not_exported_unless_their_biases_add_constants(
    command: Command, tmp_path: Path, adds_constants: bool
) -> None:
    conv = "{conv2d:{filters:1,kernel_size:3}}"
    series = f"zero,{conv}" if adds_constants else f"{conv},zero"
    fork = f"{{fork:{{merge:add,branches:[relu,{{concat:[{series}]}}]}}}}"
    space = f"space.concat=[{fork},{{affine:{{units:10}}}}]"
    run_search(tmp_path / "study", space, "max_children=1")
    command(f"from={tmp_path / 'study'}", f"to={tmp_path / 'to'}")
    facts = json.loads((tmp_path / "to" / "export.json").read_text())
    assert facts["problems"] == []
    assert facts["parameters_dead"] == (0 if adds_constants else 10)
    told = "add constants" if adds_constants else "10 of its 660 parameters are of dead branches"
    assert any(told in note for note in facts["notes"])
    assert facts["max_absolute_difference"]["network.py"] < 1e-4
