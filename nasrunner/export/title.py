"""The text at the top of the file that is written: where the network comes from."""

from collections.abc import Iterator

from nasrunner.children.tasks.tasks import class_of
from nasrunner.core.ledger.goal_settings import reward_of_task
from nasrunner.core.machine.child_folder import OUTCOME, TESTED
from nasrunner.core.ports import Blueprint
from nasrunner.export.source.layout import WIDTH
from nasrunner.export.source.standalone import InputNormalization
from nasrunner.export.trained import Trained, TrainedWeights


def title_of(
    trained: Trained,
    weights: TrainedWeights | None,
    blueprint: Blueprint,
    normalization: InputNormalization | None,
) -> list[str]:
    """Returns the lines: what the network is, what goes in and comes out, and how it is used.

    Args:
        trained: the network.
        weights: which were kept of it.
        blueprint: its size and cost.
        normalization: of its inputs; None where it is not known.
    """
    facts = [(name, text) for name, text in _facts(trained, weights, blueprint) if text]
    facts += [("input", _input(trained, normalization))]
    if normalization and normalization.features:
        features = ", ".join(normalization.features)
        facts += [("features", f"{features}; NaN is a number that is missing")]
    facts += [("output", _output(trained))]
    width = max(len(name) for name, _ in facts) + 2
    lines = [
        f"Network {trained.name} of the study {trained.study.name}, as plain PyTorch code.",
        "",
    ]
    for name, text in facts:
        first, *others = _wrapped(text, WIDTH - width)
        lines += [f"{name:{width}}{first}", *(f"{'':{width}}{other}" for other in others)]
    return [*lines, "", *_example(normalization), "", "Written by nasrunner-export."]


def _facts(
    trained: Trained, weights: TrainedWeights | None, blueprint: Blueprint
) -> Iterator[tuple[str, str]]:
    yield "architecture", blueprint.text
    yield "hash", trained.proposal.hash
    yield "trained on", trained.other_data or ""
    outcome = trained.record(OUTCOME)
    reward = outcome.get("reward")
    metric = reward_of_task(trained.config).get("metric")
    num_trainings = round(outcome.get("metrics", {}).get("trainings", 1))
    several = f", mean of {num_trainings} trainings" if num_trainings > 1 else ""
    yield "reward", f"{reward:.6g} ({metric}{several})" if reward is not None else ""
    tested = trained.record(TESTED).get("metrics", {})
    yield "test", ", ".join(f"{name} {value:.6g}" for name, value in tested.items())
    of_first = " of the first training" if several else ""
    yield (
        "weights",
        f"of epoch {weights.epoch} (the first is 0){of_first}, {weights.file}"
        if weights
        else "were not kept",
    )
    yield "parameters", f"{blueprint.parameters:,}"
    yield "FLOPs", f"{blueprint.flops:,} for one example, two for each multiply-add"


def _input(trained: Trained, normalization: InputNormalization | None) -> str:
    shape = ", ".join(map(str, trained.in_shape))
    data = str(trained.config["data"]["_target_"]).rpartition(".")[2]
    known = "after normalize()" if normalization else "as in the batches of its data"
    return f"(B, {shape}) float32 {known}; B = batch, examples of {data}"


def _output(trained: Trained) -> str:
    task, count = class_of(trained.config["task"]), trained.config["data"]["num_outputs"]
    shape = ", ".join(map(str, trained.out_shape))
    if task is None:
        return f"(B, {shape})"
    if task.chooses_class:
        return (
            f"(B, {shape}): {task.outputs}, 0 to {count - 1}; softmax over dimension 1 makes "
            "shares of them"
        )
    return f"(B, {shape}): {task.outputs}"


def _example(normalization: InputNormalization | None) -> Iterator[str]:
    uses = "load, normalize" if normalization else "load"
    yield f"    from network import {uses}"
    yield ""
    yield '    network = load("network.safetensors")'
    yield f"    y = network({'normalize(x)' if normalization else 'x'})"


def _wrapped(text: str, width: int) -> Iterator[str]:
    """The text on lines of at most ``width`` characters; words longer than that stay whole."""
    line = ""
    for word in text.split(" "):
        if line and len(line) + 1 + len(word) > width:
            yield line
            line = word
        else:
            line = f"{line} {word}" if line else word
    yield line
