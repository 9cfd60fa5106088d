"""Studies that were recorded: what reports, retraining and export read, and never write."""

import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]  # its stubs are a package of their own

from nasrunner.compose.launch import build_space
from nasrunner.compose.saved import saved_config
from nasrunner.core.errors import ConfigError, LedgerError, nearest
from nasrunner.core.language.moved import with_present_targets
from nasrunner.core.ledger.events import Began
from nasrunner.core.ledger.goal_settings import read_goals, reward_of_task, reward_of_trainer
from nasrunner.core.ledger.state import StudyState
from nasrunner.core.ledger.steps import Reach
from nasrunner.core.randomness.seeds import baseline_seed
from nasrunner.core.records import Kind, Outcome, Proposal, child_folder
from nasrunner.core.screen.commands import resume_command, short
from nasrunner.core.search_space import SearchSpace
from nasrunner.study.ledger import check_begins, read_events

_BEGUN = re.compile(r"\d{4}-\d\d-\d\d_[\d-]+")
"""A study's folder unless the user names another: when it began."""


OTHER_DATA = "other_data"
"""The key of ``retrain.yaml`` that names the data set where it is not the one of the search."""

SPACE_CHANGES = "space_changes"
"""Its key beside that: what was changed of the space by hand, as overrides."""

Repetition = tuple[int, int]
"""The seeds of a study and of its searcher, which is the study's where it has none of its own."""


class EmptyStudyError(LedgerError):
    """A study has not started: its ledger holds nothing yet."""


@dataclass(frozen=True)
class RecordedChild:
    """A proposal of a study and what became of it.

    Attributes:
        outcome: None while it is in flight.
        proposed_s: when it was proposed, Unix seconds.
        ended_s: when its outcome was recorded, Unix seconds; None while it is in flight.
        folder: where it keeps its files, if it was trained.
        num_trainings: over how many trainings its reward is a mean; 1 but for ``best``.
        spread: the standard deviation of their rewards, where there are several.
    """

    proposal: Proposal
    outcome: Outcome | None
    proposed_s: float
    ended_s: float | None
    folder: Path
    num_trainings: int = 1
    spread: float | None = None

    @property
    def is_evaluation(self) -> bool:
        """Whether it spent budget: its outcome has a reward or a failure, reused or not."""
        return self.outcome is not None and self.outcome.is_evaluation


@dataclass(frozen=True)
class Rescored:
    """What the rewards of a study's children are made of in the place of what it searched with.

    Attributes:
        config: the study's configuration as if it had searched with these rewards.
        outcomes: the outcomes with them, by index; those that are left out are as recorded.
        detail: which of a child's values a reward is, in words; empty where it has one.
        notes: what is to be known of them, in sentences.
    """

    config: Mapping[str, Any]
    outcomes: Mapping[int, Outcome]
    detail: str
    notes: Sequence[str]


