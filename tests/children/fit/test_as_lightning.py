"""A child is trained exactly as Lightning's own loop trains the same objects."""

import pytest
import torch

from nasrunner.core import child_folder
from tests.children.blobs import BLOBS, OWN
from tests.children.plain import childs, lightnings_own
from tests.sampling import one_in

NOISY = {
    "concat": [
        {"affine": {"units": 16}},
        "batch_norm",
        "relu",
        {"dropout": {"p": 0.3}},
        {"affine": {"units": 3}},
    ]
}
LOADER = {**OWN, "_target_": "tests.children.blobs.LoaderBlobs"}
WORKERS = {
    **OWN,
    "_target_": "tests.children.plain.WorkerBlobs",
    "num_workers": 2,
    "has_sampler": False,
    "seeds_workers": False,
}
EMA = "[{_target_: pytorch_lightning.callbacks.EMAWeightAveraging, decay: 0.9}]"
SWA = (
    "[{_target_: pytorch_lightning.callbacks.StochasticWeightAveraging, swa_lrs: 0.05, "
    "swa_epoch_start: 2}]"
)


def compare(tmp_path, *overrides, schedule=None, num_extra=0, **arguments):
    """Trains a child and Lightning's own with the same configuration; returns the validations."""
    arguments.setdefault("space", NOISY)
    theirs, their_weights = lightnings_own(*overrides, schedule=schedule, **arguments)
    ours, our_weights = childs(tmp_path, *overrides, **arguments)
    assert len(theirs) > 0
    assert len(ours) == len(theirs) + num_extra
    for mine, other in zip(ours, theirs, strict=False):
        assert mine == pytest.approx(other, rel=1e-5)
    assert set(our_weights) == set(their_weights)
    for name, value in their_weights.items():
        assert torch.equal(our_weights[name], value), name
    return ours


