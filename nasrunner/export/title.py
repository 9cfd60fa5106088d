"""The text at the top of the file that is written: where the network comes from."""

from collections.abc import Iterator, Sequence

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
    classes: Sequence[str] | None,
) -> list[str]:
    """Returns the lines: what the network is, what goes in and comes out, and how it is used.

    Args:
        trained: the network.
        weights: which were kept of it.
        blueprint: its size and cost.
        normalization: of its inputs; None where it is not known, or there is none.
        classes: in the order of the outputs; None: it chooses none.
    """
    facts = [(name, text) for name, text in _facts(trained, weights, blueprint) if text]
    facts += [("input", _input(trained, normalization))]
    if normalization and normalization.features:
        features = ", ".join(normalization.features)
        facts += [("features", f"{features}; NaN is a number that is missing")]
    is_scaled = weights is not None and weights.target_scale is not None
    units = ", in the units of the targets" if is_scaled else ""
    facts += [("output", f"{_output(trained, classes)}{units}")]
    width = max(len(name) for name, _ in facts) + 2
    lines = [
        f"Network {trained.name} of the study {trained.study.name}, as plain PyTorch code.",
        "",
    ]
    for name, text in facts:
        first, *others = _wrapped(text, WIDTH - width)
        lines += [f"{name:{width}}{first}", *(f"{'':{width}}{other}" for other in others)]
    return [*lines, "", *_example(trained, normalization), "", "Written by nasrunner-export."]


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
    shape = ", ".join(map(str, trained.shape))
    data = str(trained.config["data"]["_target_"]).rpartition(".")[2]
    if trained.is_of_tokens:
        return f"(B, {shape}) int64, tokens; B = batch, examples of {data}"
    known = "after normalize()" if normalization else "as in the batches of its data"
    return f"(B, {shape}) float32 {known}; B = batch, examples of {data}"


def _output(trained: Trained, classes: Sequence[str] | None) -> str:
    task, shape = class_of(trained.config["task"]), ", ".join(map(str, trained.out_shape))
    if task is None:
        return f"(B, {shape})"
    if classes is None:
        return f"(B, {shape}): {task.outputs}"
    count = len(classes)
    is_numbered = list(classes) == list(map(str, range(count)))
    named = f"0 to {count - 1}" if is_numbered else ", ".join(classes)
    return f"(B, {shape}): {task.outputs}, {named}; softmax over dimension 1 makes shares of them"


def _example(trained: Trained, normalization: InputNormalization | None) -> Iterator[str]:
    names = ["load", *(["normalize"] if normalization else [])]
    names = ["Streamed", *names] if trained.is_streamed else names
    yield f"    from network import {', '.join(names)}"
    yield ""
    yield '    network = load("network.safetensors")'
    yield f"    y = network({'normalize(x)' if normalization else 'x'})"
    if trained.is_streamed:
        yield ""
        yield "    stream = Streamed(network)  # of texts that come in parts"
        yield "    state = stream.begin(batch_size)"
        yield "    y, state = stream(x, state)"


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