@dataclass(frozen=True)
class RecordedStudy:
    """One study, finished, stopped or still running.

    Attributes:
        folder: the study's folder.
        config: its resolved configuration.
        state: what follows from the events of its ledger, with the outcomes of ``rescored``.
        rescored: other rewards than those of the ledger; None: there are none.
    """

    folder: Path
    config: Mapping[str, Any]
    state: StudyState
    rescored: Rescored | None = None

    @cached_property
    def children(self) -> tuple[RecordedChild, ...]:
        """Its proposals and what became of them, in the order they were made."""
        state = self.state
        return tuple(
            RecordedChild(
                proposal,
                state.outcomes.get(index),
                state.proposed_s[index],
                state.ended_s.get(index),
                child_folder(self.folder, index),
            )
            for index, proposal in state.proposals.items()
        )

    @property
    def name(self) -> str:
        """What the user called it; several studies may share it."""
        return str(self.config["study"])

    @property
    def seed(self) -> int:
        """The study's seed."""
        return self.began.seed

    @property
    def repetition(self) -> Repetition:
        """What makes it another repetition of a search: its seed, and its searcher's own.

        That of a baseline follows from the study's, and is none of its own.
        """
        searcher = self.config["searcher"]
        own = searcher.get("seed") if isinstance(searcher, Mapping) else None
        if not isinstance(own, int) or own == baseline_seed(self.seed):
            own = self.seed
        return self.seed, own

    @property
    def reward(self) -> Mapping[str, Any]:
        """What its rewards are made of: as configured, with what its class has by default.

        Older ledgers lack the latter. Where they are scored otherwise, it is that.
        """
        by_default = self.began.reward if self.scored is self.config else {}
        return {**reward_of_task(self.scored), **by_default}

    @property
    def scored(self) -> Mapping[str, Any]:
        """Its configuration, with what its rewards are made of where they are scored otherwise."""
        return self.config if self.rescored is None else self.rescored.config

    @property
    def reward_text(self) -> str:
        """The formula, the metric or the table's column of its rewards; empty if unknown."""
        goals = read_goals(self.scored)
        if goals is not None and goals.scalarization is not None:
            return goals.scalarization.text
        if (named := reward_of_trainer(self.scored)) is not None:
            return named[1]
        reward = self.reward
        if "metric" not in reward:  # an older study of a user's own task
            return ""
        sign = "−" if reward.get("mode") == "min" and reward.get("power", 1) > 0 else ""
        power = reward.get("power", 1)
        return f"{sign}{reward['metric']}{'' if power == 1 else f'^{power}'}"

    @property
    def about_rescored(self) -> str:
        """That its rewards are other ones than it searched with, in sentences; else empty."""
        if self.rescored is None:
            return ""
        detail = f", {self.rescored.detail}" if self.rescored.detail else ""
        searched = replace(self, rescored=None).reward_text or "the reward of its task"
        told = (
            f"Rewards are re-scored: {self.reward_text or 'the reward of the task'}{detail}. The "
            f"search itself was driven by {searched}, and may have proposed others for these."
        )
        return " ".join([told, *self.rescored.notes])

    @property
    def began(self) -> Began:
        """The first event of its ledger."""
        assert self.state.began is not None, "a ledger without events is none of a study"
        return self.state.began

    @property
    def sessions(self) -> Sequence[tuple[float, float]]:
        """When the first and the last event of each session were written, Unix seconds."""
        return self.state.sessions

    @property
    def reason(self) -> str | None:
        """Why it ended; None while it runs, or where it was killed."""
        return self.state.reason

    @property
    def changed(self) -> Sequence[str]:
        """What of the user's source and data had changed when it was resumed, in words."""
        return self.state.changed

    @cached_property
    def space(self) -> SearchSpace:
        """What was searched."""
        return build_space(dict(self.config))

    @cached_property
    def recorded(self) -> tuple[RecordedChild, ...]:
        """The children with an outcome, in the order these were recorded."""
        outcomes = self.state.history.outcomes
        return tuple(self._by_index[outcome.proposal.index] for outcome in outcomes)

    @cached_property
    def begun(self) -> tuple[RecordedChild, ...]:
        """The children that were begun: neither what goes on with one, nor what is none."""
        return tuple(child for child in self.children if child.proposal.is_root)

    @cached_property
    def listed(self) -> tuple[RecordedChild, ...]:
        """The children, what goes on with one and the supernets: all but the estimates."""
        return tuple(child for child in self.children if child.proposal.kind != "estimate")

    @cached_property
    def trainings(self) -> tuple[RecordedChild, ...]:
        """What children were trained for: those with an outcome, also of what goes on with one."""
        return tuple(child for child in self.recorded if child.proposal.kind == "train")

    def outcomes_of(self, kind: Kind) -> list[Outcome]:
        """Returns the outcomes of the estimates, or of the supernets."""
        return [each for each in self.state.history.outcomes if each.proposal.kind == kind]

    @property
    def reach(self) -> Reach | None:
        """How far those trainings came that are compared; None: to their ends."""
        return self.state.history.shown()[1]

    @property
    def about_reach(self) -> str:
        """That the best children were not trained to their ends, in a sentence; else empty."""
        if (reach := self.reach) is None:
            return ""
        return f"No child was trained {reach.missed}: the best are of those {reach.about}."

    def compares(self, outcome: Outcome) -> bool:
        """Tells whether an outcome's reward is compared: see ``History.shown``."""
        return self.state.history.compares(outcome)

    def course(self, index: int) -> list[RecordedChild]:
        """Returns the children whose trainings led to this one, which is the last of them."""
        found = [self._by_index[index]]
        while (source := found[-1].proposal.continues) in self._by_index and source is not None:
            found.append(self._by_index[source])
        return found[::-1]

    @cached_property
    def _by_index(self) -> Mapping[int, RecordedChild]:
        return {child.proposal.index: child for child in self.children}

    def best(self, count: int) -> list[RecordedChild]:
        """Returns the best children with a reward, best first, each genotype once.

        One that was trained several times is its first, with the mean of all its rewards. Where
        no child was trained to its end, those that came furthest are compared.
        """
        ranking, _ = self.state.history.shown()
        return [
            replace(
                self._by_index[ranked.index],
                outcome=replace(ranked.outcome, reward=ranked.reward),
                num_trainings=ranked.num_trainings,
                spread=ranked.spread,
            )
            for ranked in ranking.best(count)
        ]


