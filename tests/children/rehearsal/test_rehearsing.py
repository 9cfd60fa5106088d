"""What would break every child is one sentence before the first one, and what works is trained."""

import itertools
import json

import pytest
import torch

from nasrunner.core import ConfigError, DataError, NasRunnerError, Proposal, child_folder
from tests.children.blobs import BLOBS, MLP, OWN, broken, clouds, make_trainer, train
from tests.children.fit.test_training import BATCH_NORM, curves
from tests.toys import train_one

UNVALIDATED = {**OWN, "_target_": "tests.children.odd_data.Unvalidated"}


def odd(how, **changes):
    return {**OWN, "_target_": "tests.children.odd_data.OddBlobs", "how": how, **changes}


def callback(name, **arguments):
    return "[" + json.dumps({"_target_": f"pytorch_lightning.callbacks.{name}", **arguments}) + "]"


ON_TRAIN_LOSS = ("task.reward.metric=train_loss", "task.reward.mode=min")
ON_EPOCH_END = callback("EarlyStopping", monitor="val_loss", check_on_train_epoch_end=True)


@pytest.mark.parametrize(
    ("overrides", "arguments", "message"),
    [
        (
            ["trainer.precision=bf16-mixed", "trainer.gradient_clip_val=1.0"],
            {},
            r"trainer.gradient_clip_val clips no gradients .* legal: optimizer.fused=false",
        ),
        (
            ["trainer.limit_train_batches=0"],
            {},
            r"limit_train_batches must be int >= 1 or float in ",
        ),
        (
            ["trainer.limit_train_batches=0.0"],
            {},
            r"limit_train_batches must be int >= 1 or float in ",
        ),
        (["trainer.limit_train_batches=0.01"], {}, r"=0.01 of 6 batches is less than one"),
        (["trainer.limit_val_batches=0"], {}, r"limit_val_batches=0 leaves no validation example"),
        (
            ["trainer.limit_val_batches=0", *ON_TRAIN_LOSS],
            {"scheduler": "plateau"},
            r"limit_val_batches=0 leaves .* scheduler.monitor=val_loss",
        ),
        (["trainer.logger=tensorboard"], {}, r"trainer.logger must be a mapping with _target_"),
        (["trainer.callbacks=[EarlyStopping]"], {}, r"callbacks.0 must be a mapping with _target_"),
        (
            ["trainer.callbacks={stop: 3}"],
            {},
            r"trainer.callbacks.stop must be a mapping with _tar",
        ),
        (
            ["trainer.callbacks={stop: {_target_: pytorch_lightning.callbacks.Timer, duratio: 3}}"],
            {},
            r"trainer.callbacks.stop.duratio: Timer takes no 'duratio', did you mean 'duration'",
        ),
        *[
            (
                [
                    f"trainer.callbacks={callback(name, monitor='val_accuracy')}",
                    "trainer.enable_checkpointing=true",
                ],
                {},
                rf"callbacks: {name} has mode=min, but val_accuracy is better when it is higher",
            )
            for name in ("EarlyStopping", "ModelCheckpoint")
        ],
        (
            [f"trainer.callbacks={callback('LearningRateMonitor')}"],
            {},
            r"trainer: Lightning refuses .* Cannot use `?LearningRateMonitor",
        ),
        (
            [f"trainer.callbacks={callback('EarlyStopping', monitor='val_acc')}"],
            {},
            r"trainer.callbacks: EarlyStopping has monitor=val_acc, which is not logged when it "
            r"looks, did you mean 'val_accuracy'\? Legal: train_loss, val_accuracy, val_loss$",
        ),
        (
            [
                f"trainer.callbacks={callback('ModelCheckpoint', monitor='val_acc')}",
                "trainer.enable_checkpointing=true",
            ],
            {},
            r"ModelCheckpoint has monitor=val_acc, which is not logged when it looks, did you mean",
        ),
        (["trainer.max_epochs=0"], {}, r"trainer.max_epochs must be int >= 1 or -1 or null, got 0"),
        (
            ["trainer.max_epochs=-1"],
            {},
            r"max_epochs=-1 trains every child without end; give .* or stop_patience",
        ),
        (["trainer.max_steps=0"], {}, r"trainer.max_steps must be int >= 1 or -1 or null, got 0"),
        (
            ["trainer.accumulate_grad_batches=0"],
            {},
            r"accumulate_grad_batches must be int >= 1 or null",
        ),
        (
            ["trainer.gradient_clip_val=-1"],
            {},
            r"gradient_clip_val must be float >= 0 or null, got -1",
        ),
        (["trainer.gradient_clip_algorithm=value"], {}, r"clips nothing without trainer.gradient"),
        (["trainer.min_steps=19"], {}, r"min_steps=19 must be at most the 18 steps that trainer"),
        (
            ["trainer.min_epochs=3", "trainer.max_epochs=-1", "trainer.max_steps=12"],
            {},
            r"min_epochs=3 must be at most the 2 epochs that trainer.max_epochs and max_steps",
        ),
        (
            ["trainer.min_epochs=5", "trainer.max_epochs=2"],
            {},
            r"trainer.min_epochs=5 must be at most trainer.max_epochs=2",
        ),
        (
            ["trainer.check_val_every_n_epoch=0"],
            {},
            r"check_val_every_n_epoch must be int >= 1 or null",
        ),
        (
            ["trainer.check_val_every_n_epoch=4"],
            {},
            r"training ends after 18 batches and is validated after 24",
        ),
        (["trainer.max_steps=5"], {}, r"training ends after 5 batches and is validated after 6"),
        (["trainer.val_check_interval=7"], {}, r"val_check_interval=7 must be at most 6"),
        (["trainer.val_check_interval=0"], {}, r"val_check_interval must be int >= 1 or float in"),
        (
            ["data.batch_size=89"],
            {"space": BATCH_NORM},
            r"data.batch_size leaves one example for the last .* legal: another batch size, or",
        ),
        (
            ["data.batch_size=89"],
            {"space": BATCH_NORM, "data": {**OWN, "_target_": "tests.children.blobs.LoaderBlobs"}},
            r"data.batch_size leaves one example for the last training batch",
        ),
        (
            ["trainer.max_epochs=-1", "trainer.max_time.minutes=1"],
            {"scheduler": "cosine"},
            r"scheduler.T_max=auto needs to know how long training is",
        ),
        (
            ["trainer.max_epochs=-1", "trainer.max_time.minutes=1", "scheduler.T_max=-1"],
            {"scheduler": "cosine"},
            r"scheduler.T_max must be a whole number >= 1 or auto, got -1",
        ),
        (
            ["scheduler.interval=batch"],
            {},
            r"scheduler.interval='batch' is no choice, legal: epoch, step",
        ),
        (["scheduler.interval=step"], {"scheduler": "plateau"}, r"a plateau is looked for after"),
        (
            ["scheduler.total_steps=600"],
            {"scheduler": "one_cycle"},
            r"scheduler.total_steps=600, but training steps the scheduler 18 times",
        ),
        (
            ["scheduler.milestones=[18]"],
            {"scheduler": "warmup_cosine"},
            r"milestones=\[18\]: training steps the scheduler 18 times and never comes to the last",
        ),
        (["scheduler.milestones=[0.5,2]"], {"scheduler": "warmup_cosine"}, r"must list 1 places"),
        (["scheduler.milestones=[0]"], {"scheduler": "warmup_cosine"}, r"increasing whole numbers"),
        ([], {"space": broken("raise")}, r"space: the network that was tried breaks in its first"),
    ],
)
def test_what_would_break_every_child_is_one_sentence(overrides, arguments, message):
    with pytest.raises(ConfigError, match=message) as error:
        make_trainer(*overrides, **arguments)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("overrides", "name", "message"),
    [
        (["trainer.limit_val_batches=0.1"], "LoaderBlobs", r"=0.1 of 2 batches is less than one"),
        (["trainer.overfit_batches=0.3"], "LoaderBlobs", r"=0.3 of 2 batches is less than one"),
        (["trainer.val_check_interval=0.5"], "Uncounted", r"interval=0.5 is a share of batches th"),
        (["trainer.limit_train_batches=0.5"], "Uncounted", r"batches=0.5 is a share of batches th"),
        ([], "SeveralValidations", r"val_dataloader\(\) gives 2 loaders, but a child needs one"),
        ([], "NoLoader", r"NoLoader.train_dataloader\(\) gives None, but a child needs one"),
        (
            [
                "trainer.check_val_every_n_epoch=2",
                "trainer.max_epochs=4",
                f"trainer.callbacks={ON_EPOCH_END}",
            ],
            "LoaderBlobs",
            r"EarlyStopping has monitor=val_loss, which is not logged when it looks",
        ),
        (
            [
                "trainer.val_check_interval=0.5",
                f"trainer.callbacks={callback('EarlyStopping', monitor='train_loss')}",
            ],
            "LoaderBlobs",
            r"EarlyStopping has monitor=train_loss, which is not logged when it looks",
        ),
        (
            [
                "trainer.accumulate_grad_batches=2",
                "trainer.callbacks=[{_target_: "
                "pytorch_lightning.callbacks.GradientAccumulationScheduler, scheduling: {0: 1}}]",
            ],
            "LoaderBlobs",
            r"`accumulate_grad_batches`",
        ),
    ],
)
def test_what_does_not_go_with_the_data_is_one_sentence(overrides, name, message):
    module = "blobs" if name == "LoaderBlobs" else "odd_data"
    data = {**OWN, "_target_": f"tests.children.{module}.{name}"}
    with pytest.raises(NasRunnerError, match=message) as error:
        make_trainer(*overrides, data=data)
    assert "\n" not in str(error.value)


