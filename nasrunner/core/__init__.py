"""What every part agrees on: spaces, decisions, proposals, outcomes, searchers, ports and errors.

Only the standard library and numpy may be imported here.
"""

from nasrunner.core.decision import Address, Choose, Decision, Genotype, OneOf, genotype_hash
from nasrunner.core.errors import (
    ConfigError,
    DataError,
    LedgerError,
    LostFileError,
    MachineError,
    NasRunnerError,
    SpaceError,
)
from nasrunner.core.ports import (
    Blueprint,
    ChildTrainer,
    Executor,
    Hear,
    Inspect,
    OneByOne,
    Policy,
    StudyInfo,
    Summary,
    Tracker,
    Train,
)
from nasrunner.core.records import (
    Kind,
    KnownOutcome,
    Outcome,
    Proposal,
    Report,
    Source,
    Status,
    child_folder,
)
from nasrunner.core.search_space import SearchSpace
from nasrunner.core.searcher import Searcher
from nasrunner.core.shapes import InShape, Shape
from nasrunner.core.space import Space

__all__ = [
    "Address",
    "Blueprint",
    "ChildTrainer",
    "Choose",
    "ConfigError",
    "DataError",
    "Decision",
    "Executor",
    "Genotype",
    "Hear",
    "InShape",
    "Inspect",
    "Kind",
    "KnownOutcome",
    "LedgerError",
    "LostFileError",
    "MachineError",
    "NasRunnerError",
    "OneByOne",
    "OneOf",
    "Outcome",
    "Policy",
    "Proposal",
    "Report",
    "SearchSpace",
    "Searcher",
    "Shape",
    "Source",
    "Space",
    "SpaceError",
    "Status",
    "StudyInfo",
    "Summary",
    "Tracker",
    "Train",
    "child_folder",
    "genotype_hash",
]