def latest_of(folder: Path) -> Path:
    """Returns a study's folder, or the latest in a folder of studies that have one name.

    Raises:
        ConfigError: several studies are there that are not called by when they began.
    """
    if (folder / "ledger.jsonl").is_file():
        return folder
    found = sorted(path.parent for path in folder.glob("*/ledger.jsonl"))
    if len(found) > 1 and not all(_BEGUN.fullmatch(each.name) for each in found):
        listed = ", ".join(map(short, found[:5])) + (", …" if len(found) > 5 else "")
        raise ConfigError(f"{folder} holds {len(found)} studies, choose one: {listed}")
    return found[-1] if found else folder


def resumable(typed: str, tell: Callable[[str], object]) -> Path:
    """Returns the folder of the study, or of the multirun, that a user wants to go on with.

    Args:
        typed: its folder, or that of studies of one name, of which the latest is taken; as it is,
            or quoted for Hydra.
        tell: is given a sentence where one of several is taken.

    Raises:
        ConfigError: there is no study, or several that are none of one another's successors.
    """
    plain = typed.strip("'\"")
    places = [Path(text) for text in (typed, plain, re.sub(r"\\(.)", r"\1", plain))]
    folder = next((place for place in places if place.is_dir()), places[1]).resolve()
    check_readable(folder)
    if (folder / "ledger.jsonl").is_file() or (folder / "multirun.yaml").is_file():
        return folder
    found = _resumable_in(folder, "*")
    if not found:
        inside = _resumable_in(folder, "*/*")
        choose = f"; choose one in it: {', '.join(map(short, inside[-3:]))}" if inside else ""
        choose = choose or _meant(folder)
        raise ConfigError(f"resume={folder} is no study's folder: there is no ledger.jsonl{choose}")
    if len(found) > 1 and not all(_BEGUN.fullmatch(each.name) for each in found):
        listed = "; ".join(resume_command(each) for each in found)
        raise ConfigError(f"resume={folder} holds {len(found)} studies, choose one: {listed}")
    if len(found) > 1:
        taken = found[-1].name
        tell(f"resume: the latest of {len(found)} studies in {short(folder)} is taken, {taken}")
    return found[-1]


def _resumable_in(folder: Path, depth: str) -> list[Path]:
    """The folders of studies and multiruns so deep in a folder."""
    files = [*folder.glob(f"{depth}/ledger.jsonl"), *folder.glob(f"{depth}/multirun.yaml")]
    return sorted({file.parent for file in files})


def _meant(folder: Path) -> str:
    """Asks for a folder with studies that lies beside one without and is called alike, if any."""
    above = folder.parent
    places = [each for depth in ("*", "*/*") for each in _resumable_in(above, depth)]
    names = {each.relative_to(above).parts[0] for each in places} - {folder.name}
    near = nearest(folder.name, names)
    return f"; did you mean {' or '.join(short(above / name) for name in near)}?" if near else ""


def check_readable(folder: Path) -> None:
    """Raises ConfigError where this user may not look into a folder, which else seems empty."""
    try:
        with os.scandir(folder):
            (folder / "ledger.jsonl").stat()
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise ConfigError(f"{folder} cannot be read: {error.strerror}") from error


Rescore = Callable[[RecordedStudy], Rescored]
"""Scores a study's children otherwise; see ``rescoring/``."""


def read_study(
    folder: Path,
    *,
    builds: Collection[str] = ("space",),
    trust: bool = False,
    rescore: Rescore | None = None,
) -> RecordedStudy:
    """Reads a study's folder; a last line that was cut off, or is being written, is left out.

    Args:
        folder: the study's.
        builds: the groups of its configuration that something will be built from.
        trust: whether a stranger's study is taken with all that its configuration names.
        rescore: gives its children other rewards; None: they have those that were recorded.

    Raises:
        ConfigError: there is no study in it, it may be a stranger's and could run code, or it
            lacks what other rewards are made of.
        EmptyStudyError: its ledger is empty.
        LedgerError: its ledger is damaged.
    """
    folder = folder.resolve()
    check_readable(folder)
    if not (folder / "ledger.jsonl").is_file() or not (folder / "config.yaml").is_file():
        inside = sorted(path.parent for path in folder.glob("*/ledger.jsonl"))
        choose = f"; choose one in it: {', '.join(map(short, inside[-3:]))}" if inside else ""
        choose = choose or _meant(folder)
        raise ConfigError(
            f"{folder} is no study's folder: it needs config.yaml and ledger.jsonl{choose}"
        )
    return read_ledger(folder, saved_config(folder, builds=builds, trust=trust), rescore)


