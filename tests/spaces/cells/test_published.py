"""The spaces of cells: their sizes, and the parameters of networks that papers have published."""

import dataclasses

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from nasrunner.children.networks import SpaceNetworks
from nasrunner.core import SearchSpace
from nasrunner.spaces.language.parsing import parse_space
from tests.spaces.cells.published import (
    DARTS_V1,
    DARTS_V2,
    ENAS_MICRO,
    NASNET_A,
    PNASNET_5,
    genotype_of,
)
from tests.spaces.enumeration import enumerate_genotypes
from tests.spaces.test_shipped import FOLDER, load

IMAGE = (3, 32, 32)


def changed(name: str, *overrides: str) -> SearchSpace:
    """A shipped space with other values in its stack of cells."""
    within = [f"space.concat.0.cell_stack.{each}" for each in overrides]
    with initialize_config_dir(str(FOLDER.parent), version_base="1.3"):
        config = compose(overrides=[f"+space={name}", "+data={num_outputs: 10}", *within])
    return parse_space(OmegaConf.to_container(config.space, resolve=True))


def parameters(frozen) -> int:
    with torch.device("meta"):
        network, _ = frozen.build(IMAGE)
    return sum(each.numel() for each in network.parameters())


def with_outputs(frozen: SearchSpace, **outputs: tuple[int, ...]) -> SearchSpace:
    stack, *others = frozen.network.modules
    cells = {
        name: dataclasses.replace(getattr(stack, name), outputs=numbers)
        for name, numbers in outputs.items()
    }
    modules = (dataclasses.replace(stack, **cells), *others)
    return dataclasses.replace(frozen, network=dataclasses.replace(frozen.network, modules=modules))


# Liu et al. 2019, section 3.1.1: the product over nodes of C(k, 2) * 7^2, about 10^9 cells
def test_darts_has_as_many_cells_as_its_paper_counts() -> None:
    cells = (1 * 7**2) * (3 * 7**2) * (6 * 7**2) * (10 * 7**2)
    assert f"{cells:.3g}" == "1.04e+09"
    assert load("darts_cnn").size() == cells**2


# Pham et al. 2018, section 3.2
def test_enas_macro_has_as_many_networks_as_its_paper_counts() -> None:
    assert load("enas_macro").size() == 6**12 * 2**66


# Section 2.4 there counts (5 * 5!)^4 = 1.3e11 pairs of cells, as if a node chose its two inputs in
# one order alone and one operation for both; a node of the authors' code makes four decisions.
def test_enas_micro_has_two_inputs_and_two_operations_for_each_node() -> None:
    of_a_cell = 1
    for earlier in range(2, 7):
        of_a_cell *= (earlier * 5) ** 2
    assert load("enas_micro").size() == of_a_cell**2
    assert f"{(5 * 120) ** 4:.2g}" == "1.3e+11"


# Liu et al. 2018, section 3.1: B_1 = 2^2 * 8^2 = 256, of which 136 differ
def test_pnas_has_136_different_cells_of_one_block() -> None:
    space = changed("pnas", "normal.block_cell.blocks=1")
    genotypes = list(enumerate_genotypes(space))
    assert len(genotypes) == space.size() == 256
    networks = SpaceNetworks(space, IMAGE, "float32", identifies=True)
    assert len({networks.identity(genotype) for genotype in genotypes}) == 136


# The same: about 10^14 cells of five blocks, equal ones among them
def test_cells_of_one_to_five_blocks_are_one_space_of_pnas() -> None:
    by_blocks = [1]
    for earlier in range(2, 7):
        by_blocks.append(by_blocks[-1] * (earlier * 8) ** 2)
    assert f"{by_blocks[5]:.1g}" == "6e+14"
    assert load("pnas").size() == sum(by_blocks[1:])


# 13 operations, and a sum or a concatenation for each block: Zoph et al. 2018, section 3.2
def test_nasnet_chooses_among_13_operations() -> None:
    of_a_cell = 1
    for earlier in range(2, 7):
        of_a_cell *= (earlier * 13) ** 2 * 2
    assert load("nasnet").size() == of_a_cell**2


# 20 cells of 36 filters: 3.3M in table 1 of the paper, of DARTS_V2 3.349342M in the authors' code
@pytest.mark.parametrize(("cells", "count"), [(DARTS_V1, 3_169_414), (DARTS_V2, 3_349_342)])
def test_darts_has_the_parameters_of_its_paper(cells, count: int) -> None:
    space = changed("darts_cnn", "times=6", "filters=36")
    normal, reduction = cells
    frozen = space.freeze(genotype_of(space, normal=normal, reduction=reduction))
    assert parameters(frozen) == count
    assert len(frozen.network.modules[0].cells) == 20


# NASNet-A (6 @ 768), table 1 of Zoph et al. 2018: 3.3M. Their code stacks value 0 of a normal cell
# and value 3 of a reduction cell, too, though blocks take them: so 6 * 128 = 768 maps go out
def test_nasnet_a_has_the_parameters_of_its_paper() -> None:
    space = changed("nasnet", "times=6", "filters=32")
    normal, reduction = NASNET_A
    loose = space.freeze(genotype_of(space, normal=normal, reduction=reduction))
    frozen = with_outputs(loose, normal=(0, 2, 3, 4, 5, 6), reduction=(3, 4, 5, 6))
    assert frozen.network.modules[0].build(IMAGE)[1] == (768, 8, 8)
    assert round(parameters(frozen) / 1e6, 1) == 3.3


# N = 3, F = 48: 3.2M in table 2 of Liu et al. 2018
def test_pnasnet_5_has_the_parameters_of_its_paper() -> None:
    space = changed("pnas", "times=3", "filters=48")
    frozen = space.freeze(genotype_of(space, normal=PNASNET_5))
    assert len(frozen.network.modules[0].cells) == 9
    assert round(parameters(frozen) / 1e6, 1) == 3.2


# The paper prints 4.6M. Ours has 3.7M: its code has a second 1x1 convolution in front of each cell
# (0.2M) and counts the auxiliary tower (0.5M); 0.2M are not explained
def test_enas_micro_has_fewer_parameters_than_its_paper_prints() -> None:
    space = changed("enas_micro", "times=5", "filters=36")
    normal, reduction = ENAS_MICRO
    frozen = space.freeze(genotype_of(space, normal=normal, reduction=reduction))
    assert len(frozen.network.modules[0].cells) == 17
    assert parameters(frozen) == 3_729_430
