import json
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, log_loss
from sklearn.neural_network import MLPClassifier

from nasrunner.compose.construct import construct
from nasrunner.core import Proposal
from nasrunner.retrain.training.mlp_classifier import MAX_ITER, _measured
from nasrunner.retrain.training.recipe import repetition_seed
from nasrunner.retrain.training.tasks import MlpClassifierTask
from tests.children.blobs import configured, make_trainer
from tests.retrain.training.test_network import DATA, TestedBlobs


@pytest.mark.parametrize(("on", "num_trained"), [("train", 90), ("train_and_validation", 135)])
def test_it_is_scikit_learns_own_on_the_same_examples(tmp_path, on, num_trained):
    data = {**DATA, "path": str(tmp_path / "log")}
    child = make_trainer(data=data).task(tmp_path, 5)
    outcome = MlpClassifierTask(child, on)(Proposal(-1, {}, notes={"repetition": 1}))
    assert outcome.error is None

    blobs = TestedBlobs(**{name: value for name, value in data.items() if name != "_target_"})
    if on == "train_and_validation":
        blobs.join_validation()
    blobs.setup("test")
    x, y = blobs.train
    assert len(x) == num_trained
    seed = repetition_seed(5, 1)
    expected = MLPClassifier(max_iter=MAX_ITER, random_state=seed)
    accuracy = accuracy_score(blobs.test[1], expected.fit(x, y).predict(blobs.test[0]))
    # Blobs shuffles, so the examples come in another order than here
    assert outcome.metrics["test_accuracy"] == pytest.approx(accuracy, abs=0.05)
    assert outcome.metrics["parameters"] == 4 * 100 + 100 + 100 * 3 + 3
    tested = json.loads((tmp_path / "mlp_classifier-seed1" / "tested.json").read_text())
    assert tested["examples"] == 60
    assert tested["epoch"] + 1 == outcome.metrics["epochs"] > 1
    assert tested["is_converged"] is (tested["epoch"] + 1 < MAX_ITER)


def test_its_loss_is_scikit_learns_log_loss_also_of_classes_it_never_saw():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet([0.05, 0.05], size=20)  # zeros among them
    classifier = SimpleNamespace(classes_=np.array([0, 2]), predict_proba=lambda x: probabilities)
    _, config = configured()
    task = construct(config["task"], "task", num_outputs=3)
    y = rng.integers(0, 3, size=20)
    metrics, num_tested = _measured(classifier, task, np.zeros((20, 4)), y)
    whole = np.insert(probabilities, 1, 0.0, axis=1)
    clipped = np.maximum(whole, np.finfo(np.float64).eps)
    by_hand = -np.log(clipped[np.arange(20), y] / clipped.sum(1)).mean()
    assert num_tested == 20
    assert metrics["test_loss"] == pytest.approx(by_hand, rel=1e-5)
    assert metrics["test_accuracy"] == pytest.approx((whole.argmax(1) == y).mean())
    assert log_loss(y[y != 1], probabilities[y != 1], labels=[0, 2]) < by_hand