def read_ledger(
    folder: Path, config: Mapping[str, Any], rescore: Rescore | None = None
) -> RecordedStudy:
    """Reads the ledger in a folder, as one of a study with this configuration.

    Raises:
        EmptyStudyError: it is empty.
        LedgerError: it is damaged.
    """
    events, _ = read_events(folder / "ledger.jsonl")
    if not events:
        check_begins(folder / "ledger.jsonl")
        raise EmptyStudyError(f"{folder / 'ledger.jsonl'} is empty: the study has not started")
    study = RecordedStudy(folder, config, StudyState.of(events))
    if rescore is None:
        return study
    found = rescore(study)
    return replace(study, state=StudyState.of(events, found.outcomes), rescored=found)


def is_grid(folder: Path) -> bool:
    """Tells whether a folder is that of a grid of a retraining: ``<retraining>/grid/0007``."""
    return folder.parent.name == "grid" and (folder.parent.parent / "retrain.yaml").is_file()


def retrain_settings(path: Path) -> dict[str, Any]:
    """Returns how the networks beside a ``retrain.yaml`` were trained.

    Raises:
        ConfigError: the file is damaged.
    """
    try:
        text = path.read_text(encoding="utf-8")
        found = OmegaConf.to_container(OmegaConf.create(text))
    except (UnicodeDecodeError, YAMLError, OmegaConfBaseException) as error:
        raise _damaged(path, " ".join(str(error).split())) from error
    if not isinstance(found, dict) or not text.endswith("\n"):
        raise _damaged(path, "it is cut off" if text else "it is empty")
    return {str(key): with_present_targets(value) for key, value in found.items()}


def _damaged(path: Path, reason: str) -> ConfigError:
    return ConfigError(
        f"{path} is damaged: {reason}. How the networks beside it were trained is not known: put "
        "back a copy, or train them again with another folder="
    )


def study_folders(places: Iterable[Path]) -> list[Path]:
    """Returns the folders of studies in these places and below, each once, in the order of their
    paths.

    The grids of a retraining are none: they search no architectures. Trackers may keep copies of
    ledgers, which may lie below a place, too: of a study and its copies the folder that holds most
    is taken.

    Raises:
        ConfigError: a place holds no study.
    """
    folders: dict[Path, None] = {}
    for place in places:
        found = sorted(folder.resolve() for folder in _with_ledger(place))
        found = [folder for folder in found if not is_grid(folder)]
        if not found:
            raise ConfigError(
                f"{place} holds no study: there is no ledger.jsonl of one in it or below"
            )
        folders |= dict.fromkeys(found)
    return _without_copies(list(folders))


def _with_ledger(place: Path) -> Iterator[Path]:
    """The folders in a place and below that hold a ledger.

    Raises:
        ConfigError: one of them cannot be looked into.
    """

    def refuse(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):  # a running study's, removed meanwhile
            raise ConfigError(f"{error.filename} cannot be read: {error.strerror}") from error

    for folder, _, files in os.walk(place, onerror=refuse):
        if "ledger.jsonl" in files:
            check_readable(Path(folder))
            yield Path(folder)


def find_studies(places: Iterable[Path]) -> list[RecordedStudy]:
    """Returns the studies in these folders and below, each once, in the order of their paths.

    Raises:
        ConfigError: a place holds no study.
        LedgerError: a ledger is empty, or damaged in the middle.
    """
    return [read_study(folder) for folder in study_folders(places)]


def _without_copies(folders: Sequence[Path]) -> list[Path]:
    """Leaves out a folder whose ledger is that of another, or how that began."""
    kept: list[tuple[Path, bytes]] = []
    for folder in sorted(folders, key=lambda each: len(list(each.iterdir())), reverse=True):
        ledger = (folder / "ledger.jsonl").read_bytes()
        if not ledger or not any(_is_copy(ledger, other) for _, other in kept):
            kept.append((folder, ledger))
    chosen = {folder for folder, _ in kept}
    return [folder for folder in folders if folder in chosen]


def _is_copy(one: bytes, other: bytes) -> bool:
    """Whether the events of one ledger are the first of the other's; times make them unique."""
    short, long = sorted((one, other), key=len)
    return bool(short) and long.startswith(short)
