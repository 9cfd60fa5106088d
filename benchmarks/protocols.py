"""Each shipped experiment beside the paper whose name it carries, and beside the authors' code.

    python benchmarks/protocols.py
    python benchmarks/protocols.py deeparchitect_cifar10 nasrl_cifar10

``ours`` is read from the composed experiment. A row without a reason is the same as the paper's, or
as the code's where the paper is silent; one that differs says why.
tests/packaging/test_protocols.py holds
both. [mem] marks what is remembered of a paper whose text was not at hand.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from nasrunner.compose import config as skeleton

CONF = Path(__file__).parents[1] / "conf"

Config = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """One setting of an experiment.

    Attributes:
        setting: what it is, in words.
        ours: where it stands in the composed configuration, or how it is read from there.
        paper: the paper's value; None: it does not say.
        code: that of the authors' code; None: it has none, or was not at hand.
        differs: why ours is another, or whose it is where neither says; "": it is the same.
    """

    setting: str
    ours: str | Callable[[Config], Any]
    paper: Any = None
    code: Any = None
    differs: str = ""

    def value(self, config: Config) -> Any:
        """Ours."""
        if not isinstance(self.ours, str):
            return self.ours(config)
        return plain(OmegaConf.select(OmegaConf.create(config), self.ours, throw_on_missing=True))

    def is_same(self, config: Config) -> bool:
        """Whether ours is the paper's, or the code's where the paper does not say."""
        theirs = self.code if self.paper is None else self.paper
        return theirs is not None and self.value(config) == theirs


@dataclass(frozen=True)
class Protocol:
    """An experiment and its rows.

    Attributes:
        source: the paper, and the code that was read.
        rows: the settings, one each.
    """

    source: str
    rows: tuple[Row, ...]


def hyperparameter(name: str) -> Callable[[Config], Any]:
    """Reads a decision of the space's ``hyperparameters``, whose names have dots."""
    return lambda config: config["space"]["hyperparameters"][name]


def momentum(config: Config) -> float:
    """Reads the momentum of the optimizer that is searched beside Adam."""
    return float(config["space"]["hyperparameters"]["optimizer"]["oneof"][1]["momentum"])


def rate_patience(config: Config) -> list[int]:
    """Reads in which epochs without progress the rate may fall; torch counts those before."""
    low, high, step = config["space"]["hyperparameters"]["scheduler.patience"]["range"]
    return [patience + 1 for patience in range(low, high + 1, step)]


def kept(config: Config) -> list[float]:
    """Reads the probabilities with which dropout of either repeat keeps a unit."""
    bodies = [config["space"]["concat"][place]["repeat_tied"]["body"] for place in (1, 3)]
    dropped = [body["concat"][2]["optional"]["dropout"]["p"]["oneof"] for body in bodies]
    assert dropped[0] == dropped[1]
    return [round(1 - p, 9) for p in dropped[0]]


def most_layers(config: Config) -> int:
    """Reads how many hidden layers a network of the MLP space has at most."""
    return int(config["space"]["concat"][0]["string"]["max_length"])


def stack(config: Config) -> Config:
    """Reads the stack of cells."""
    found: Config = config["space"]["concat"][0]["cell_stack"]
    return found


def operations(config: Config) -> int:
    """Reads how many operations an edge of a cell has."""
    return len(stack(config)["normal"]["block_cell"]["operation"]["or"])


def cells(config: Config) -> int:
    """Reads how many cells three stages and the reductions between them are."""
    return 3 * int(stack(config)["times"]) + 2


def most_blocks(config: Config) -> int:
    """Reads how many blocks a cell has at most."""
    return int(max(stack(config)["normal"]["block_cell"]["blocks"]["oneof"]))


def built_in(value: Any) -> Callable[[Config], Any]:
    """What no setting says: the program has it so."""
    return lambda config: value


def model(config: Config) -> Config:
    """Reads the settings of the space's language model."""
    found: Config = config["space"]["language_model"]
    return found


