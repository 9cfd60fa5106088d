"""What ``nasrunner-space`` shows of a space."""

import argparse
import dataclasses
import sys
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from nasrunner.core import ConfigError
from nasrunner.show_space import found_space, main, print_samples, tree
from nasrunner.spaces.language.parsing import MODULES, parse_space
from tests.report.recordings import recorded


def shown(config: object) -> str:
    console = Console(width=120, no_color=True)
    with console.capture() as capture:
        console.print(tree(parse_space(config)))
    return capture.get()


def test_each_place_of_a_pair_shows_its_own_options() -> None:
    kernel = [{"oneof": [1, 3]}, 5]
    text = shown({"conv2d": {"filters": 8, "kernel_size": kernel}})
    assert "conv2d kernel_size ∈ {1, 3} × = 5 (2)" in text


@pytest.mark.parametrize(
    ("config", "line"),
    [
        ({"residual": "relu"}, "residual shortcut = project"),
        ({"residual": {"body": "relu", "shortcut": "pad"}}, "residual shortcut = pad"),
        ({"fork": {"branches": ["relu", "tanh"], "merge": "concat"}}, "fork merge = concat"),
        ({"repeat": {"times": 3, "body": "relu"}}, "repeat times = 3"),
    ],
)
def test_a_module_with_others_inside_shows_its_own_arguments(config: object, line: str) -> None:
    assert line in shown(config)


def test_a_users_module_shows_its_own_name_and_arguments() -> None:
    sizes = {"in_channels": 8, "kernel_size": 3}
    arguments = {**sizes, "out_channels": {"oneof": [4, 8]}, "stride": {"oneof": [1, 2]}}
    text = shown({"concat": [{"_target_": "torch.nn.Conv2d", **arguments}, "relu"]})
    assert "Conv2d out_channels ∈ {4, 8} stride ∈ {1, 2} (4)" in text


def test_a_module_of_ones_own_shows_its_name_and_its_arguments() -> None:
    factor = {"oneof": [2, {"uniform": [0.5, 1], "steps": 2}]}
    own = {"_target_": "torch.nn.Upsample", "scale_factor": factor, "mode": {"oneof": ["a", "b"]}}
    assert "Upsample scale_factor ∈ {2, {0.5, 1.0}} mode ∈ {a, b} (6)" in shown(own)


def test_a_schedule_shows_when_it_goes_on() -> None:
    schedule = {"start": 6, "step": 2, "end": 20, "every": 1600}
    text = shown({"repeat": {"times": {"schedule": schedule}, "body": "relu"}})
    assert "times ∈ {6, 8, 10, 12, 14, 16, 18, 20}, the next after 1,600 children" in text


