"""What can go wrong in an export."""

from nasrunner.core.errors import NasRunnerError


class ExportError(NasRunnerError):
    """A network, or a part of it, cannot be written in a form that stands alone."""
