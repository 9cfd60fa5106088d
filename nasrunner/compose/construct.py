"""The composition root: the only place that turns configuration into objects."""

import functools
import inspect
import re
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import get_object, instantiate
from omegaconf import OmegaConf

from nasrunner.children.settings.searched import keys_of
from nasrunner.core.annotations import annotations_of, check_values, fits
from nasrunner.core.errors import ConfigError, NasRunnerError, suggest
from nasrunner.core.language.leaves import hint_of_decision
from nasrunner.core.language.moved import with_present_targets

_DESCRIBED = {"data": ("in_shape", "num_outputs", "in_dtype", "vocabulary")}
"""Key -> what is told of the object there to those who use it, and not necessarily to its class."""

_FULL_KEY = re.compile(r"^full_key: (.+)$", re.MULTILINE)
"""How Hydra says which of the arguments it could not make."""


def construct(config: Mapping[str, Any], key: str, /, *args: object, **runtime: object) -> Any:
    """Builds the object that ``config`` describes with ``_target_`` and its arguments.

    Args:
        config: the configuration of one object.
        key: where it stands, for error messages.
        args: positional arguments known only at run time (an optimizer's parameters).
        runtime: named arguments known only at run time. They never pass through Hydra, which
            would turn dataclasses and dicts into config nodes.

    Raises:
        ConfigError: the target does not import, an argument is not what its annotation asks for, in
            type or range, or the target refuses it; the same of objects among the arguments, also
            of partials once they are called, under the key of the innermost one.
    """
    if OmegaConf.is_config(config):
        config = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    config = _checked(with_present_targets(config), key)
    try:
        factory = instantiate({**config, "_partial_": True, "_convert_": "all"})
    except Exception as error:
        raise _told(error, config, key) from error
    return _called(factory, config, key, args, runtime)


def _called(
    factory: "functools.partial[Any]",
    config: Mapping[str, Any],
    key: str,
    args: Sequence[object],
    runtime: Mapping[str, object],
) -> Any:
    """Makes an object, with partials among its arguments that know their own keys."""
    _check_complete(config, key, args, runtime)
    given = {n: _keyed(v, config.get(n), f"{key}.{n}") for n, v in factory.keywords.items()}
    try:
        return factory(*args, **{**given, **runtime})
    except Exception as error:
        raise _told(error, config, key) from error


def _told(error: Exception, config: Mapping[str, Any], key: str) -> NasRunnerError:
    """What is told of an object at a key that cannot be made."""
    if isinstance(error, NasRunnerError):
        return error  # knows its key
    if not isinstance(error, InstantiationException):
        return ConfigError(f"{key}: {error}")
    if isinstance(cause := error.__cause__, NasRunnerError):
        return cause
    if found := _FULL_KEY.search(str(error)):  # of an object among the arguments
        # Hydra writes the places of lists with no point or in brackets, as its version is.
        bare = re.sub(r"[.\[\]]", "", found[1])
        key = next(
            (f"{key}.{name}" for name in keys_of(config) if name.replace(".", "") == bare), key
        )
    return ConfigError(f"{key}: {cause or error}")


class _Keyed:
    """Makes objects of a class, as a partial does, and says where it is configured if it fails."""

    def __init__(
        self, factory: "functools.partial[Any]", config: Mapping[str, Any], key: str
    ) -> None:
        self.factory = factory
        self.func, self.args, self.keywords = factory.func, factory.args, factory.keywords
        self.config = config
        self.key = key

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(self.factory)

    def __call__(self, *args: object, **runtime: object) -> Any:
        return _called(self.factory, self.config, self.key, args, runtime)


def _keyed(value: Any, config: Any, key: str) -> Any:
    """Has the partials of classes in an argument know their keys; others may be called often."""
    if isinstance(value, functools.partial) and isinstance(config, Mapping):
        return _Keyed(value, config, key) if inspect.isclass(value.func) else value
    if isinstance(value, dict) and isinstance(config, Mapping):
        return {n: _keyed(part, config.get(n), f"{key}.{n}") for n, part in value.items()}
    if isinstance(value, list) and isinstance(config, list):
        pairs = enumerate(zip(value, config, strict=True))
        return [_keyed(part, told, f"{key}.{place}") for place, (part, told) in pairs]
    return value


