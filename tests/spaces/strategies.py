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
    one_of(st.sampled_from([0.1, 0.5])).map(lambda p: {"path_dropout": {"p": p}}),
    one_of(st.integers(2, 4)).map(lambda filters: {"factorized_reduction": {"filters": filters}}),
)

OPERATION: st.SearchStrategy[Config] = st.lists(
    st.sampled_from(
        [
            "empty",
            {"max_pool": {"kernel_size": 3, "stride": 1, "padding": "same"}},
            {"concat": ["relu", {"conv2d": {"filters": "same", "kernel_size": 1}}]},
            "zero",
        ]
    ),
    min_size=1,
    max_size=3,
).map(lambda given: {"or": ["empty", *given]})
"""What can stand on the edges of a cell that is stacked."""


def block_cells(operations: st.SearchStrategy[Config]) -> st.SearchStrategy[Config]:
    return st.fixed_dictionaries(
        {"blocks": st.integers(1, 2) | st.just({"oneof": [2, 1]}), "operation": operations},
        optional={
            "inputs": st.sampled_from(["any", "distinct"]),
            "combine": st.sampled_from(["add", "concat", {"oneof": ["add", "concat"]}]),
            "output": st.sampled_from(["all", "loose_ends", {"oneof": ["all", "loose_ends"]}]),
        },
    ).map(lambda arguments: {"block_cell": arguments})


CELL_STACK: st.SearchStrategy[Config] = st.fixed_dictionaries(
    {
        "normal": block_cells(OPERATION),
        "filters": one_of(st.integers(2, 4)),
        "times": st.integers(1, 2) | st.just({"oneof": [1, 2]}),
        "stages": st.integers(1, 2) | st.just({"oneof": [2, 1]}),
    },
    optional={
        "reduction": block_cells(OPERATION),
        "stem": st.integers(0, 1),
        "reduction_counts": st.booleans(),
        "path_dropout": one_of(st.sampled_from([0.0, 0.2])),
        "path_dropout_by_depth": st.booleans(),
    },
).map(lambda arguments: {"cell_stack": arguments})


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
        st.builds(
            lambda times, layer: {
                "skip_layers": {"times": times, "layer": layer, "skips": "added"}
            },
            st.integers(1, 3) | st.sampled_from([{"oneof": [3, 2]}, schedule]),
            modules,
        ),
        block_cells(modules),
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


modules: st.SearchStrategy[Config] = st.recursive(BASIC | CELL_STACK, _composite, max_leaves=6)