A_LAYER = "space.concat[0].skip_layers.layer.concat[0].conv2d"
A_STACK = "space.concat[0].cell_stack"
A_TOKEN = "space.concat[0].string.token.or[0]"
SMALL = "children of seconds on a CPU"
NOT_SAID = "ours: the paper does not say"

ENAS_CELL = "space.language_model.body.recurrent.cell.enas_cell"
DARTS_RNN = "space.language_model.body.recurrent.cell.darts_rnn"

ENAS_WORDS = (
    "Pham et al. 2018, arXiv:1802.03268, as remembered; its code: melodyguan/enas at 00787a5, "
    "scripts/ptb_final.sh"
)
DARTS = (
    "Liu et al. 2019, arXiv:1806.09055, as remembered; its code: quark0/darts at 8876e79, "
    "rnn/train_search.py for the search, rnn/train.py for what is derived"
)
DEEPARCHITECT = (
    "Negrinho & Gordon 2017, arXiv:1704.08792, section 7 and appendix A; code: "
    "github.com/negrinho/deep_architect_legacy, experiments.py, search_spaces.py and darch/"
)
ENAS = "Pham et al. 2018, arXiv:1802.03268, sections 2 and 3.2; code: github.com/melodyguan/enas"
NASRL = "Zoph & Le 2017, arXiv:1611.01578, sections 3 and 4; no code was published"
MLPNAS = (
    "the survey 'Neural Architecture Search: An Overview', sections 4, 5 and 7.1; its code, "
    "github.com/ResonantFilter/AMLProject-NAS, was not at hand: code is that of "
    "github.com/codeaway23/MLPNAS, which has the same space and the same parts"
)

ITS_EVALUATOR = (
    Row("optimizers", lambda c: len(hyperparameter("optimizer")(c)["oneof"]), 2, 2),
    Row("momentum of SGD", momentum, None, 0.99),
    Row("first learning rates", hyperparameter("optimizer.lr"),
        {"logspace": [1e-2, 1e-7, 32]}, {"logspace": [1e-2, 1e-7, 32]}),
    Row("rate multipliers", hyperparameter("scheduler.factor"),
        {"logspace": [1e-2, 0.9, 8]}, {"logspace": [1e-2, 0.9, 8]}),
    Row("rate falls when this stops to improve", "scheduler.monitor", None, "val_accuracy"),
    Row("what is an improvement", "scheduler.threshold", None, 0.0),
    Row("lowest rate", "scheduler.min_lr", 1e-9, 1e-9),
    Row("epsilon of batch normalization", "trainer.batch_norm_epsilon", None, 1e-3),
    Row("convolutions begin", "space.concat[0].conv2d.init", "he", "he, over √filters"),
    Row("affine layers begin", lambda c: c["space"]["concat"][-1]["affine"]["init"], "xavier",
        "xavier"),
    Row("a diverged network counts as", "task.reward.diverged", None, "chance"),
    Row("evaluations", "max_children", 64, 64),
    Row("dropout keeps", kept, [0.5, 0.9], [0.5, 0.9]),
    Row("score", "task.reward.reduce", None, "last, or of saved weights",
        "best epoch: what the code's description says it keeps"),
)  # fmt: skip

CONTROLLER = (
    Row("layers of the controller", "searcher.num_layers", 2),
    Row("units of each", "searcher.hidden_units", 35),
    Row("its weights begin in ±", "searcher.init_range", 0.08),
)