def test_a_fast_development_run_is_one(tmp_path):
    assert train(tmp_path, "trainer.fast_dev_run=true").error is None
    assert [line["step"] for line in curves(tmp_path)] == [1]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("dict", r"OddBlobs gives a dict with 'image', 'label', but a child needs \(inputs, targ"),
        ("float64", r"gives inputs float64 \(16, 4\), .* needs inputs float32 \(batch, 4\)"),
        ("bytes", r"gives inputs uint8 \(16, 4\) from 0 to \d, .* needs inputs float32"),
        ("int32", r"targets int32 \(16,\) from 0 to 2, but .* class indices int64 \(batch,\) from"),
        ("column", r"targets int64 \(16, 1\) from 0 to 2, but .* int64 \(batch,\) from 0 to 2"),
        ("from one", r"targets int64 \(16,\) from 1 to 3, but .* from 0 to 2"),
        ("late", r"targets int64 \(10,\) from 0 to 3, but .* from 0 to 2"),
        ("one-hot", r"targets float32 \(16, 3\), but .* class indices int64"),
        ("wide", r"gives inputs float32 \(16, 8\), .* needs inputs float32 \(batch, 4\)"),
        ("alone", r"gives 1 part: float32 \(16, 4\), but a child needs \(inputs, targets\)"),
        ("nan", r"^data: a batch holds NaN, and so does its loss: train_loss is nan in epoch 0$"),
        ("negative weights", r"weights float32 \(16,\), .* finite, >= 0 and not all 0"),
    ],
)
def test_batches_that_cannot_work_are_told_with_what_is_needed(how, message):
    with pytest.raises(DataError, match=message) as error:
        make_trainer(data=odd(how))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("how", ["float64", "int32", "column"])
