"""The latency of a child: how it is timed, and that measuring it changes nothing else."""

import itertools

import pytest

from nasrunner.children.fit.latency import timed_ms
from tests.children.blobs import train


def test_passes_are_timed_one_by_one_after_a_warm_up():
    calls, clock = [], itertools.count(0.0, 0.25)
    times = timed_ms(lambda: calls.append("run"), lambda: calls.append("wait"), clock.__next__)
    assert calls == ["run"] * 10 + ["wait", "run", "wait"] * 50
    assert times == [250.0] * 50


def test_a_child_has_a_latency_where_an_objective_names_it(tmp_path):
    plain = train(tmp_path / "plain")
    measured = train(tmp_path / "measured", objectives=("val_accuracy", "latency_ms"))
    own = {name: measured.metrics[name] for name in ("latency_ms", "latency_iqr_ms")}
    assert own["latency_ms"] > 0
    assert own["latency_iqr_ms"] >= 0
    assert measured.metrics == plain.metrics | own
    assert (measured.reward, measured.curve) == (plain.reward, plain.curve)


def test_the_latency_of_several_trainings_is_their_mean(tmp_path):
    evaluation = {"repeats": 2, "folds": None}
    measured = train(tmp_path, evaluation=evaluation, objectives=("latency_ms",))
    assert measured.metrics["trainings"] == 2
    assert measured.metrics["latency_ms"] > 0


@pytest.mark.gpu
def test_the_latency_is_that_of_the_device_that_trained(tmp_path):
    measured = train(tmp_path, "trainer.accelerator=gpu", objectives=("latency_ms",))
    assert measured.metrics["latency_ms"] > 0
