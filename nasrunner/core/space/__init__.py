"""Spaces: the contract of their modules, and what is asked, resolved and counted in them."""

from nasrunner.core.shapes import Shape
from nasrunner.core.space.arguments import (
    argument_names,
    argument_types,
    content_field,
    is_module_type,
    is_modules_type,
)
from nasrunner.core.space.asking import (
    overrides_alone,
    questions_of,
    questions_of_value,
    questions_opened,
)
from nasrunner.core.space.beside import Addition, Beside, beside
from nasrunner.core.space.built import Built, made_by, place_within, recorded, within
from nasrunner.core.space.choice import Choice, Relaxed, choices_in, mixes_in, relaxed
from nasrunner.core.space.growing import additions, grown, smallest
from nasrunner.core.space.keeping import KeepsAll, Kept, opened
from nasrunner.core.space.listing import decisions_of_value, most_modules_of_value, size_of_value
from nasrunner.core.space.living import Pruning, living
from nasrunner.core.space.options import are_numbers, is_zero, modules_of, passes_on
from nasrunner.core.space.part import enter
from nasrunner.core.space.scheduled import schedules_of_value, value_at_proposal
from nasrunner.core.space.space import Space, resolve_module, resolve_value
from nasrunner.core.space.widths import declares_widths, narrowed

__all__ = [
    "Addition",
    "Beside",
    "Built",
    "Choice",
    "KeepsAll",
    "Kept",
    "Pruning",
    "Relaxed",
    "Shape",
    "Space",
    "additions",
    "are_numbers",
    "argument_names",
    "argument_types",
    "beside",
    "choices_in",
    "content_field",
    "decisions_of_value",
    "declares_widths",
    "enter",
    "grown",
    "is_module_type",
    "is_modules_type",
    "is_zero",
    "living",
    "made_by",
    "mixes_in",
    "modules_of",
    "most_modules_of_value",
    "narrowed",
    "opened",
    "overrides_alone",
    "passes_on",
    "place_within",
    "questions_of",
    "questions_of_value",
    "questions_opened",
    "recorded",
    "relaxed",
    "resolve_module",
    "resolve_value",
    "schedules_of_value",
    "size_of_value",
    "smallest",
    "value_at_proposal",
    "within",
]