def test_batches_are_judged_by_what_the_data_module_makes_of_them(tmp_path, how):
    data = {**odd(how), "_target_": "tests.children.odd_data.Converting"}
    assert train(tmp_path, data=data).error is None


LATE = {**OWN, "_target_": "tests.children.odd_data.LateValidation"}


def test_the_targets_of_all_validation_batches_are_looked_at():
    with pytest.raises(DataError, match=r"targets int64 \(5,\) from 0 to 3, but .* from 0 to 2"):
        make_trainer(data=LATE)


def test_validation_batches_that_are_never_reached_may_have_any_targets(tmp_path):
    assert train(tmp_path, "trainer.limit_val_batches=1", data=LATE).error is None


def test_the_batches_of_a_list_of_one_validation_loader_are_counted(tmp_path):
    data = {**OWN, "_target_": "tests.children.odd_data.ListedValidation"}
    assert train(tmp_path, "trainer.limit_val_batches=0.5", data=data).error is None
    assert all("val_accuracy" in line for line in curves(tmp_path))


def test_a_regression_of_classes_is_told():
    with pytest.raises(DataError, match=r"targets int64 .* needs .* numbers float32 \(batch, 1\)"):
        make_trainer(
            data={**odd("column"), "num_outputs": 1},
            task="regression",
            space={"affine": {"units": 1}},
        )


