"""The composition root: the only place that turns configuration into objects."""

import inspect
from collections.abc import Mapping
from typing import Any

from hydra.utils import get_object, instantiate
from omegaconf import OmegaConf

from nasrunner.core.errors import ConfigError, NasRunnerError, suggest


def construct(config: Mapping[str, Any], key: str, /, *args: object, **runtime: object) -> Any:
    """Builds the object that ``config`` describes with ``_target_`` and its arguments.

    Args:
        config: the configuration of one object.
        key: where it stands, for error messages.
        args: positional arguments known only at run time (an optimizer's parameters).
        runtime: named arguments known only at run time. They never pass through Hydra, which
            would turn dataclasses and dicts into config nodes.

    Raises:
        ConfigError: the target does not import, or refuses the arguments.
    """
    if OmegaConf.is_config(config):
        config = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    target = config.get("_target_") if isinstance(config, Mapping) else None
    if not isinstance(target, str):
        raise ConfigError(f"{key} needs a _target_, the dotted path of a class; got {config!r}")
    try:
        found = get_object(target)
    except (Exception, SystemExit) as error:
        reason = (str(error) or type(error).__name__).splitlines()[-1]
        raise ConfigError(f"{key}._target_: cannot import {target!r}: {reason}") from error
    _check_arguments(found, config, key)
    try:
        factory = instantiate({**config, "_partial_": True, "_convert_": "all"})
        return factory(*args, **runtime)
    except NasRunnerError:
        raise  # knows its key
    except (TypeError, ValueError, ImportError) as error:
        raise ConfigError(f"{key}: {error}") from error
    except Exception as error:
        cause = error.__cause__ or error
        raise ConfigError(f"{key}: {cause}") from error


def _check_arguments(target: Any, config: Mapping[str, Any], key: str) -> None:
    """Refuses an argument that the target does not take, and lists those it takes."""
    try:
        parameters = inspect.signature(target).parameters
    except (TypeError, ValueError):
        return
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    for name in config:
        if not name.startswith("_") and name not in parameters:
            raise ConfigError(
                f"{key}.{name}: {target.__name__} takes no {name!r}, {suggest(name, parameters)}"
            )
