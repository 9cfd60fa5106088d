"""Tiny data sets of every kind of task, each of which a small network learns in a few epochs."""

from dataclasses import dataclass

import numpy as np

from nasrunner.data.tensors import Arrays, TensorDataModule

# N = number of examples, K = number of outputs, T = tokens of a text, H, W = height and width

_COMMON = {
    "batch_size": 16,
    "eval_batch_size": 7,
    "drop_last": False,
    "validation_examples": 30,
    "split_seed": 0,
}


@dataclass(kw_only=True, eq=False)
class Kinds(TensorDataModule):
    """Examples of one kind: 100 to learn from and 30 for the test."""

    def read_fit(self) -> Arrays:
        return self.read(100, seed=0)

    def read_test(self) -> Arrays:
        return self.read(30, seed=1)

    def read(self, num_examples: int, seed: int) -> Arrays:
        raise NotImplementedError


class Labels(Kinds):
    """Three labels of points in the plane: right of 0, above 0, far from 0."""

    def read(self, num_examples: int, seed: int) -> Arrays:
        x_NF = np.random.default_rng(seed).normal(size=(num_examples, 2)).astype(np.float32)
        is_far_N = np.square(x_NF).sum(axis=1) > 2
        return x_NF, np.stack([x_NF[:, 0] > 0, x_NF[:, 1] > 0, is_far_N], axis=1).astype(np.int64)


class Targets(Kinds):
    """Three numbers of two."""

    def read(self, num_examples: int, seed: int) -> Arrays:
        x_NF = np.random.default_rng(seed).normal(size=(num_examples, 2)).astype(np.float32)
        return x_NF, np.stack([x_NF.sum(axis=1), x_NF[:, 0], -x_NF[:, 1]], axis=1)


class Texts(Kinds):
    """Six of ten words: those of class 0 have low numbers, but for one."""

    def read(self, num_examples: int, seed: int) -> Arrays:
        rng = np.random.default_rng(seed)
        y_N = np.arange(num_examples) % 2
        x_NT = rng.integers(0, 5, size=(num_examples, 6)) + 5 * y_N[:, None]
        x_NT[:, 0] = rng.integers(0, 10, size=num_examples)
        return x_NT, y_N


class Squares(Kinds):
    """A bright square in the dark, or one less bright; the image's edge does not count."""

    def read(self, num_examples: int, seed: int) -> Arrays:
        rng = np.random.default_rng(seed)
        x_NCHW = 0.1 * rng.normal(size=(num_examples, 1, 8, 8)).astype(np.float32)
        y_NHW = np.zeros((num_examples, 8, 8), np.int64)
        for place, (row, column) in enumerate(rng.integers(1, 5, size=(num_examples, 2))):
            kind = place % 2 + 1
            x_NCHW[place, 0, row : row + 3, column : column + 3] += kind
            y_NHW[place, row : row + 3, column : column + 3] = kind
        y_NHW[:, [0, -1]] = y_NHW[:, :, [0, -1]] = -100
        return x_NCHW, y_NHW


class Unequal(Kinds):
    """Two classes that nothing tells apart: nine of ten examples are of the first."""

    def read(self, num_examples: int, seed: int) -> Arrays:
        x_NF = np.random.default_rng(seed).normal(size=(num_examples, 2)).astype(np.float32)
        return x_NF, (np.arange(num_examples) % 10 == 0).astype(np.int64)


def kind(name: str, in_shape: list[int], num_outputs: int, **others: object) -> dict[str, object]:
    """The configuration of one of these data sets."""
    described = {"in_shape": in_shape, "num_outputs": num_outputs}
    return {"_target_": f"tests.children.tasks.kinds.{name}", **described, **_COMMON, **others}


LABELS = kind("Labels", [2], 3)
TARGETS = kind("Targets", [2], 3)
TEXTS = kind("Texts", [6], 2, in_dtype="int64", equal_inputs="apart")
SQUARES = kind("Squares", [1, 8, 8], 3)
UNEQUAL = kind("Unequal", [2], 2)

MLP = {"concat": [{"affine": {"units": {"oneof": [8, 16]}}}, "relu", {"affine": {"units": 3}}]}
OF_TEXTS = {
    "concat": [
        {"embedding": {"vocabulary": 10, "units": 4}},
        {"or": [{"recurrent": {"cell": "gru_cell", "units": 6}}, "empty"]},
        {"sequence_pool": {"mode": {"oneof": ["last", "mean", "max"]}}},
        {"affine": {"units": 2}},
    ]
}
OF_SQUARES = {
    "concat": [
        {"conv2d": {"filters": {"oneof": [4, 6]}, "kernel_size": 3}},
        "relu",
        {"conv2d": {"filters": 3, "kernel_size": 1}},
    ]
}