PROTOCOLS: dict[str, Protocol] = {
    "deeparchitect_cifar10": Protocol(DEEPARCHITECT, (
        *ITS_EVALUATOR,
        Row("rate falls in this epoch without progress", rate_patience,
            list(range(4, 33, 4)), list(range(4, 33, 4))),
        Row("stops after so many", "trainer.stop_patience", 64, 64),
        Row("minutes a child", "trainer.max_time.minutes", 30, 30),
        Row("batch", "data.batch_size", None, 64),
        Row("padding before the crop", "data.pad", 4, 4),
        Row("validation images", "data.validation_examples", None, 10000),
        Row("which", built_in("random"), None, "the fifth file",
            "our data set has one split, drawn by data.split_seed"),
        Row("pixels are normalized", built_in("by channel"), None, "by pixel",
            "as all of our image data"),
        Row("batch normalization scales", built_in(True), None, False,
            "ours has weight and bias, as in Ioffe & Szegedy 2015"),
        Row("n-gram length", "searcher.surrogate.max_length", None, 4),
        Row("occurrences", "searcher.surrogate.min_occurrences", None, 3),
        Row("penalty", "searcher.surrogate.penalty", None, 1000.0),
        Row("exploration", "searcher.acquisition.exploration", None, 0.25),
        Row("rollouts", "searcher.candidates.num_rollouts", None, 50),
    )),
    "deeparchitect_digits": Protocol(DEEPARCHITECT, (
        *ITS_EVALUATOR,
        Row("rate falls in this epoch without progress", rate_patience,
            list(range(4, 33, 4)), list(range(4, 33, 4)), SMALL),
        Row("epochs", "trainer.max_epochs", "30 minutes", "30 minutes", SMALL),
        Row("stops after so many without progress", "trainer.stop_patience", 64, 64, SMALL),
        Row("batch", "data.batch_size", None, 64, SMALL),
    )),
    "mlpnas": Protocol(MLPNAS, (
        Row("controller's LSTM layers", "searcher.num_layers", 1, 1),
        Row("its units", "searcher.hidden_units", 128, 100),
        Row("its learning rate", "searcher.learning_rate", 0.01, 0.01),
        Row("decay of that", "searcher.learning_rate_decay", 0.1, 0.1),
        Row("gradient clipping of the controller", built_in(None), None, 1.0, "ours has none"),
        Row("baseline", "searcher.fixed_baseline", 0.5, 0.5,
            "a moving average, Zoph & Le's; searcher.fixed_baseline=0.5 is the survey's example"),
        Row("discount of rewards", "searcher.discount", "γ", "over the 10 children of an epoch",
            "1: γ^T only teaches less of long networks; searcher.discount"),
        Row("rewards are standardized", built_in(False), None, True,
            "the survey does not say so; ours have a baseline"),
        Row("the controller learns from", "searcher.learns_from", "all",
            "the last 10", "the gradient is of what the controller itself draws; learns_from=all"),
        Row("times it does", "searcher.objective.num_steps", None, 10),
        Row("children an epoch of the controller", "searcher.children_per_replica", 10, 10),
        Row("children", "max_children", 100, 10000),
        Row("hidden layers at most", most_layers, 9, 2),
        Row("the string ends with", built_in("a final token"), "a final token", "a final token"),
        Row("their units", f"{A_TOKEN}.concat[0].affine.units.oneof",
            [8, 16, 32, 64, 128, 256, 512], [8, 16, 32, 64, 128, 256, 512]),
        Row("their activations", f"{A_TOKEN}.concat[1].or", ["sigmoid", "tanh", "relu", "elu"],
            ["sigmoid", "tanh", "relu", "elu"]),
        Row("dropout", "space.concat[0].string.token.or[1].dropout.p", 0.2, 0.2),
        Row("repeated architectures", "duplicates", "resample", "resample"),
        Row("epochs of a child", "trainer.max_epochs", 10, 5),
        Row("early stopping", "trainer.stop_patience", 3, None),
        Row("learning rate of a child", "optimizer.lr", 0.001, 0.01),
        Row("batch", "data.batch_size", None, 32),
        Row("reward", "task.reward.reduce", None, "mean weighted by the epoch",
            "best epoch, as in all our experiments but Zoph & Le's"),
        Row("two classes end in", built_in("1 sigmoid"), "1 sigmoid", "1 sigmoid"),
        Row("bigrams share weights", built_in(False), True, True,
            "off, as in its table 1; searcher=inheriting searcher@searcher.searcher=reinforce"),
        Row("accuracy predictor", lambda c: c["searcher"]["predictor_weight"] > 0, True, True,
            "off, as in its table 1; searcher.predictor_weight=1 turns it on"),
        Row("data", lambda c: c["data"]["_target_"].rpartition(".")[2], "Mnist, wine, speakers",
            "wine", "Digits needs no download: data=mnist, wine_quality, or six other speakers"),
    )),
    "nasrl_cifar10": Protocol(NASRL, (
        *CONTROLLER,
        Row("controller's learning rate", "searcher.learning_rate", 6e-4),
        Row("replicas K", "searcher.replicas", 100),
        Row("children of each m", "searcher.children_per_replica", 8),
        Row("decay of the moving-average baseline", "searcher.baseline_decay", None, None,
            NOT_SAID),
        Row("epochs of a child", "trainer.max_epochs", 50),
        Row("learning rate of a child", "optimizer.lr", 0.1),
        Row("momentum", "optimizer.momentum", 0.9),
        Row("Nesterov", "optimizer.nesterov", True),
        Row("weight decay", "optimizer.weight_decay", 1e-4),
        Row("batch", "data.batch_size", "as in Huang et al. 2016 [mem], 64", None,
            "128: the sentence could not be checked"),
        Row("validation images", "data.validation_examples", 5000),
        Row("reward: epochs looked at", "task.reward.last_epochs", 5),
        Row("reward: of them", "task.reward.reduce", "max_last"),
        Row("reward: power", "task.reward.power", 3),
        Row("first depth, step, children for a step",
            lambda c: [c["space"]["concat"][0]["skip_layers"]["times"]["schedule"][key]
                       for key in ("start", "step", "every")], [6, 2, 1600]),
        Row("children", "max_children", 12800),
        Row("filters", f"{A_LAYER}.filters.oneof", [24, 36, 48, 64]),
        Row("their heights and widths", f"{A_LAYER}.kernel_size",
            [{"oneof": [1, 3, 5, 7]}, {"oneof": [1, 3, 5, 7]}]),
        Row("pixels are normalized", built_in("by channel"), "whitened [mem]", None,
            "as all of our image data"),
        Row("augmentation: padding before the crop", "data.pad",
            "crop of an upsampled image [mem]", None, "4, as in the networks compared with"),
    )),
    "nasrl_mnist_small": Protocol(NASRL, (
        *CONTROLLER,
        Row("controller's learning rate", "searcher.learning_rate", 6e-4, None,
            "made for 200 children instead of thousands"),
        Row("children of a batch m", "searcher.children_per_replica", 8, None, SMALL),
        Row("epochs of a child", "trainer.max_epochs", 50, None, SMALL),
        Row("learning rate of a child", "optimizer.lr", 0.1),
        Row("Nesterov", "optimizer.nesterov", True),
        Row("weight decay", "optimizer.weight_decay", 1e-4),
        Row("reward: of the last epochs", "task.reward.reduce", "max_last"),
        Row("reward: power", "task.reward.power", 3),
        Row("layers", "space.concat[1].skip_layers.times", 15, None, SMALL),
        Row("children", "max_children", 12800, None, SMALL),
    )),
    "nasrl_ptb": Protocol(NASRL, (
        *CONTROLLER,
        Row("controller's learning rate", "searcher.learning_rate", 5e-4),
        Row("replicas K", "searcher.replicas", 400),
        Row("children of each m", "searcher.children_per_replica", 1),
        Row("gradients of an update", "searcher.batches_per_update", "10 [mem]", None,
            "10, as remembered"),
        Row("base", "space.language_model.body.recurrent.cell.recurrent_cell.base", 8),
        Row("combinations",
            "space.language_model.body.recurrent.cell.recurrent_cell.combinations",
            ["add", "elem_mult"]),
        Row("activations",
            "space.language_model.body.recurrent.cell.recurrent_cell.activations",
            ["identity", "tanh", "sigmoid", "relu"]),
        Row("layers", "space.language_model.body.recurrent.layers", 2),
        Row("parameters", "space.language_model.parameters", 20_000_000),
        Row("epochs", "trainer.max_epochs", 35),
        Row("reward: c", "task.reward.scale", 80),
        Row("reward: power of the perplexity", "task.reward.power", -2),
        Row("dropout between layers", "space.language_model.dropout", None, None,
            "0.5 is the medium LSTM's of Zaremba et al. 2014; the paper does not say"),
        Row("learning rate of a child", "optimizer.lr", None, None, "Zaremba et al. 2014's"),
        Row("clipping", "trainer.gradient_clip_val", None, None, "Zaremba et al. 2014's"),
        Row("children", "max_children", "15,000 [mem]", None, "as many as for CIFAR-10"),
    )),
    "nasrl_ptb_small": Protocol(NASRL, (
        *CONTROLLER,
        Row("controller's learning rate", "searcher.learning_rate", 5e-4, None,
            "made for 64 children instead of thousands"),
        Row("base", "space.language_model.body.recurrent.cell.recurrent_cell.base", 8, None, SMALL),
        Row("parameters", "space.language_model.parameters", 20_000_000, None, SMALL),
        Row("words", "data.train_tokens", 929_589, None, SMALL),
        Row("epochs", "trainer.max_epochs", 35, None, SMALL),
        Row("reward: c", "task.reward.scale", 80),
        Row("reward: power of the perplexity", "task.reward.power", -2),
        Row("children", "max_children", "15,000 [mem]", None, SMALL),
    )),
    "nasrl_transfer": Protocol(NASRL, (
        Row("text", "data.unit", "character"),
        Row("parameters", "space.language_model.parameters", 16_000_000, None, SMALL),
        Row("characters", "data.train_tokens", "all", None, SMALL),
        Row("epochs", "trainer.max_epochs", None, None, SMALL),
    )),
    "enas_ptb": Protocol(ENAS_WORDS, (
        Row("nodes N", f"{ENAS_CELL}.nodes", 12),
        Row("activations", f"{ENAS_CELL}.activations", ["tanh", "relu", "identity", "sigmoid"]),
        Row("parameters", "space.language_model.parameters", 24_000_000),
        Row("embeddings shared with the output", "space.language_model.tied", True),
        Row("epochs", "trainer.max_epochs", 150),
        Row("learning rate", "optimizer.lr", 20.0),
        Row("its decay", "scheduler.gamma", 0.96),
        Row("from epoch", lambda config: config["scheduler"]["milestones"][0], 15),
        Row("clipping", "trainer.gradient_clip_val", 0.25),
        Row("weight decay", "optimizer.weight_decay", 1e-7),
        Row("batch", "data.batch_size", None, 64),
        Row("steps of a batch", "data.in_shape", None, [35]),
        Row("words kept", lambda config: round(1 - model(config)["embedding_dropout"], 9),
            None, 0.79),
        Row("kept of what enters the cell",
            lambda config: 1 - model(config)["input_dropout"], None, 0.25),
        Row("kept of states",
            lambda config: 1 - model(config)["body"]["recurrent"]["state_dropout"], None, 0.75),
        Row("kept of what leaves the cell",
            lambda config: round(1 - model(config)["dropout"], 9), None, 0.24),
        Row("slowness", "space.language_model.slowness", None, 1e-3),
        Row("first weights", built_in("U(±1/√H)"), None, "U(±0.04)", "torch's: 0.036 of 787 units"),
        Row("reward: c", "task.reward.scale", 80),
        Row("reward: power of the perplexity", "task.reward.power", -1),
        Row("controller's units", "searcher.hidden_units", 100),
        Row("its first weights: U(±x)", "searcher.init_range", 0.1),
        Row("its Adam's rate", "searcher.learning_rate", 3.5e-4, 1e-3),
        Row("its steps an epoch", "searcher.controller_steps", 2000, 100),
        Row("networks of such a step", "searcher.controller_batch", 1, 10),
        Row("its temperature", "searcher.temperature", 5.0, 5.0),
        Row("its tanh constant", "searcher.tanh_constant", 2.5, 2.5),
        Row("its entropy bonus", "searcher.entropy_bonus", 1e-4, 1e-3),
        Row("networks drawn in the end", "searcher.num_estimates", "several", None, "ours: 10"),
    )),
    "enas_ptb_small": Protocol(ENAS_WORDS, (
        Row("nodes N", f"{ENAS_CELL}.nodes", 12),
        Row("parameters", "space.language_model.parameters", 24_000_000, None, SMALL),
        Row("words", "data.train_tokens", 929_589, None, SMALL),
        Row("epochs", "trainer.max_epochs", 150, None, SMALL),
        Row("learning rate", "optimizer.lr", 20.0, None, "Adam's, for two epochs"),
        Row("reward: power of the perplexity", "task.reward.power", -1),
    )),
    "darts_ptb": Protocol(DARTS, (
        Row("nodes beside the first", f"{DARTS_RNN}.nodes", 8),
        Row("activations", f"{DARTS_RNN}.activations", ["tanh", "relu", "sigmoid", "identity"]),
        Row("units in the search", "space.language_model.units", 300, 300),
        Row("units of what is derived", "space.language_model.units", 850, 850,
            "300 to compare cells; 850 in the command that trains what was found"),
        Row("embeddings shared with the output", "space.language_model.tied", None, True),
        Row("epochs of the search",
            lambda config: config["searcher"]["supernet"]["trainer.max_epochs"], 50, 50),
        Row("its batch",
            lambda config: config["searcher"]["supernet"]["data.batch_size"], 256, 256),
        Row("its weight decay",
            lambda config: config["searcher"]["supernet"]["optimizer.weight_decay"], 5e-7, 5e-7),
        Row("learning rate of options' weights", "searcher.learning_rate", 3e-3, 3e-3),
        Row("their betas", "searcher.betas", [0.9, 0.999], None),
        Row("their weight decay", "searcher.weight_decay", 1e-3, 1e-3),
        Row("their gradient", "searcher.order", "second", "first", "first: --unrolled is off"),
        Row("whose matrices are shared in the search", built_in("those of a pair of nodes"),
            None, "those of all that a node may take", "a pair's own: what a space shares"),
        Row("epochs of what is derived", "trainer.max_epochs", "300 [mem]", None,
            "300, as remembered"),
        Row("learning rate", "optimizer.lr", None, 20.0),
        Row("clipping", "trainer.gradient_clip_val", None, 0.25),
        Row("weight decay", "optimizer.weight_decay", None, 8e-7),
        Row("batch", "data.batch_size", None, 64),
        Row("steps of a batch", "data.in_shape", None, "drawn around 35", "[35]: always as many"),
        Row("optimizer", lambda config: config["optimizer"]["_target_"].rpartition(".")[2],
            None, "SGD, then averaged SGD", "SGD to the end"),
        Row("kept of what enters the cell",
            lambda config: round(1 - model(config)["input_dropout"], 9), None, 0.2),
        Row("dropped states", lambda config: model(config)["body"]["recurrent"]["state_dropout"],
            None, 0.25),
        Row("dropped of what leaves the cell", "space.language_model.dropout", None, 0.75),
        Row("slowness", "space.language_model.slowness", None, 1e-3),
        Row("first weights", built_in("U(±1/√H)"), None, "U(±0.04)", "torch's: 0.034 of 850 units"),
    )),
    "darts_cifar10": Protocol(
        "Liu et al. 2019, arXiv:1806.09055, section 3.1; code: github.com/quark0/darts, "
        "train_search.py in cnn", (
        Row("nodes of a cell", f"{A_STACK}.normal.block_cell.blocks", 4, 4),
        Row("operations", operations, 8, 8),
        Row("filters", f"{A_STACK}.filters", 16, 16),
        Row("cells", cells, 8, 8),
        Row("share for validation", "data.validation_examples", 0.5, 0.5),
        Row("batch", "data.batch_size", 64, 64),
        Row("learning rate", "optimizer.lr", 0.025, 0.025),
        Row("lowest rate", "scheduler.eta_min", None, 0.001),
        Row("momentum", "optimizer.momentum", 0.9, 0.9),
        Row("weight decay", "optimizer.weight_decay", 3e-4, 3e-4),
        Row("clipping", "trainer.gradient_clip_val", None, 5.0),
        Row("epochs of the search",
            lambda config: config["searcher"]["supernet"]["trainer.max_epochs"], 50, 50),
        Row("learning rate of options' weights", "searcher.learning_rate", 3e-4, 3e-4),
        Row("their betas", "searcher.betas", [0.5, 0.999], [0.5, 0.999]),
        Row("their weight decay", "searcher.weight_decay", 1e-3, 1e-3),
        Row("their gradient", "searcher.order", "second", "second"),
        Row("scale of normalizations in the search", "searcher.affine", False, False),
        Row("epochs of what is derived", "trainer.max_epochs", 100, None),
    )),
    "enas_cifar10_micro": Protocol(f"{ENAS}, scripts/cifar10_micro_search.sh", (
        Row("nodes of a cell", f"{A_STACK}.normal.block_cell.blocks", 5, 5),
        Row("operations", operations, 5, 5),
        Row("filters", f"{A_STACK}.filters", None, 20),
        Row("cells", cells, None, 8),
        Row("paths dropped", f"{A_STACK}.path_dropout", None, 0.4),
        Row("weight of the auxiliary loss", f"{A_STACK}.auxiliary_weight", None, 0.4,
            "for the command that trains what was found"),
        Row("validation images", "data.validation_examples", 5000, 5000),
        Row("batch", "data.batch_size", None, 160),
        Row("learning rate", "optimizer.lr", 0.05, 0.05),
        Row("lowest rate", "scheduler.eta_min", None, 0.0005),
        Row("epochs to the first restart", "scheduler.T_0", 10, 10),
        Row("later cosines longer by", "scheduler.T_mult", 2, 2),
        Row("Nesterov", "optimizer.nesterov", True, True),
        Row("weight decay", "optimizer.weight_decay", 1e-4, 1e-4),
        Row("epochs", "trainer.max_epochs", None, 150),
        Row("controller's units", "searcher.hidden_units", 64, 64),
        Row("its Adam's rate", "searcher.learning_rate", 0.0035, 0.0035),
        Row("its steps an epoch", "searcher.controller_steps", None, 30),
        Row("networks of such a step", "searcher.controller_batch", None, 10),
        Row("its temperature: none is 1", "searcher.temperature", None, 1.0),
        Row("its tanh constant", "searcher.tanh_constant", 1.1, 1.1),
        Row("its entropy bonus", "searcher.entropy_bonus", 1e-4, 1e-4),
        Row("weight of its baseline's past", "searcher.baseline_decay", None, 0.99),
        Row("networks drawn in the end", "searcher.num_estimates", "several", 10, "the code's"),
    )),
    "enas_cifar10_macro": Protocol(f"{ENAS}, scripts/cifar10_macro_search.sh", (
        Row("layers", "space.concat[2].skip_layers.times", 12, 12),
        Row("filters", "space.concat[0].conv2d.filters", None, 36),
        Row("reductions after", "space.concat[2].skip_layers.pool_after", None, [4, 8]),
        Row("validation images", "data.validation_examples", 5000, 5000),
        Row("batch", "data.batch_size", None, 128),
        Row("learning rate", "optimizer.lr", 0.05, 0.05),
        Row("lowest rate", "scheduler.eta_min", None, 0.0005),
        Row("epochs to the first restart", "scheduler.T_0", 10, 10),
        Row("later cosines longer by", "scheduler.T_mult", 2, 2),
        Row("Nesterov", "optimizer.nesterov", True, True),
        Row("weight decay", "optimizer.weight_decay", 1e-4, 2.5e-4,
            "the script's, which made the numbers"),
        Row("epochs", "trainer.max_epochs", 310, 310),
        Row("controller's units", "searcher.hidden_units", 64, 64),
        Row("its Adam's rate", "searcher.learning_rate", 0.00035, 0.001,
            "the script's, which made the numbers"),
        Row("its steps an epoch", "searcher.controller_steps", None, 50),
        Row("networks of such a step", "searcher.controller_batch", None, 20),
        Row("its temperature: none is 1", "searcher.temperature", None, 1.0),
        Row("its tanh constant", "searcher.tanh_constant", None, 1.5),
        Row("its entropy bonus", "searcher.entropy_bonus", None, 1e-4),
        Row("weight of its baseline's past", "searcher.baseline_decay", None, 0.99),
        Row("weight of the skips' divergence", "searcher.skip_weight", 0.8, 0.8),
        Row("share of skips", "searcher.skip_share", 0.4, 0.4),
        Row("networks drawn in the end", "searcher.num_estimates", "several", 10, "the code's"),
    )),
    "pnas_cifar10": Protocol(
        "Liu et al. 2018, arXiv:1712.00559, sections 3 and 5; of the search there is no code", (
        Row("most blocks of a cell", most_blocks, 5),
        Row("operations", operations, 8),
        Row("filters F", f"{A_STACK}.filters", 24),
        Row("cells of a stage N", f"{A_STACK}.times", 2),
        Row("validation images", "data.validation_examples", 5000),
        Row("learning rate", "optimizer.lr", 0.01),
        Row("momentum", "optimizer.momentum", None, None, NOT_SAID),
        Row("batch", "data.batch_size", None, None, NOT_SAID),
        Row("epochs", "trainer.max_epochs", 20),
        Row("cells trained", "max_children", 1160),
        Row("one-block cells, all of them", "searcher.first_level", 136, None,
            "at most so many: isomorphic cells are trained once"),
        Row("cells of each further size K", "searcher.num_trained", 256),
        Row("surrogate's units", "searcher.surrogate.hidden_units", 100),
        Row("its ensemble", "searcher.surrogate.num_members", 5),
        Row("expansions ranked", "searcher.max_expansions", 100_000),
    )),
    "monas": Protocol("Hsu et al. 2018, arXiv:1806.10332; its abstract and reward alone", (
        Row("cost", lambda config: list(config["objectives"])[1], "energy", None,
            "FLOPs: the table has no energy"),
        Row("networks", "trainer.reward", None, None, "those of NAS-Bench-Macro's table"),
        Row("α", lambda config: 100 * config["scalarization"]["weighted_sum"]["reward"], None, None,
            "to be varied"),
        Row("children", "max_children", None, None, "seconds of lookups"),
    )),
    "nasbench201": Protocol("Dong & Yang 2020, arXiv:2001.00326; the table's columns", (
        Row("searchers see", "trainer.reward", "c10_valid_12"),
        Row("evaluations", "max_children", None, None, "as in benchmarks/searcher_curves.py"),
    )),
    "nasbench_macro": Protocol("Su et al. 2021, arXiv:2103.11922; the table's columns", (
        Row("searchers see: test accuracy, for the table has no other", "trainer.reward",
            "mean_acc"),
        Row("evaluations", "max_children", None, None, "as in benchmarks/searcher_curves.py"),
    )),
}  # fmt: skip
"""Every experiment in conf/experiment, with what its paper and the authors' code say."""