def test_data_without_validation_says_what_asks_for_it():
    message = r"Unvalidated has no val_dataloader\(\), but task.reward.metric=val_accuracy is"
    with pytest.raises(ConfigError, match=message):
        make_trainer(data=UNVALIDATED)


def test_data_without_validation_is_trained_on_where_nothing_asks_for_it(tmp_path):
    outcome = train(tmp_path, *ON_TRAIN_LOSS, data=UNVALIDATED)
    losses = [line["train_loss"] for line in curves(tmp_path)]
    assert outcome.reward == -min(losses)


def test_weights_of_examples_weigh_their_losses(tmp_path):
    outcome = train(tmp_path, "trainer.max_epochs=1", "optimizer.lr=0", data=odd("weights"))
    assert outcome.error is None
    trainer = make_trainer()
    torch.manual_seed(0)
    best = torch.load(child_folder(tmp_path, 0) / "best.ckpt", weights_only=True)
    network, _ = trainer.space.freeze({"0/affine/units": 0}).build((4,))
    network.load_state_dict(best["state_dict"])
    x, y = clouds((4,), 3, is_regression=False)
    expected = {}
    for name, part in (("train_loss", slice(0, 90)), ("val_loss", slice(90, 135))):
        weights = torch.linspace(0, 2, len(x[part]))
        losses = -network(x[part]).detach().log_softmax(1)[torch.arange(len(weights)), y[part]]
        expected[name] = float((losses * weights).sum() / weights.sum())
    (line,) = curves(tmp_path)
    assert {name: line[name] for name in expected} == pytest.approx(expected)


def test_tensors_are_as_good_as_arrays(tmp_path):
    tensors = {n: v for n, v in BLOBS.items() if n not in ("is_regression", "path")}
    data = {**tensors, "_target_": "tests.children.odd_data.Tensors"}
    first = train(tmp_path / "tensors", data=data)
    assert first.error is None
    assert first.metrics == train(tmp_path / "arrays").metrics


def test_double_precision_takes_double_images(tmp_path):
    assert train(tmp_path, "trainer.precision=64-true", data=odd("float64")).error is None


def test_patience_is_in_epochs_however_often_a_child_is_validated(tmp_path):
    never = ("trainer.max_epochs=50", "trainer.stop_patience=4", "trainer.stop_min_delta=2.0")
    for name, override, num_epochs in (
        ("each", "trainer.check_val_every_n_epoch=1", 5),
        ("second", "trainer.check_val_every_n_epoch=2", 6),
        ("thrice", "trainer.val_check_interval=2", 5),
    ):
        outcome = train(tmp_path / name, *never, override)
        assert outcome.metrics["epochs"] == num_epochs, name


def test_each_validation_is_a_point_of_the_curve(tmp_path):
    train(tmp_path, "trainer.val_check_interval=2", "trainer.max_epochs=2")
    lines = curves(tmp_path)
    assert [(line["epoch"], line["step"]) for line in lines] == [
        *[(0, 2), (0, 4), (0, 6)],
        *[(1, 8), (1, 10), (1, 12)],
    ]
    assert all("val_accuracy" in line for line in lines)
    assert ["train_loss" in line for line in lines] == [False, False, True] * 2


def test_a_validation_before_the_last_batches_is_not_told_as_their_epochs_end(tmp_path):
    outcome = train(tmp_path, "trainer.val_check_interval=4", "trainer.max_epochs=2")
    lines = curves(tmp_path)
    assert [line["step"] for line in lines] == [4, 6, 10, 12]
    assert ["val_accuracy" in line for line in lines] == [True, False] * 2
    assert outcome.metrics["epochs"] == 2


