"""What people write without nasrunner: Optuna, Lightning, a DataLoader and MLflow in one script.

Trains the children of a file, so that both sides of a comparison do the same work: a JSON list of
children, each a list of layers [units, activation] or ["dropout"]. Optuna's TPE is asked and told
as usual, with these parameters enqueued.

    python benchmarks/script_baseline.py children.json --epochs 10 --database /tmp/script.db
"""

import argparse
import json
import logging
import warnings
from pathlib import Path
from typing import Any

import optuna
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import MLFlowLogger
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

WIDTHS = [8, 16, 32, 64, 128, 256, 512]
ACTIVATIONS = {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "relu": nn.ReLU, "elu": nn.ELU}


class Classifier(pl.LightningModule):
    """A classifier as Lightning's tutorials write it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def training_step(self, batch: list[torch.Tensor], index: int) -> torch.Tensor:
        x, y = batch
        loss = nn.functional.cross_entropy(self.network(x), y)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: list[torch.Tensor], index: int) -> None:
        x, y = batch
        logits = self.network(x)
        self.log("val_loss", nn.functional.cross_entropy(logits, y))
        self.log("val_accuracy", (logits.argmax(1) == y).float().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def parameters_of(child: list[list[Any]]) -> dict[str, object]:
    """The child as Optuna parameters of the space below."""
    found: dict[str, object] = {"layers": len(child)}
    for position, layer in enumerate(child):
        if position:
            found[f"kind{position}"] = "dropout" if layer[0] == "dropout" else "dense"
        if layer[0] != "dropout":
            found[f"units{position}"], found[f"activation{position}"] = layer
    return found


def suggest_network(trial: optuna.Trial) -> nn.Module:
    """The survey's MLP space, define-by-run."""
    layers: list[nn.Module] = []
    width = 64
    for position in range(trial.suggest_int("layers", 1, 9)):
        if (
            position
            and trial.suggest_categorical(f"kind{position}", ["dense", "dropout"]) == "dropout"
        ):
            layers.append(nn.Dropout(0.2))
            continue
        units = trial.suggest_categorical(f"units{position}", WIDTHS)
        activation = trial.suggest_categorical(f"activation{position}", list(ACTIVATIONS))
        layers += [nn.Linear(width, units), ACTIVATIONS[activation]()]
        width = units
    return nn.Sequential(*layers, nn.Linear(width, 10))


def main() -> None:
    """Searches as a script would."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("children", type=Path)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--database", type=Path, required=True)
    arguments = parser.parse_args()
    children = json.loads(arguments.children.read_text())
    warnings.filterwarnings("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    torch.set_num_threads(1)

    digits = load_digits()
    x, y = torch.tensor(digits.data / 16, dtype=torch.float32), torch.tensor(digits.target)
    searched, _ = train_test_split(range(len(x)), test_size=360, random_state=0, stratify=y)
    train, val = train_test_split(searched, test_size=287, random_state=0, stratify=y[searched])
    train_loader = DataLoader(TensorDataset(x[train], y[train]), batch_size=32, shuffle=True)
    val_loader = DataLoader(TensorDataset(x[val], y[val]), batch_size=512)

    def objective(trial: optuna.Trial) -> float:
        pl.seed_everything(trial.number)
        logger = MLFlowLogger("script", tracking_uri=f"sqlite:///{arguments.database}")
        logger.log_hyperparams(trial.params)
        model = Classifier(suggest_network(trial))
        trainer = pl.Trainer(
            max_epochs=arguments.epochs,
            accelerator="cpu",
            devices=1,
            logger=logger,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(model, train_loader, val_loader)
        return trainer.callback_metrics["val_accuracy"].item()

    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=0))
    for child in children:
        study.enqueue_trial(parameters_of(child))
    study.optimize(objective, n_trials=len(children))
    print(f"best validation accuracy {study.best_value:.4f}")


if __name__ == "__main__":
    main()
