"""The command ``python -m nasrunner.child``: trains one child of a study, by hand or for a worker.

A child on several devices is such a command, which Lightning runs once more for every other rank.
"""

import argparse
import os
import signal
import sys
import threading
from pathlib import Path
from typing import NoReturn

from nasrunner.children.lightning import LightningTask, LightningTrainer
from nasrunner.command_line import one_sentence, version
from nasrunner.compose.launch import build_searcher, build_space, build_trainer
from nasrunner.compose.saved import saved_config
from nasrunner.compose.upgrade import upgraded
from nasrunner.core.errors import ConfigError, MachineError
from nasrunner.core.machine.child_folder import PROPOSAL, ChildFolder
from nasrunner.core.machine.imports import quick_imports
from nasrunner.core.records import MEASURED, Outcome, Proposal, child_folder
from nasrunner.core.search_space import CHILD_GROUPS

_PROGRAM = "nasrunner.child"


def main() -> None:
    """Runs the command.

    Exit codes: 0 trained, 1 failed, 2 misuse, 75 a fault of the machine, 130 Ctrl-C, 143 SIGTERM.
    """
    arguments = _parser().parse_args()
    with one_sentence(_PROGRAM, "stopped at once; the same command goes on"):
        folder = Path(arguments.folder).resolve()
        proposal = _proposal(folder)
        with quick_imports():
            task = _task(folder, proposal, trust=arguments.trust)
        _train(task, proposal, is_leashed=arguments.end_with_stdin)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python -m {_PROGRAM}",
        description="Trains one child of a study once more, as its proposal.json says; a child "
        "that was interrupted goes on from its last.ckpt.",
        epilog=f"Example: python -m {_PROGRAM} outputs/STUDY/TIME/children/0007",
    )
    parser.add_argument("--version", action="version", version=version())
    parser.add_argument("folder", help="the child's: <study>/children/<index>")
    parser.add_argument(
        "--end-with-stdin",
        action="store_true",
        help="kill the whole process group when standard input ends; for workers",
    )
    parser.add_argument(
        "--trust",
        action="store_true",
        help="build whatever the study's configuration names, be it a stranger's",
    )
    return parser


def _proposal(folder: Path) -> Proposal:
    """What the child is.

    Raises:
        ConfigError: the folder is no child's.
    """
    found = ChildFolder(folder)
    try:
        return found.proposal()
    except OSError as error:
        raise ConfigError(
            f"{folder} is no child's folder: {PROPOSAL} cannot be read: {error.strerror}; legal "
            "is <study>/children/<index>"
        ) from error
    except ValueError as error:
        raise ConfigError(f"{found.file(PROPOSAL)} is damaged: {error}") from error


def _task(folder: Path, proposal: Proposal, *, trust: bool) -> LightningTask:
    """What trains the child, as the study's saved configuration says.

    Raises:
        ConfigError: there is no study two levels up, it trains nothing or may be a stranger's, or
            the folder is another child's.
    """
    study = folder.parents[1]
    if folder != child_folder(study, proposal.index):
        raise ConfigError(
            f"{folder} is not where child {proposal.index} of its proposal.json belongs; legal is "
            f"<study>/children/{child_folder(study, proposal.index).name}"
        )
    for name in ("config.yaml", "ledger.jsonl"):
        if not (study / name).is_file():
            raise ConfigError(f"{study}, two levels above the child, is no study: no {name}")
    # A supernet is trained with the policy of the study's searcher.
    searchers = ("searcher",) if proposal.kind == "supernet" else ()
    groups = (*CHILD_GROUPS, *searchers)
    config = upgraded(saved_config(study, builds=(*groups, "space"), trust=trust), groups)
    space = build_space(config)
    trainer = build_trainer(config, space)
    if not isinstance(trainer, LightningTrainer):
        raise ConfigError(
            f"trainer: {type(trainer).__name__} trains no networks; legal is LightningTrainer"
        )
    policy = build_searcher(config, space).policy() if searchers else None
    return trainer.task(study, config["seed"], policy)


def _train(task: LightningTask, proposal: Proposal, *, is_leashed: bool) -> NoReturn:
    """Trains in a thread of its own: Lightning's signal handlers would wait for other ranks."""
    from nasrunner.children.fit.training import TrainChild
    from nasrunner.children.processes import FAULT, TERMINATED, end_with_stdin
    from nasrunner.children.ranks import rank_here

    if is_leashed:
        end_with_stdin()
    signal.signal(signal.SIGTERM, lambda *_: os._exit(TERMINATED))
    rank, ended = rank_here(), list[Outcome]()

    def train() -> None:
        try:
            is_estimate = proposal.kind == "estimate"
            ended.extend(task([proposal]) if is_estimate else [TrainChild(task, rank)(proposal)])
        except MachineError as fault:
            sys.stderr.write(f"{_PROGRAM}: {fault}\n")
            os._exit(FAULT)

    thread = threading.Thread(target=train, daemon=True)
    thread.start()
    try:
        thread.join()
    except KeyboardInterrupt:
        sys.stderr.write(f"\n{_PROGRAM}: stopped at once; the same command goes on\n")
        os._exit(130)
    outcome = ended[0] if ended else Outcome(proposal, "failed", error="see above")
    if rank == 0:
        sys.stdout.write(_told(outcome))
    if outcome.status in MEASURED:
        sys.exit(0)
    sys.stdout.flush()
    os._exit(1)  # the process group may wait for ranks that do not come


def _told(outcome: Outcome) -> str:
    if outcome.status in MEASURED:
        what = "supernet" if outcome.reward is None else f"reward {outcome.reward}"
        return f"child {outcome.proposal.index}: {what} in {outcome.cost_s:.1f} s\n"
    return f"child {outcome.proposal.index} failed: {outcome.error}\n"


if __name__ == "__main__":
    main()