def test_a_size_is_exact_as_long_as_its_digits_can_be_read() -> None:
    units = {"affine": {"units": {"range": [1, 10, 1]}}}
    assert "(100,000,000,000,000)" in shown({"repeat": {"times": 14, "body": units}})
    assert "(1.0e15)" in shown({"repeat": {"times": 15, "body": units}})
    assert "(1.0e400)" in shown({"repeat": {"times": 400, "body": units}})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--child", "3"], "--child needs --found"),
        (["space=1", "--seed", "3", "data=digits"], "space=1 is no option of the group space"),
        (["space=mlp", "data=", "--samples", "1"], "data= has no value"),
        pytest.param(
            ["spce=mlp", "--samples", "1"],
            "there is no key 'spce', did you mean 'space'?",
            marks=pytest.mark.slow,
        ),
        (["+spce=mlp"], "there is no key 'spce', and nothing refers to it"),
        (["space=mlp", "hydra.run.dir=x"], "hydra.run.dir=x: nasrunner-space is no job of Hydra's"),
        (["--checked", "0"], "argument --checked: must be >= 1, got 0"),
        (["--samples=-1"], "argument --samples: must be >= 0, got -1"),
        (["--seed=-1"], "argument --seed: must be >= 0, got -1"),
        (["--seed", "one"], "argument --seed: invalid int value: 'one'"),
        (["--found", "study", "--child=-2"], "argument --child: must be >= 0, got -2"),
        (["space=mlp", "--found", "study"], "neither overrides nor --config-dir"),
    ],
)
def test_arguments_that_would_be_ignored_are_refused(
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["nasrunner-space", *arguments])
    with pytest.raises(SystemExit):
        main()
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("samples", "checked", "line"),
    [
        (
            None,
            None,
            "1 of 1 random architectures are valid (100.0%)\n  0 s were over: --samples 5",
        ),
        (3, None, "3 of 3 random architectures are valid (100.0%)\n  0 s were over: --checked 200"),
        (3, 4, "4 of 4 random architectures are valid (100.0%)\n"),
        (3, 1, "3 of 3 random architectures are valid (100.0%)\n"),  # so many are printed
    ],
)
def test_as_many_are_built_as_are_asked_for_or_patience_lasts(
    samples: int | None, checked: int | None, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nasrunner.show_space._PATIENCE_S", 0.0)
    space = parse_space(
        {"concat": [{"dropout": {"p": {"oneof": [0.1, 0.2]}}}, {"affine": {"units": 3}}]}
    )
    config = {
        "data": {"in_shape": [4], "num_outputs": 3},
        "task": {"_target_": "nasrunner.children.tasks.tasks.Classification"},
    }
    console = Console(width=120, no_color=True)
    arguments = argparse.Namespace(samples=samples, checked=checked, seed=0)
    with console.capture() as capture:
        print_samples(console, space, config, arguments)
    assert line in capture.get()
    assert ("were over" in capture.get()) == (checked is None)


def test_a_found_architecture_is_written_as_a_space(tmp_path: Path) -> None:
    folder = recorded(tmp_path / "study", [0.5, 0.9, None, 0.7])
    best, last = (yaml.safe_load(found_space(folder, index)) for index in (None, 3))
    assert best == {"concat": [{"affine": {"units": 2}}, "relu"]}  # child 1 has option 1
    assert last == {"concat": [{"affine": {"units": 4}}, "relu"]}
    assert found_space(folder, None).startswith("# Child 1 of toy, ")
    with pytest.raises(ConfigError, match=rf"no study's folder.*; choose one in it: {folder}"):
        found_space(folder.parent, None)
    assert "reward 0.9\n" in found_space(folder, None)
    assert "no reward\n" in found_space(folder, 2)
    with pytest.raises(ConfigError, match=r"study has no child number 4; it has 4 children"):
        found_space(folder, 4)


def test_what_a_supernet_would_share_is_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(
        sys,
        "argv",
        [
            "nasrunner-space",
            "space={concat: [{affine: {units: {oneof: [2, 4]}}}, relu, {affine: {units: 10}}]}",
            "one_shot=true",
        ],
    )
    main()
    told = capsys.readouterr().out
    assert "One supernet: 310 parameters" in told  # 64 * 4 + 4, and 4 * 10 + 10
    assert "the largest network visited has 310" in told
    assert "refused" not in told


def test_a_space_of_settings_has_no_supernet(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    searched = "+space.hyperparameters={optimizer.lr: {oneof: [0.1, 0.2]}}"
    monkeypatch.setattr(sys, "argv", ["nasrunner-space", "space=mlp", searched, "one_shot=true"])
    main()
    told = capsys.readouterr().out
    assert "refused: space.hyperparameters: optimizer.lr are searched, and a supernet" in told


def test_a_supernet_is_shown_with_copies_where_it_would_have_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    space = "space={concat: [{affine: {units: {oneof: [2, 4]}}}, relu, {affine: {units: 10}}]}"
    copies = "trainer.shared_widths=copies"
    monkeypatch.setattr(sys, "argv", ["nasrunner-space", space, "one_shot=true", copies])
    main()
    # 64 * 4 + 4 and 64 * 2 + 2; 4 * 10 and 2 * 10, with one bias for both
    assert "One supernet: 460 parameters" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (
            "{or: [relu, {affine: {units: 64}}, zero]}",
            "One mixture, as of searcher=darts or gdas: 1 sums of the options of 1 decisions, "
            "4,810 parameters",  # 64 * 64 + 64, and 64 * 10 + 10
        ),
        (
            "{or: [relu, {affine: {units: 5}}]}",
            "No mixture, as of searcher=darts or gdas: '1/or' cannot be kept open: a mixture adds "
            "up what its options make, and that has the shapes (64,), (5,); legal: options of one",
        ),
    ],
)
def test_a_supernet_is_shown_with_the_mixture_that_it_has_or_why_it_has_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], option: str, message: str
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    space = f"space={{concat: [flatten, {option}, {{affine: {{units: 10}}}}]}}"
    monkeypatch.setattr(sys, "argv", ["nasrunner-space", space, "one_shot=true"])
    main()
    told = capsys.readouterr().out
    assert message in told
    row = [line.split("│")[1:4] for line in told.splitlines() if line.startswith("│ 1/or")]
    assert [[cell.strip() for cell in each] for each in row] == (
        [["1/or", "3", "1"]] if message.startswith("One") else []
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["one_shot=yes"], "one_shot must be true or false, got 'yes'"),
        (["one_shot=true", "--samples", "3"], "--samples is of random architectures, and one_shot"),
        (
            ["one_shot=true", "trainer.shared_widths=both"],
            "trainer.shared_widths must be one of slices, copies, got 'both'",
        ),
    ],
)
def test_what_a_supernet_is_not_shown_with_is_refused(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.setattr(sys, "argv", ["nasrunner-space", "space=mlp", *arguments])
    with pytest.raises(SystemExit):
        main()
    assert message in capsys.readouterr().err


def test_a_module_is_shown_with_its_arguments(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(sys, "argv", ["nasrunner-space", "module=dilated_conv1d"])
    main()
    told = capsys.readouterr().out
    assert told.startswith("dilated_conv1d: ")
    named = [line.split(" ")[0] for line in told.splitlines()[2:-1]]
    arguments = [name for name in named if name]
    fields = dataclasses.fields(MODULES["dilated_conv1d"])
    assert arguments == [each.name for each in fields if each.init and each.name != "path"]
    for given, message in (
        (["module=conv2"], "no module 'conv2', did you mean 'conv2d'"),
        (["module=relu", "space=mlp"], "module=relu shows a module of the language: legal is"),
    ):
        monkeypatch.setattr(sys, "argv", ["nasrunner-space", *given])
        with pytest.raises(SystemExit):
            main()
        assert message in capsys.readouterr().err
