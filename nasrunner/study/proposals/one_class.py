"""Whether a study's children answer one class alone, so that their rewards say nothing of them."""

import math
from collections.abc import Iterable

from nasrunner.core.records import Outcome

_SHARE = "val_one_class"
"""The metric of a child whose answers were all one class, of ``children.evaluating``."""


def about_one_class(outcomes: Iterable[Outcome]) -> str:
    """Says that every child answers one class for all examples; empty where one does not.

    Args:
        outcomes: of a study.
    """
    trained = [each for each in outcomes if each.reward is not None and each.reused_from is None]
    shares = [each.metrics[_SHARE] for each in trained if _SHARE in each.metrics]
    if not trained or len(shares) < len(trained):
        return ""
    pairs = zip(trained, shares, strict=True)
    is_reward = all(math.isclose(o.reward or 0.0, share, rel_tol=1e-6) for o, share in pairs)
    share = f"{max(shares):.6g}"
    told = (
        "every child answers one and the same class for all validation examples, and "
        f"{share} of them are of it"
    )
    means = "the reward is that share and" if is_reward else "the reward"
    return (
        f"{told}: {means} says nothing of architectures; longer trainings, or of unequal classes "
        "task.class_weights=balanced, may tell them apart"
    )