def _checked(config: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """What an object is built from, once nothing of it or of those within cannot be built."""
    target = config.get("_target_") if isinstance(config, Mapping) else None
    if not isinstance(target, str):
        raise ConfigError(f"{key} needs a _target_, the dotted path of a class; got {config!r}")
    try:
        found = get_object(target)
    except Exception as error:
        reason = _why_no_import(error, target)
        raise ConfigError(f"{key}._target_: cannot import {target!r}: {reason}") from error
    config = _with_tensors(found, _without_described(found, config, key))
    given = {name: value for name, value in config.items() if not name.startswith("_")}
    _check_names(found, given, key)
    if wrong := check_values(found, given):
        name, text = wrong
        raise ConfigError(f"{key}.{name} {text}{_hint(found, f'{key}.{name}', given[name])}")
    if not config.get("_recursive_", True):
        return config
    return {**config, **{name: _within(value, f"{key}.{name}") for name, value in given.items()}}


def _with_tensors(target: Any, config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Describes a tensor in the place of each list of numbers where a class takes one.

    So weights of a loss can be written as they are: ``weight: [1, 5]``.
    """
    annotated = annotations_of(target)

    def tensor(name: str, value: Any) -> Any:
        annotation = annotated.get(name, (Any, None))[0]
        kinds = (annotation, *typing.get_args(annotation))
        takes_tensor = any(f"{each}" == "<class 'torch.Tensor'>" for each in kinds)
        if not (takes_tensor and isinstance(value, list) and fits(value, Sequence[float])):
            return value
        return {"_target_": "torch.tensor", "data": list(map(float, value))}

    return {name: tensor(name, value) for name, value in config.items()}


def _why_no_import(error: Exception, target: str) -> str:
    """Hydra's question whether it is installed, or what the module itself failed at."""
    cause = error.__cause__
    is_missing = isinstance(cause, ModuleNotFoundError) and target.startswith(cause.name or target)
    if cause is None or is_missing:
        return str(error).splitlines()[-1]
    return " ".join(str(cause).split()) or repr(cause)


def _hint(target: Any, key: str, value: Any) -> str:
    """What a value of the wrong kind is likely to have been meant as."""
    if told := hint_of_decision(value):
        return told
    name = key.rpartition(".")[2]
    annotation, _ = annotations_of(target)[name]
    if key.startswith("searcher.") and name == "max_epochs" and value == -1:
        return (
            "; trainer.max_epochs is -1, which it is by default, so that it must be given: "
            f"{key}=null, or a number where the searcher needs one"
        )
    if isinstance(value, str) and typing.get_origin(annotation) is Callable:
        return f"; an option of the group is given as {key.partition('.')[0]}@{key}={value}"
    is_ours = getattr(annotation, "__module__", "").startswith("nasrunner.")
    names = [f"{key}.{name}" for name in annotations_of(annotation)] if is_ours else []
    return f"; it has keys of its own: {', '.join(names)}" if names else ""


def _within(value: Any, key: str) -> Any:
    """What objects among the arguments are built from, likewise checked."""
    if isinstance(value, Mapping):
        if "_target_" in value:
            return _checked(value, key)
        return {name: _within(part, f"{key}.{name}") for name, part in value.items()}
    if isinstance(value, list):
        return [_within(part, f"{key}.{place}") for place, part in enumerate(value)]
    return value


def _without_described(target: Any, config: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Leaves out keys by which a configuration describes an object, where its class takes none."""
    described = _DESCRIBED.get(key, ())
    # What can say itself what it is takes all that describes it.
    if not any(name in config for name in described) or hasattr(target, "guess"):
        return config
    try:
        parameters = inspect.signature(target).parameters
    except (TypeError, ValueError):
        return config
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return config
    return {k: value for k, value in config.items() if k in parameters or k not in described}


def _check_complete(
    config: Mapping[str, Any], key: str, args: Sequence[object], runtime: Mapping[str, object]
) -> None:
    """Refuses a configuration that lacks an argument which its target has no default for."""
    target = get_object(config["_target_"])
    try:
        parameters = list(inspect.signature(target).parameters.values())
    except (TypeError, ValueError):
        return
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    given = {*config, *runtime, *(p.name for p in parameters[: len(args)])}
    for parameter in () if "_args_" in config else named:
        if parameter.default is parameter.empty and parameter.name not in given:
            name = parameter.name
            raise ConfigError(f"{key}: {target.__name__} needs {name!r}: +{key}.{name}=… gives it")


def _check_names(target: Any, given: Mapping[str, Any], key: str) -> None:
    """Refuses an argument that the target does not take, and lists those it takes."""
    try:
        parameters = inspect.signature(target).parameters
    except (TypeError, ValueError):
        return
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    for name in given:
        if name not in parameters:
            raise ConfigError(
                f"{key}.{name}: {target.__name__} takes no {name!r}, {suggest(name, parameters)}"
            )
