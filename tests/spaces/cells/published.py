"""Cells that papers have published, as genotypes of the shipped spaces.

A block is written as two (operation, value) pairs; values are numbered as in ``block_graph``.
"""

from collections.abc import Sequence

from nasrunner.core import Genotype, SearchSpace

Block = tuple[tuple[str, int], tuple[str, int]]

SKIP, MAX, AVERAGE = "skip_connect", "max_pool_3x3", "avg_pool_3x3"
SEP_3, SEP_5, SEP_7, DIL_3 = "sep_conv_3x3", "sep_conv_5x5", "sep_conv_7x7", "dil_conv_3x3"

# Liu et al. 2019, arXiv:1806.09055, figures 4 and 5, and cnn/genotypes.py of the authors' code
DARTS_V1 = (
    [
        ((SEP_3, 0), (SEP_3, 1)),
        ((SKIP, 0), (SEP_3, 1)),
        ((SKIP, 0), (SEP_3, 1)),
        ((SEP_3, 0), (SKIP, 2)),
    ],
    [
        ((MAX, 0), (MAX, 1)),
        ((MAX, 0), (SKIP, 2)),
        ((MAX, 0), (SKIP, 2)),
        ((AVERAGE, 0), (SKIP, 2)),
    ],
)
DARTS_V2 = (
    [
        ((SEP_3, 0), (SEP_3, 1)),
        ((SEP_3, 0), (SEP_3, 1)),
        ((SKIP, 0), (SEP_3, 1)),
        ((SKIP, 0), (DIL_3, 2)),
    ],
    [
        ((MAX, 0), (MAX, 1)),
        ((MAX, 1), (SKIP, 2)),
        ((MAX, 0), (SKIP, 2)),
        ((MAX, 1), (SKIP, 2)),
    ],
)

# Pham et al. 2018, arXiv:1802.03268, figure 8: scripts/cifar10_micro_final.sh of the authors' code
_ENAS = (SEP_3, SEP_5, AVERAGE, MAX, "identity")
ENAS_MICRO = tuple(
    [((_ENAS[first], source), (_ENAS[second], other)) for source, first, other, second in cell]
    for cell in (
        [(0, 2, 0, 0), (0, 4, 0, 1), (0, 4, 1, 1), (1, 0, 0, 1), (0, 2, 1, 1)],
        [(1, 0, 1, 0), (0, 3, 0, 2), (1, 1, 3, 1), (1, 0, 0, 4), (0, 3, 1, 1)],
    )
)

# Zoph et al. 2018, arXiv:1707.07012, figure 4
NASNET_A = (
    [
        ((SEP_5, 1), (SEP_3, 0)),
        ((SEP_5, 0), (SEP_3, 0)),
        ((AVERAGE, 1), ("identity", 0)),
        ((AVERAGE, 0), (AVERAGE, 0)),
        ((SEP_3, 1), ("identity", 1)),
    ],
    [
        ((SEP_5, 1), (SEP_7, 0)),
        ((MAX, 1), (SEP_7, 0)),
        ((AVERAGE, 1), (SEP_5, 0)),
        (("identity", 3), (AVERAGE, 2)),
        ((SEP_3, 2), (MAX, 1)),
    ],
)

# Liu et al. 2018, arXiv:1712.00559, figure 1
PNASNET_5 = [
    ((SEP_5, 0), (MAX, 0)),
    ((SEP_7, 1), (MAX, 1)),
    ((SEP_5, 1), (SEP_3, 1)),
    ((SEP_3, 4), (MAX, 1)),
    ((SEP_3, 0), ("identity", 1)),
]


def genotype_of(space: SearchSpace, **cells: Sequence[Block]) -> Genotype:
    """The genotype of a space's network with these cells.

    Args:
        space: with one ``cell_stack``; sums for the combinations that it asks.
        cells: ``normal`` and ``reduction``, or the former alone.
    """

    def choose(decision):
        path = decision.path.split("/")
        blocks = cells[path[2]]
        if path[4] == "blocks":
            return decision.options.index(len(blocks))
        block = blocks[int(path[4]) - 2]
        if path[-1] == "combine":
            return decision.options.index("add")
        if path[-2:] == [path[4], "from"]:
            return decision.options.index(",".join(str(source) for _, source in block))
        if path[-1] == "from":
            return decision.options.index(block[path[5] == "right"][1])
        if path[5] in ("left", "right"):
            return decision.options.index(block[path[5] == "right"][0])
        (operation,) = [name for name, source in block if source == int(path[5])]
        return decision.options.index(operation)

    return space.walk(choose)
