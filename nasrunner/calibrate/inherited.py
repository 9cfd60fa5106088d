"""What the first epochs say of children that begin with weights which others have trained."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from nasrunner.calibrate.cheaper import (
    config_again,
    given_architectures,
    name_of,
    trained_again,
)
from nasrunner.calibrate.ranking import CheapRanking
from nasrunner.calibrate.studies import Studies
from nasrunner.compose.config import shipped_option
from nasrunner.core.machine.child_folder import ChildFolder
from nasrunner.core.records import Outcome

FOLDER = "inherited"
"""Where in the folder of a study its children's trainings with inherited weights lie."""

_PAUSES = "nasrunner.searchers.wrappers.asha.Asha"


def trained_with_inherited(
    epochs: int,
    config: dict[str, Any],
    folder: Path,
    sample: Sequence[Outcome],
    studies: Studies,
) -> tuple[str, CheapRanking]:
    """Trains the children once more for some epochs, with weights of those before them.

    It is what ``searcher=asha`` around ``searcher=inheriting`` does at its first rung, in a study
    of its own: in the order of the sample each child begins with weights of earlier children, that
    were themselves trained for so many epochs with what they inherited. So nobody begins with its
    own weights or with those of a full training, and all that is spent counts. Nobody is promoted,
    and nobody has a parent, since the sample is random; children that other workers still train
    lend nothing.

    Args:
        epochs: after which each is paused.
        config: the study's whose children they are.
        folder: its folder.
        sample: the children.
        studies: runs studies, and is told what is unusual.
    """
    asked = "until", float(epochs)
    searcher = {
        "_target_": _PAUSES,
        "searcher": {
            **shipped_option("searcher", "inheriting"),
            "_partial_": True,
            "searcher": {**given_architectures(sample, {}), "_partial_": True},
        },
        "num_brackets": 1,
        "eta": len(sample) + 1,  # of so many one would go on
        "rungs": [epochs],
        "min_epochs": 1,
        "max_epochs": None,
        "fidelity": None,
    }
    name = f"inherited {name_of(asked)}"
    again = config_again(config, searcher, len(sample), f"inherited-{name_of(asked)}")
    own = folder / FOLDER / name_of(asked)
    found, outcomes = trained_again(again, own, folder, sample, studies, asked)
    for each in outcomes:  # nobody goes on, and nobody is still to inherit
        ChildFolder.of(own, each.proposal.index).remove_checkpoints()
    if not any(each.metrics.get("inherited_tensors") for each in outcomes):
        studies.tell(f"{name}: no weights of a child fit another, and all began with their own")
    return name, replace(found, inherits=True)
