"""What a searcher around another one can take of it: trainings from first weights to their ends."""

from collections.abc import Callable

from nasrunner.core.errors import ConfigError
from nasrunner.core.records import Proposal
from nasrunner.core.searcher import Searcher
from nasrunner.core.space import Space

_LEGAL = "legal are searchers of plain trainings"


def inner_searcher(searcher: Callable[..., Searcher], space: Space, seed: int) -> Searcher:
    """Makes the inner searcher.

    Raises:
        ValueError: it proposes estimates, as a wrapper does.
    """
    inner = searcher(space=space, seed=seed)
    if inner.proposes_estimates:
        raise ValueError(
            f"searcher must propose trainings alone, and {type(inner).__name__} has children "
            f"estimated, too; {_LEGAL}"
        )
    return inner


def check_plain(proposal: Proposal, inner: Searcher, why: str) -> None:
    """Refuses what is no training from first weights to its end.

    Args:
        proposal: of the inner searcher.
        inner: it.
        why: what cannot be done with such a proposal: ``which …``.

    Raises:
        ConfigError: it is none.
    """
    if proposal.is_plain:
        return
    raise ConfigError(
        f"searcher.searcher: {type(inner).__name__} proposes what is no training from its first "
        f"weights to its end ({proposal.beyond_plain}), {why}; {_LEGAL}"
    )
