"""Seeds that follow from others: every one of them is 32 bits, as Lightning takes them."""

import hashlib
import json
from collections.abc import Mapping

import numpy as np


def child_seed(study_seed: int, genotype: Mapping[str, int], repetition: int) -> int:
    """Returns the seed of a child's training: the same for the same child of any searcher's study.

    Args:
        study_seed: the study's.
        genotype: the child's architecture and hyperparameters.
        repetition: how often the study has proposed it before.
    """
    text = json.dumps(sorted(genotype.items()))
    identity = int.from_bytes(hashlib.sha256(text.encode()).digest()[:16])
    return derived_seed(study_seed, identity, repetition, kind=2)


def baseline_seed(study_seed: int) -> int:
    """Returns the seed of the searcher that runs beside a study.

    It is another one, or a searcher that starts at random would propose the same children.
    """
    return int(np.random.SeedSequence([study_seed, 1]).generate_state(1)[0])


def derived_seed(seed: int, *numbers: int, kind: int) -> int:
    """Returns a seed that depends on another and on numbers, and differs between kinds of use."""
    sequence = np.random.SeedSequence([seed, *numbers], spawn_key=(kind,))
    return int(sequence.generate_state(1)[0])