def test_the_best_weights_are_those_that_were_validated_in_the_middle_of_an_epoch(tmp_path):
    outcome = train(tmp_path, "trainer.val_check_interval=2", "optimizer.lr=0.3")
    best = torch.load(child_folder(tmp_path, 0) / "best.ckpt", weights_only=True)
    trainer = make_trainer()
    network, _ = trainer.space.freeze({"0/affine/units": 0}).build((4,))
    network.load_state_dict(best["state_dict"])
    data = trainer.construct(trainer.config["data"], "data")
    data.setup("fit")
    x, y = (torch.cat(parts) for parts in zip(*data.val_dataloader(), strict=True))
    correct = (network.eval()(x).argmax(dim=1) == y).float().mean().item()
    assert correct == pytest.approx(best["metrics"]["val_accuracy"])
    assert best["metrics"]["val_accuracy"] == pytest.approx(outcome.reward)


def test_one_batch_is_overfitted(tmp_path):
    for name in ("true", "false"):
        overrides = ("trainer.overfit_batches=1", f"trainer.fast_loop={name}")
        outcome = train(tmp_path / name, *overrides, "trainer.max_epochs=30", "optimizer.lr=0.05")
        assert outcome.error is None
    lines = curves(tmp_path / "true")
    assert [line["step"] for line in lines] == list(range(1, 31))
    # Shuffled, the loss of a step is of other examples each time, and goes up and down.
    losses = [line["train_loss"] for line in lines]
    assert all(later < earlier for earlier, later in itertools.pairwise(losses))


def test_a_profile_lies_in_the_childs_folder(tmp_path):
    assert train(tmp_path, "trainer.profiler=simple", "trainer.max_epochs=1").error is None
    (found,) = child_folder(tmp_path, 0).glob("fit-profile*")
    assert "run_training_batch" in found.read_text()


def test_half_precision_on_a_cpu_is_said(tmp_path):
    said = make_trainer("trainer.precision=16", is_rehearsed=False).rehearsal()()
    assert said == ["trainer.precision=16 is not to be had on cpu: children use bf16-mixed"]
    assert make_trainer("trainer.precision=bf16-mixed", is_rehearsed=False).rehearsal()() == []


def test_a_ramp_that_is_longer_than_training_is_said():
    linear = {"_target_": "torch.optim.lr_scheduler.LinearLR", "total_iters": 500}
    space = {**MLP, "hyperparameters": {"scheduler": linear}}
    (said,) = make_trainer(space=space, is_rehearsed=False).rehearsal()()
    assert said.startswith("scheduler.total_iters=500 is longer than training")
    in_steps = {**linear, "interval": "step", "total_iters": 18}
    space = {**MLP, "hyperparameters": {"scheduler": in_steps}}
    assert make_trainer(space=space, is_rehearsed=False).rehearsal()() == []


def test_a_rehearsal_leaves_nothing_of_a_users_loggers_and_checkpoints(tmp_path):
    csv = {"_target_": "pytorch_lightning.loggers.CSVLogger", "save_dir": str(tmp_path)}
    checkpoint = callback("ModelCheckpoint", dirpath=str(tmp_path / "kept"))
    overrides = (f"trainer.logger={json.dumps(csv)}", f"trainer.callbacks={checkpoint}")
    make_trainer(*overrides, "trainer.enable_checkpointing=true")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "num_epochs"),
    [
        ([], 2),
        (["trainer.callbacks.stop.patience=2"], 3),
        (["trainer.callbacks.stop=null"], 4),
    ],
)
def test_callbacks_and_loggers_may_have_names(tmp_path, changes, num_epochs):
    (stop,) = json.loads(callback("EarlyStopping", monitor="val_loss", patience=1, min_delta=99))
    csv = {"_target_": "pytorch_lightning.loggers.CSVLogger", "save_dir": str(tmp_path / "csv")}
    named = (
        f"trainer.callbacks={json.dumps({'stop': stop})}",
        f"trainer.logger={json.dumps({'csv': csv, 'none': None})}",
    )
    outcome = train(tmp_path, *named, "trainer.max_epochs=4", *changes)
    assert outcome.error is None
    assert len(curves(tmp_path)) == num_epochs
    assert list((tmp_path / "csv").rglob("metrics.csv"))


