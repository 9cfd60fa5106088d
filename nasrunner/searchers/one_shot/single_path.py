"""Single-path one-shot search: a supernet, a search among its networks, and the best trained."""

from collections.abc import Callable, Mapping

from nasrunner.core.annotations import Count, Seed
from nasrunner.core.ports import Policy
from nasrunner.core.searcher import Searcher
from nasrunner.core.space import Space
from nasrunner.searchers.one_shot.paths import FairPaths, UniformPaths
from nasrunner.searchers.one_shot.supernet_search import SupernetSearch


class SinglePathOneShot(SupernetSearch):
    """Trains one supernet, has another searcher search its networks, and trains the best anew.

    Guo et al. 2019, arXiv:1904.00420: at each step of the supernet one network of the space is
    drawn and trained with the weights that all share; then networks are estimated with these
    weights, without training, and a searcher learns the estimates; evolution in the paper, random
    search in Li & Talwalkar 2019, arXiv:1902.07638, section 3. The best estimates are trained from
    first weights like any other child, and these rewards are the study's.

    Differs from the papers: several networks are trained in the end, not the best estimate alone;
    the inner searcher is any one, and the evolution of ``searcher=spos`` proposes one child after
    the other (Real et al. 2019) instead of generations with crossover.

    Args:
        searcher: makes the inner one from ``space=`` and ``seed=``; it searches the supernet.
        num_estimates: how many of its proposals are estimated.
        num_trained: how many of them are trained from first weights, the best ones, each network
            once; at most ``num_estimates``.
        supernet: the settings that the supernet is trained with instead of a child's: dotted keys
            of its configuration -> numbers, such as ``trainer.max_epochs``; None: there are none.
        is_fair: whether the options of a decision are drawn equally often, see ``FairPaths``;
            False: each draw is independent, as in the paper.

    Raises:
        ValueError: ``num_trained`` is larger than ``num_estimates``, or the inner searcher proposes
            more than plain trainings or watches children while they train.
    """

    def __init__(
        self,
        *,
        searcher: Callable[..., Searcher],
        num_estimates: Count,
        num_trained: Count,
        supernet: Mapping[str, float] | None,
        is_fair: bool,
        space: Space,
        seed: Seed,
    ) -> None:
        super().__init__(
            searcher=searcher,
            num_estimates=num_estimates,
            num_trained=num_trained,
            supernet=supernet,
            space=space,
            seed=seed,
        )
        self.is_fair = is_fair

    def policy(self) -> Policy:
        return FairPaths(self.space) if self.is_fair else UniformPaths(self.space)
