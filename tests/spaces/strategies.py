"""Random spaces for property tests, written in the space language."""

from typing import Any

from hypothesis import strategies as st

Config = dict[str, Any] | str
IN_SHAPE = (2, 6, 5)
"""Every random space takes images of this shape, and keeps them images."""


def one_of(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """A value, or a decision between one to three of them, the last one maybe inside another."""
    options = st.lists(values, min_size=1, max_size=3, unique=True)
    flat = options.map(lambda given: {"oneof": given})
    nested = options.map(lambda given: {"oneof": [*given[:-1], {"oneof": given}]})
    return values | flat | nested


BASIC: st.SearchStrategy[Config] = st.one_of(
    st.sampled_from(["relu", "tanh", "batch_norm", "layer_norm", "empty", "zero"]),
    st.fixed_dictionaries(
        {
            "filters": one_of(st.integers(1, 4)) | st.just("same"),
            "kernel_size": one_of(st.integers(1, 4)),
            "stride": one_of(st.integers(1, 3)),
        },
        optional={"init": one_of(st.sampled_from(["default", "he", "xavier", "orthogonal"]))},
    ).map(lambda arguments: {"conv2d": arguments}),
    one_of(st.integers(1, 3)).map(
        lambda size: {"max_pool": {"kernel_size": size, "padding": "same"}}
    ),
    one_of(st.integers(1, 3)).map(
        lambda size: {"average_pool": {"kernel_size": size, "stride": 1, "padding": "same"}}
    ),
    one_of(st.sampled_from([0.1, 0.5])).map(lambda p: {"dropout": {"p": p}}),
)


def _composite(modules: st.SearchStrategy[Config]) -> st.SearchStrategy[Config]:
    several = st.lists(modules, min_size=1, max_size=3)
    schedule = {"schedule": {"start": 1, "step": 1, "end": 2, "every": 5}}
    times = st.integers(0, 3) | st.sampled_from([{"range": [0, 2, 1]}, {"oneof": [2, 1]}, schedule])
    merges = st.sampled_from(["add", "concat", "multiply", {"oneof": ["add", "concat"]}])
    return st.one_of(
        several.map(lambda given: {"concat": given}),
        several.map(lambda given: {"or": given}),
        modules.map(lambda given: {"optional": given}),
        modules.map(lambda given: {"residual": {"body": given, "shortcut": "pad"}}),
        modules.map(lambda given: {"residual": given}),
        modules.map(lambda given: {"named": {"label": "block", "module": given}}),
        st.builds(
            lambda nodes, edge: {"cell": {"nodes": nodes, "edge": edge}},
            st.integers(2, 3) | st.just({"oneof": [3, 2]}),
            modules,
        ),
        st.builds(
            lambda times, layer: {"skip_layers": {"times": times, "layer": layer}},
            st.integers(1, 3) | st.sampled_from([{"oneof": [3, 2]}, schedule]),
            modules,
        ),
        st.tuples(modules, modules).map(lambda given: {"maybe_swap": list(given)}),
        st.builds(lambda t, b: {"repeat": {"times": t, "body": b}}, times, modules),
        st.builds(
            lambda length, first, token: {
                "string": {"max_length": length, "first": first, "token": token}
            },
            st.integers(1, 3),
            BASIC,
            BASIC,
        ),
        st.builds(lambda t, b: {"repeat_tied": {"times": t, "body": b}}, times, modules),
        st.builds(
            lambda merge, a, b: {"fork": {"merge": merge, "branches": [a, b]}},
            merges,
            modules,
            modules,
        ),
    )


modules: st.SearchStrategy[Config] = st.recursive(BASIC, _composite, max_leaves=6)