def test_options_that_are_not_just_numbers_are_trained_a_step():
    fused = {"_target_": "torch.optim.Adam", "lr": 0.1, "fused": True}
    plain = {"_target_": "torch.optim.SGD", "lr": 0.1}
    space = {**MLP, "hyperparameters": {"optimizer": {"oneof": [plain, fused]}}}
    overrides = ("trainer.precision=bf16-mixed", "trainer.gradient_clip_val=1.0")
    with pytest.raises(NasRunnerError, match=r"optimizer.fused=false.*\(with .*'fused': True"):
        make_trainer(*overrides, space=space)


def test_data_with_a_teardown_is_set_up_for_each_child(tmp_path):
    log = tmp_path / "log"
    data = {**OWN, "_target_": "tests.children.odd_data.TornDown", "log": str(log)}
    trainer = make_trainer(data=data, is_rehearsed=False)
    for index in range(2):
        genotype = trainer.space.walk(lambda decision: 0)
        assert train_one(trainer.task(tmp_path, 0), Proposal(index, genotype)).error is None
    assert log.read_text().splitlines() == ["setup fit", "teardown fit"] * 2


def test_objectives_are_metrics_that_a_first_epoch_measures(tmp_path):
    make_trainer(objectives=("reward", "val_accuracy", "train_loss", "epochs", "flops"))
    with pytest.raises(ConfigError, match=r"objectives\.val_acuracy: no child measures 'val_acu"):
        make_trainer(objectives=("val_acuracy",))
    with pytest.raises(
        ConfigError, match=r"leaves no validation example to measure objectives=val_ac"
    ):
        make_trainer(
            "trainer.limit_val_batches=0",
            "task.reward.metric=train_loss",
            "task.reward.mode=min",
            objectives=("val_accuracy",),
        )


EVERY_SECOND = ("trainer.max_epochs=4", "trainer.check_val_every_n_epoch=2")


def test_a_pause_before_the_first_validation_is_refused():
    trainer = make_trainer(*EVERY_SECOND, is_rehearsed=False)
    with pytest.raises(ConfigError, match=r"until=1 pauses training before val_accuracy is measur"):
        trainer.check(Proposal(0, {}, until=1))
    trainer.check(Proposal(0, {}, until=2))
    trainer.rehearsal()()
    by_loss = ("task.reward.metric=train_loss", "task.reward.mode=min")
    make_trainer(*EVERY_SECOND, *by_loss, is_rehearsed=False).check(Proposal(0, {}, until=1))
    trainer = make_trainer(*EVERY_SECOND, *by_loss, objectives=("val_loss",), is_rehearsed=False)
    with pytest.raises(ConfigError, match=r"pauses training before val_loss is measured"):
        trainer.check(Proposal(0, {}, until=1))


def test_a_pause_before_a_validation_after_so_many_batches_is_refused():
    batches = ("trainer.check_val_every_n_epoch=null", "trainer.val_check_interval=10")
    trainer = make_trainer("trainer.max_epochs=4", *batches, is_rehearsed=False)
    trainer.check(Proposal(0, {}, until=3))
    trainer.rehearsal()()
    trainer.check(Proposal(0, {}, until=1))
    with pytest.raises(ConfigError, match=r"after 6 batches \(until=1\), .* is validated after 10"):
        trainer.rehearsal()()


def test_what_a_searcher_hears_is_measured_when_it_compares():
    trainer = make_trainer(*EVERY_SECOND, is_rehearsed=False)
    with pytest.raises(ConfigError, match=r"measures no val_loss after epoch 3, when .* of 2, or"):
        trainer.check_heard({"val_loss": [2, 3]})
    trainer.check_heard({"val_loss": [2, 4], "train_loss": [1]})
    trainer.rehearsal()()
    trainer.check_heard({"val_f1": []})
    with pytest.raises(
        ConfigError, match=r"searcher.metric: no child measures 'val_f1', .*val_acc"
    ):
        trainer.rehearsal()()
