"""Folders of studies as the command would leave them, for children that are processes."""

import os
import time
from pathlib import Path

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from nasrunner.compose import config as skeleton
from nasrunner.compose.launch import build_space, build_trainer, open_ledger
from nasrunner.compose.saved import save_config, saved_config
from nasrunner.core import Proposal, child_folder
from tests.toys import train_one


def make_study(folder: Path, *overrides: str, **groups) -> Path:
    """The folder of a study of the digits whose children nobody has trained yet."""
    skeleton.register()
    with initialize_config_dir(str(skeleton.config_dir()), version_base="1.3"):
        composed = compose(
            "config",
            overrides=["study=test", "tracker=none", "trainer.accelerator=cpu", *overrides],
        )
    config = OmegaConf.to_container(composed, resolve=True)
    config.update(groups)
    open_ledger(folder).close()
    save_config(config, folder)
    return folder


def task_of(study: Path):
    """What trains the children of a study, as a worker would call it."""
    config = saved_config(study)
    return build_trainer(config, build_space(config)).task(study, config["seed"])


def first_child(task, index: int = 0) -> Proposal:
    """The architecture of every decision's first option."""
    return Proposal(index, task.space.walk(lambda decision: 0))


def train(study: Path, index: int = 0):
    """The outcome of a study's first child."""
    task = task_of(study)
    return train_one(task, first_child(task, index))


def rehearse(study: Path) -> None:
    """What a worker does before the first child."""
    config = saved_config(study)
    build_trainer(config, build_space(config)).rehearsal()()


def processes_below(folder: Path) -> dict[int, str]:
    """Processes that run and whose command line names a folder."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_text().replace("\0", " ")
                state = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0]
            except OSError:
                continue
            if str(folder) in command and state != "Z" and int(entry.name) != os.getpid():
                found[int(entry.name)] = command
    return found


def assert_all_end(folder: Path) -> None:
    """Checks that no process of a folder stays; one that was just killed takes a moment to go."""
    wait_until(lambda: not processes_below(folder), timeout_s=30)


def wait_until(is_true, timeout_s: float = 60.0) -> None:
    """Waits for something that happens in another process."""
    deadline = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < deadline, is_true
        time.sleep(0.02)


def folder_of(study: Path, index: int = 0) -> Path:
    """A child's folder."""
    return child_folder(study, index)


def rank_of(process: int) -> int:
    """Which rank a process was started as."""
    environment = (Path("/proc") / str(process) / "environ").read_text().split("\0")
    ranks = [each.partition("=")[2] for each in environment if each.startswith("LOCAL_RANK=")]
    return int(ranks[0]) if ranks else 0
