"""What ``start_with`` names: architectures a person believes in, and studies to learn from."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]  # its stubs are a package of their own

from nasrunner.compose.saved import differences, plain_config
from nasrunner.core.errors import ConfigError, LedgerError, suggest
from nasrunner.core.ledger.goal_settings import reward_of_task, reward_of_trainer
from nasrunner.core.ledger.known import EarlierStudy, Known
from nasrunner.core.ledger.state import StudyState
from nasrunner.core.screen.commands import short
from nasrunner.core.search_space import CHILD_GROUPS, SearchSpace
from nasrunner.core.searcher import Searcher
from nasrunner.study.known.earlier import compared, outcomes_for
from nasrunner.study.known.given import read_given
from nasrunner.study.ledger import read_events
from nasrunner.study.rules import Rules

_KEYS = ("genotypes", "studies")
_MAX_NAMED = 3

_CHANGE_NO_REWARD = ("trainer.proxies", "trainer.num_at_once")
"""Keys of children that say what is measured beside a reward, and how many are sent together."""


def read_start(
    config: Mapping[str, Any], space: SearchSpace, rules: Rules, searcher: Searcher
) -> Known | None:
    """Returns what a study that begins knows already; None: nothing.

    Args:
        config: the study's, resolved.
        space: what it searches.
        rules: its budget and seed.
        searcher: what is to learn.

    Raises:
        ConfigError: a place holds neither, is damaged or tells nothing of this space, rewards are
            of another unit, the searcher cannot learn them, or more is given than the budget.
        LedgerError: an earlier study's ledger is damaged.
    """
    found = list(_entries(config.get("start_with"), "start_with"))
    entries = [(key, entry) for kind, key, entry in found if kind == "genotypes"]
    folders = [(key, Path(entry)) for kind, key, entry in found if kind == "studies"]
    if not found:
        return None
    if rules.max_children is not None and len(entries) > rules.max_children:
        raise ConfigError(
            f"start_with gives {len(entries)} genotypes, more than "
            f"max_children={rules.max_children} are trained"
        )
    given = [read_given(space, e, i, rules.seed, key) for i, (key, e) in enumerate(entries)]
    if folders and not searcher.learns_known:
        raise ConfigError(
            f"start_with: {searcher.known_as} learns nothing from earlier studies, as a "
            "searcher with learn_known(outcomes) does; legal are genotypes alone"
        )
    twice = {folder.resolve() for _, folder in folders}
    if len(twice) < len(folders):
        raise ConfigError("start_with names a study twice, whose outcomes would count twice")
    studies = [_read_study(folder, key, config, space) for key, folder in folders]
    ignored = searcher.ignores_known if studies else None
    return Known(tuple(given), tuple(studies), ignored)


def doubts_of_start(known: Known) -> Iterator[str]:
    """Yields what a user should know of it before training, a sentence each."""
    if known.ignored is not None:
        yield f"start_with: the search learns nothing from earlier studies: {known.ignored}"
        return
    for study in known.studies:
        if study.left_out:
            yield f"start_with: the search begins with {study.told}"
        if study.differs:
            yield (
                f"start_with: the children of {study.name} were trained otherwise, and their "
                f"rewards are taken as they are: {_few(study.differs)}"
            )


def anchored(value: Any, folder: Path) -> Any:
    """Returns the same with the relative places in it as they are seen from a folder."""
    match value:
        case str():
            return str(folder / Path(value).expanduser())
        case list():
            return [anchored(each, folder) for each in value]
        case {"studies": studies}:
            return {**value, "studies": anchored(studies, folder)}
    return value


def _entries(value: Any, key: str) -> Iterator[tuple[str, str, Any]]:
    """(``genotypes`` or ``studies``, where it stands, genotype or folder)."""
    match value:
        case None:
            return
        case str():
            yield from _named(value, key)
        case Mapping():
            if unknown := [name for name in value if name not in _KEYS]:
                raise ConfigError(
                    f"{key} has a key {unknown[0]!r} that nothing begins with; "
                    f"{suggest(str(unknown[0]), _KEYS)}"
                )
            for name, held in value.items():
                inner = [held] if name == "studies" and isinstance(held, str) else held
                if not isinstance(inner, list) or not inner:
                    raise ConfigError(f"{key}.{name} must be a list of {name}, got {held!r:.80}")
                for place, each in enumerate(inner):
                    at = f"{key}.{name}.{place}"
                    if name == "studies" and not isinstance(each, str):
                        raise ConfigError(f"{at} must be a study's folder, got {each!r:.80}")
                    yield str(name), at, each
        case list():
            for place, each in enumerate(value):
                yield from _entries(each, f"{key}.{place}")
        case _:
            raise ConfigError(
                f"{key} must be a study's folder, a YAML file, {{genotypes: [...]}}, "
                f"{{studies: [...]}}, or a list of these; got {value!r:.80}"
            )


def _named(text: str, key: str) -> Iterator[tuple[str, str, Any]]:
    path = Path(text).expanduser()
    if path.is_dir():
        yield "studies", f"{key}={text}", str(path)
    elif path.is_file():
        held = _read_yaml(path, key)
        held = {"genotypes": held} if isinstance(held, list) else held
        if not isinstance(held, Mapping) or not held:
            raise ConfigError(f"{key}={text} must hold genotypes: a list of them; got {held!r:.80}")
        yield from _entries(held, text)
    else:
        raise ConfigError(
            f"{key}={text} is neither a study's folder nor a YAML file: nothing is there"
        )


def _read_yaml(path: Path, key: str) -> Any:
    try:
        return OmegaConf.to_container(OmegaConf.create(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, YAMLError, OmegaConfBaseException) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{key}={path} cannot be read: {reason:.200}") from error


def _read_study(
    folder: Path, key: str, config: Mapping[str, Any], space: SearchSpace
) -> EarlierStudy:
    """What the study in a folder tells; of it two files are read, and nothing is built."""
    if not (folder / "ledger.jsonl").is_file() or not (folder / "config.yaml").is_file():
        depths = ("*/ledger.jsonl", "*/*/ledger.jsonl")
        inside = sorted(path.parent for depth in depths for path in folder.glob(depth))
        choose = f"; choose one in it: {', '.join(map(short, inside[-3:]))}" if inside else ""
        raise ConfigError(
            f"{key}: {short(folder)} is no study's folder, which needs config.yaml and "
            f"ledger.jsonl{choose}"
        )
    theirs, _ = plain_config(folder / "config.yaml")
    events, _ = read_events(folder / "ledger.jsonl")
    if not events:
        raise LedgerError(f"{key}: {short(folder / 'ledger.jsonl')} is empty")
    state = StudyState.of(events)
    assert state.began is not None
    _check_unit(theirs, config, key)
    outcomes, left_out = outcomes_for(state, space)
    if not outcomes:
        reasons = ", ".join(f"{count:,} {why}" for why, count in left_out.items())
        raise ConfigError(
            f"{key}: no outcome tells anything of this space ({reasons or 'there is none yet'}): "
            f"{compared(state.began.space, space.signature())}"
        )
    return EarlierStudy(
        str(theirs["study"]),
        str(folder.resolve()),
        tuple(outcomes),
        left_out,
        tuple(_differences(theirs, config)),
    )


def _check_unit(theirs: Mapping[str, Any], ours: Mapping[str, Any], key: str) -> None:
    """Refuses rewards that are of another unit."""
    before, now = _unit(theirs), _unit(ours)
    names = [*now, *(name for name in before if name not in now)]
    for name in sorted(names, key=lambda name: not name.startswith("trainer.")):
        if before.get(name) != now.get(name):
            raise ConfigError(
                f"{key}: its rewards are of another unit and cannot be compared with those of this "
                f"study: {name} is {before.get(name, 'absent')} there and "
                f"{now.get(name, 'absent')} here"
            )


def _unit(config: Mapping[str, Any]) -> dict[str, Any]:
    """The keys that say what a reward is, with their values."""
    made_of = {}
    if config.get("scalarization") is not None:
        made_of = {name: config.get(name) for name in ("scalarization", "objectives")}
    return {**_unit_of_trainer(config), **made_of}


def _unit_of_trainer(config: Mapping[str, Any]) -> dict[str, Any]:
    if (named := reward_of_trainer(config)) is not None:
        key, name = named
        table = {"trainer._target_": config["trainer"].get("_target_")} if key == "reward" else {}
        return {**table, f"trainer.{key}": name}
    task = config["task"]
    task = task if isinstance(task, Mapping) else {}
    parts = reward_of_task(config)
    unit = {f"task.reward.{name}": value for name, value in parts.items() if name != "diverged"}
    unit.setdefault("task.reward.scale", 1.0)  # which earlier versions lacked
    if str(parts.get("metric")).endswith("loss"):
        names = ("loss", "label_smoothing", "class_weights")
        unit |= {f"task.{name}": task[name] for name in names if task.get(name) is not None}
        if task.get("normalize_targets"):  # earlier versions, which lacked it, did not
            unit["task.normalize_targets"] = True
    return {"task._target_": task.get("_target_"), **unit}


def _differences(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> Iterator[str]:
    """What their children were trained with that ours are not, in words."""
    for name, (there, here) in differences(theirs, ours).items():
        is_of_children = name.partition(".")[0] in (*CHILD_GROUPS, "evaluation")
        if is_of_children and name not in _CHANGE_NO_REWARD:
            yield f"{name} ({there} there, {here} here)"


def _few(differs: Sequence[str]) -> str:
    more = [f"{len(differs) - _MAX_NAMED} more keys"] if len(differs) > _MAX_NAMED else []
    return ", ".join([*differs[:_MAX_NAMED], *more])
