"""Scikit-learn's multi-layer perceptron on the examples of a study, to compare networks with."""

import functools
import time
from typing import Any

import numpy as np
import torch
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # comes with sklearn

from nasrunner.children.files import ChildFiles
from nasrunner.children.fit.loading import load_data
from nasrunner.children.progress.attempts import Attempt, Result, attempted
from nasrunner.children.tasks.tasks import Task
from nasrunner.core import Outcome, Proposal
from nasrunner.core.machine.child_folder import OUTCOME, TESTED
from nasrunner.retrain.training.recipe import (
    RetrainRecipe,
    network_folder,
    repetition_of,
    repetition_seed,
)

# N = number of examples, F = features, K = number of classes

NAME = "mlp_classifier"
"""How its folders begin."""
MAX_ITER = 2000
"""Epochs it may take. Its default, 200, ends trainings that have not converged; one that converges
before is the same with either."""


def train_mlp_classifier(given: RetrainRecipe, proposal: Proposal) -> Outcome:
    """Fits an MLPClassifier with its defaults but ``max_iter``, and tests it once.

    It is given the study's split and normalization, images as vectors and without augmentation,
    and ``repetition_seed`` as ``random_state``.
    """
    folder = network_folder(given.child.folder, NAME, repetition_of(proposal))
    files = ChildFiles(folder)
    for name in (OUTCOME, TESTED):  # the outcome first: it says that all is done
        (folder / name).unlink(missing_ok=True)
    return attempted(proposal, files, functools.partial(_train, given, proposal, files))


def _train(given: RetrainRecipe, proposal: Proposal, files: ChildFiles, attempt: Attempt) -> Result:
    child = given.child
    seed = repetition_seed(child.seed, repetition_of(proposal))
    settings = {"max_iter": MAX_ITER, "random_state": seed}
    files.start(proposal, {"data": child.config["data"], "on": given.on, NAME: settings})
    with files, files.log():
        task: Task = child.construct(
            child.config["task"], "task", num_outputs=child.config["data"]["num_outputs"]
        )
        data = load_data(
            child.config["data"],
            None,
            child.seed,
            child.construct,
            joins_validation=given.on == "train_and_validation",
        )
        task.learn_from(data)
        x_NF, y_N = _vectors(_training_batches(data))
        with threadpool_limits(torch.get_num_threads(), "blas"):  # as many as networks have
            classifier = MLPClassifier(**settings).fit(x_NF, y_N)
        data.setup("test")
        metrics, num_tested = _measured(classifier, task, *_vectors(data.test_dataloader()))
    num_epochs = int(classifier.n_iter_)
    record = {
        "time": time.time(),
        "epoch": num_epochs - 1,
        "is_converged": num_epochs < MAX_ITER,
        "examples": num_tested,
        "metrics": metrics,
    }
    files.write_whole(TESTED, record)
    parameters = sum(each.size for each in (*classifier.coefs_, *classifier.intercepts_))
    own = {
        "epochs": float(num_epochs),
        "parameters": float(parameters),
        "train_loss": float(classifier.loss_),
    }
    return Result(None, {**own, **metrics})


def _training_batches(data: Any) -> Any:
    """All training examples as they are, where the data module can say so; else one epoch's."""
    if hasattr(data, "training_tensors"):
        return [data.training_tensors()]
    return data.train_dataloader()


def _vectors(batches: Any) -> tuple[np.ndarray, np.ndarray]:
    """The inputs (N, F) and the classes (N,) of all batches."""
    parts = [(x.flatten(1).cpu().numpy(), y.cpu().numpy()) for x, y in batches]
    inputs, classes = zip(*parts, strict=True)
    return np.concatenate(inputs), np.concatenate(classes)


def _measured(
    classifier: MLPClassifier, task: Task, x_NF: np.ndarray, y_N: np.ndarray
) -> tuple[dict[str, float], int]:
    """The task's loss and metrics of the test part, as they are measured of a network.

    The logarithm of a probability is a logit of the same softmax; those of 0 are cut off where
    float64 ends, as in ``sklearn.metrics.log_loss``.
    """
    smallest = np.finfo(np.float64).eps
    logits_NK = np.full((len(x_NF), task.num_outputs), np.log(smallest))
    logits_NK[:, classifier.classes_] = np.log(np.maximum(classifier.predict_proba(x_NF), smallest))
    predicted_NK, target_N = torch.from_numpy(logits_NK).float(), torch.from_numpy(y_N)
    values = {"test_loss": float(task.loss(predicted_NK, target_N))}
    task.add_to(task.metrics.values(), *task.measured(predicted_NK, target_N))
    for name, metric in task.metrics.items():
        values[f"test_{name}"] = float(task.value_of(metric))
    return values, len(y_N)
