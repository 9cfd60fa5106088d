"""The shape of images that a data module resizes."""

import pkgutil
from collections.abc import Mapping
from typing import Any

from nasrunner.core import InShape
from nasrunner.core.annotations import takes


def at_resolution(in_shape: InShape, data: Mapping[str, Any]) -> InShape:
    """Returns the shape of one example as a data module serves it: of images, as resized.

    Args:
        in_shape: as of ``data.in_shape``, or of another resolution.
        data: the module's configuration, whose ``resolution`` counts.
    """
    resolution = data.get("resolution")
    if type(resolution) is not int or not resizes_images(data):
        return in_shape
    if not isinstance(in_shape, tuple) or len(in_shape) != 3:
        return in_shape  # which the data module refuses
    return in_shape[0], resolution, resolution


def resizes_images(data: Mapping[str, Any]) -> bool:
    """Tells whether the data module of a configuration takes ``resolution`` as ours do."""
    try:
        target = pkgutil.resolve_name(str(data["_target_"]))
    except Exception:  # told where it is built
        return False
    return bool(getattr(target, "resizes_images", False)) and takes(data, "resolution")
