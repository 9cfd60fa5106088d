import pytest

from nasrunner.children.inspecting import measured
from nasrunner.children.rehearsal.samples import sampled
from nasrunner.core import ConfigError
from nasrunner.spaces.language.parsing import parse_space
from tests.searchers.worlds import load_space


def test_networks_are_found_smallest_first():
    found = sampled(load_space("figure1"), (1, 8, 8), 10, "float32")
    sizes = [
        sum(p.numel() for p in frozen.build((1, 8, 8))[0].parameters()) for frozen in found.networks
    ]
    assert found.remark is None
    assert sizes == sorted(sizes)
    assert len(sizes) == 8


def test_a_small_space_without_a_possible_network_is_refused():
    message = (
        r"space: none of its 24 networks can be built for data.in_shape=\[1, 64\] and "
        r"data.num_outputs=10: .*no conv2d on an input of shape \(1, 64\)"
    )
    with pytest.raises(ConfigError, match=message):
        sampled(load_space("figure1"), (1, 64), 10, "float32")


def test_the_only_possible_network_of_a_small_space_is_found():
    units = {"affine": {"units": {"oneof": list(range(1, 11))}}}
    space = parse_space({"concat": [units, units, units]})  # the last must have 10 outputs
    found = sampled(space, (4,), 10, "float32")
    assert all(frozen.text().endswith("affine(units=10)") for frozen in found.networks)
    rare = parse_space({"affine": {"units": {"oneof": list(range(10, 510))}}})
    assert [each.text() for each in sampled(rare, (4,), 10, "float32").networks] == [
        "affine(units=10)"
    ]


def test_a_large_space_without_a_possible_network_is_a_remark():
    found = sampled(load_space("deepconv"), (1, 64), 10, "float32")
    assert found.networks == []
    assert found.remark is not None
    assert found.remark.startswith("none of 30 random networks can be built for data.in_shape=[1, ")


def test_the_first_network_may_take_long_and_is_not_the_only_one(monkeypatch):
    """A user's module is inspected in a process that is started for the first one."""
    clock = [0.0]

    def slow_once(*arguments):
        clock[0] += 3.0 if clock[0] == 0 else 0.01
        return measured(*arguments)

    monkeypatch.setattr("nasrunner.children.rehearsal.samples.measured", slow_once)
    monkeypatch.setattr("nasrunner.children.rehearsal.samples.time.monotonic", lambda: clock[0])
    space = parse_space({"affine": {"units": 2, "bias": {"oneof": [True, False]}}})
    found = sampled(space, (3,), 2, "float32").networks
    assert [each.network.text() for each in found] == [
        "affine(units=2, bias=False)",
        "affine(units=2)",
    ]