def plain(value: Any) -> Any:
    """A value without OmegaConf's containers."""
    return OmegaConf.to_container(value) if OmegaConf.is_config(value) else value


def composed(experiment: str) -> Config:
    """The configuration of an experiment as ``nasrunner experiment=…`` has it."""
    skeleton.register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", [f"experiment={experiment}", "study=protocols"])
    plain: Any = OmegaConf.to_container(config, resolve=True)
    return {str(key): value for key, value in plain.items()}


def show(experiment: str) -> None:
    """Prints the table of one experiment as markdown."""
    protocol, config = PROTOCOLS[experiment], composed(experiment)
    print(f"\n### {experiment}\n{protocol.source}.\n")
    print("| setting | paper | code | ours | |\n|---|---|---|---|---|")
    for row in protocol.rows:
        cells = [row.paper, row.code, row.value(config)]
        shown = ["–" if cell is None else str(cell) for cell in cells]
        print(f"| {row.setting} | {' | '.join(shown)} | {row.differs or 'same'} |")


def main(experiments: Sequence[str] | None = None) -> None:
    """Prints the tables that are asked for, or all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("experiments", nargs="*", metavar="experiment", help="default: all")
    arguments = parser.parse_args(experiments)
    for experiment in arguments.experiments or PROTOCOLS:
        if experiment not in PROTOCOLS:
            parser.error(f"there is no experiment={experiment}; legal: {', '.join(PROTOCOLS)}")
        show(experiment)


if __name__ == "__main__":
    main()
