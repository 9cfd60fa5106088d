from collections import Counter

from nasrunner.searchers.sampling.random import RandomSearch
from tests.searchers.worlds import load_space


def test_every_option_is_equally_likely() -> None:
    searcher = RandomSearch(space=load_space("nasbench_macro"), seed=0)
    counts: Counter[tuple[str, int]] = Counter()
    for _ in range(900):
        proposal = searcher.propose()
        assert proposal is not None
        counts.update(proposal.genotype.items())
    assert len(counts) == 8 * 3
    # 900 draws of 1/3: mean 300, standard deviation 14.1; 24 counts stay within 4 of them
    assert all(abs(count - 300) < 57 for count in counts.values())