@one_in(
    2,
    0,
    "override",
    [
        "max_epochs=3",
        "max_steps=10",
        "min_epochs=2",
        "accumulate_grad_batches=4",
        "gradient_clip_val=0.1",
        "limit_train_batches=4",
        "limit_train_batches=0.5",
        "limit_val_batches=1",
        "val_check_interval=2",
        "val_check_interval=0.5",
        "val_check_interval=4",
        "check_val_every_n_epoch=2",
        "num_sanity_val_steps=2",
        "precision=bf16-mixed",
        "precision=64-true",
        "reload_dataloaders_every_n_epochs=1",
        "detect_anomaly=true",
        "inference_mode=false",
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_each_argument_of_the_trainer_does_what_lightning_does(tmp_path, override):
    name = override.partition("=")[0]
    also = "trainer." if name in ("max_steps", "check_val_every_n_epoch") else ""
    compare(tmp_path, f"trainer.{override}", *([f"{also}max_epochs=4"] if also else []))


# Lightning's own loop runs over a DataLoader, so that it is enough that the arguments arrive there.
@one_in(
    2,
    1,
    "overrides",
    [
        ("max_steps=10", "accumulate_grad_batches=4", "max_epochs=4", "precision=64-true"),
        ("limit_train_batches=4", "limit_val_batches=1", "gradient_clip_val=0.1"),
        ("limit_train_batches=0.5", "val_check_interval=2", "num_sanity_val_steps=2"),
        ("check_val_every_n_epoch=2", "max_epochs=4", "reload_dataloaders_every_n_epochs=1"),
        ("val_check_interval=0.5", "precision=bf16-mixed", "min_epochs=2"),
        ("val_check_interval=4", "detect_anomaly=true", "inference_mode=false"),
    ],
    ids=",".join,
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_arguments_do_what_lightning_does_with_a_loader(tmp_path, overrides):
    compare(tmp_path, *(f"trainer.{override}" for override in overrides), data=LOADER)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_few_batches_are_overfitted_as_by_lightning(tmp_path):
    # Of data in memory Lightning cannot turn off the shuffling: that is no DataLoader.
    compare(tmp_path, "trainer.overfit_batches=2", data=LOADER)


def test_validation_by_batches_across_epochs(tmp_path):
    overrides = ("trainer.val_check_interval=4", "trainer.check_val_every_n_epoch=null")
    ours = compare(tmp_path, *overrides, "trainer.max_epochs=4")
    assert [line["step"] for line in ours] == [4, 8, 12, 16, 20, 24]


STEPS = 18  # three epochs of 90 examples by 16


@one_in(
    2,
    0,
    ("name", "overrides", "schedule"),
    [
        ("cosine", (), {"T_max": 3}),
        ("cosine", ("scheduler.interval=step",), {"T_max": STEPS}),
        ("cosine", ("trainer.max_epochs=-1", "trainer.max_steps=14"), {"T_max": 3}),
        (
            "cosine",
            ("scheduler.interval=step", "trainer.max_epochs=-1", "trainer.max_steps=14"),
            {"T_max": 14},
        ),
        (
            "cosine",
            ("scheduler.interval=step", "trainer.accumulate_grad_batches=4"),
            {"T_max": 6},
        ),
        ("one_cycle", (), {"max_lr": 0.01, "total_steps": STEPS}),
        ("one_cycle", ("scheduler.interval=epoch",), {"max_lr": 0.01, "total_steps": 3}),
        ("step", ("scheduler.step_size=1", "scheduler.gamma=0.5"), {}),
        ("multistep", ("scheduler.milestones=[5,9]", "scheduler.interval=step"), {}),
        ("plateau", ("scheduler.patience=0", "scheduler.threshold=0.5"), {}),
        (
            "plateau",
            (
                "scheduler.patience=0",
                "scheduler.threshold=0.5",
                "trainer.check_val_every_n_epoch=2",
                "trainer.max_epochs=6",
            ),
            {},
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:.*strict.*:RuntimeWarning")
def test_each_scheduler_is_stepped_as_lightning_does(tmp_path, name, overrides, schedule):
    from tests.children.blobs import configured

    _, config = configured(*overrides, scheduler=name)
    numbers = {**config["scheduler"], **schedule}
    assert "auto" not in numbers.values()
    compare(tmp_path, *overrides, schedule=numbers, scheduler=name)


@one_in(
    2,
    1,
    ("name", "overrides", "schedule"),
    [
        ("cosine", (), {"T_max": 3}),
        (
            "cosine",
            ("scheduler.interval=step", "trainer.accumulate_grad_batches=4"),
            {"T_max": 6},
        ),
        ("one_cycle", (), {"max_lr": 0.01, "total_steps": STEPS}),
        (
            "plateau",
            (
                "scheduler.patience=0",
                "scheduler.threshold=0.5",
                "trainer.check_val_every_n_epoch=2",
                "trainer.max_epochs=6",
            ),
            {},
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:.*strict.*:RuntimeWarning")
def test_schedulers_are_stepped_as_lightning_does_with_a_loader(
    tmp_path, name, overrides, schedule
):
    from tests.children.blobs import configured

    _, config = configured(*overrides, scheduler=name)
    numbers = {**config["scheduler"], **schedule}
    assert "auto" not in numbers.values()
    compare(tmp_path, *overrides, schedule=numbers, data=LOADER, scheduler=name)


@pytest.mark.parametrize("data", [BLOBS, LOADER], ids=["memory", "loader"])
def test_a_warm_up_and_a_cosine_follow_one_another(tmp_path, data):
    linear = {"_target_": "torch.optim.lr_scheduler.LinearLR", "_partial_": False}
    cosine = {"_target_": "torch.optim.lr_scheduler.CosineAnnealingLR", "_partial_": False}
    numbers = {
        "_target_": "torch.optim.lr_scheduler.SequentialLR",
        "interval": "step",
        "schedulers": [
            {**linear, "start_factor": 0.01, "total_iters": 5},
            {**cosine, "T_max": STEPS - 5, "eta_min": 0.0},
        ],
        "milestones": [5],
    }
    compare(
        tmp_path,
        "scheduler.milestones=[0.25]",  # 4.5 of 18 steps, rounded to even: 4
        schedule={**numbers, "schedulers": _with(numbers, 4), "milestones": [4]},
        data=data,
        scheduler="warmup_cosine",
    )


def _with(numbers, warm_up):
    linear, cosine = numbers["schedulers"]
    return [{**linear, "total_iters": warm_up}, {**cosine, "T_max": STEPS - warm_up}]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"has_sampler": True},
        {"seeds_workers": True},
        {"num_workers": 0},
        {"num_workers": 0, "has_sampler": True},
    ],
)
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.slow
def test_a_users_loader_is_lightnings_to_use(tmp_path, changes):
    compare(tmp_path, data={**WORKERS, **changes})


def test_the_average_of_weights_is_what_is_rewarded_and_kept(tmp_path):
    compare(tmp_path, f"trainer.callbacks={EMA}", data=LOADER)


@pytest.mark.parametrize("space", [NOISY, {"affine": {"units": 3}}], ids=["batch norm", "none"])
def test_a_stochastic_average_is_validated(tmp_path, space):
    has_batch_norm = space is NOISY
    compare(
        tmp_path,
        f"trainer.callbacks={SWA}",
        data=LOADER,
        space=space,
        num_extra=0 if has_batch_norm else 1,
    )


@pytest.mark.parametrize("amount", [0.3, 2])
def test_what_is_pruned_is_kept_as_it_was_validated(tmp_path, amount):
    prune = "_target_: pytorch_lightning.callbacks.ModelPruning, pruning_fn: l1_unstructured"
    compare(
        tmp_path,
        f"trainer.callbacks=[{{{prune}, amount: {amount}}}]",
        data=LOADER,
        space={"affine": {"units": 3}},
    )
    best = torch.load(child_folder(tmp_path, 0) / "best.ckpt", weights_only=True)["state_dict"]
    network = torch.nn.Linear(4, 3)
    network.load_state_dict({name.split(".")[-1]: value for name, value in best.items()})
    assert (network.weight == 0).sum() > 0
