"""What a walk through a space costs, beside drawing from an equivalent space of other libraries.

    OMP_NUM_THREADS=1 python benchmarks/space_walk.py

For every shipped space: microseconds of processor time a decision that a walk takes above the
policy's own time, median of repetitions, those of a random draw with numpy's generator, and those
of one of 100 draws in one call, as surrogates make them; and the milliseconds in which a random
architecture for images of 3x32x32 is inspected (size, operations and text, without a drawing), mean
of 100 after the first 50, valid ones alone. Then one space of six decisions with five options each,
NAS-Bench-201's, drawn at random by nasrunner, Optuna (``RandomSampler``, a study in memory: ask and
six ``suggest_categorical``), PyGlove (``random_dna``) and NePS (its uniform sampler), as a ratio to
nasrunner in the same run; a library that is not installed is left out: ``pip install pyglove
neural-pipeline-search``.
"""

import argparse
import itertools
import time
from collections.abc import Callable
from statistics import fmean, median

import numpy as np
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from nasrunner.children.inspecting import draw_up
from nasrunner.compose.config import config_dir
from nasrunner.core import Decision, SearchSpace, SpaceError
from nasrunner.core.order import rollout, rollouts
from nasrunner.spaces.language.parsing import parse_space
from nasrunner.spaces.pictures.drawing import draw

NUM_DECISIONS, OPTIONS = 6, ("none", "skip", "conv1", "conv3", "pool")


def load_space(name: str) -> SearchSpace:
    """A shipped space, for ten classes of small images."""
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        config = compose(f"space/{name}", ["+data={num_outputs: 10, in_shape: [1, 8, 8]}"])
    return parse_space(OmegaConf.to_container(config.space, resolve=True))


def cpu_us(call: Callable[[], object], count: int, repetitions: int) -> float:
    """Microseconds of processor time of a call, the median of repetitions."""
    call()
    found = []
    for _ in range(repetitions):
        start_s = time.process_time()
        for _ in range(count):
            call()
        found.append(1e6 * (time.process_time() - start_s) / count)
    return median(found)


def walk_us(name: str, count: int, repetitions: int) -> tuple[float, float, float, float]:
    """Decisions of an average walk; microseconds of one: walked, drawn alone and among 100."""
    space, rng = load_space(name), np.random.default_rng(0)
    draws = itertools.cycle(rng.random(10_007).tolist())
    asked: list[Decision] = []

    def choose(decision: Decision) -> int:
        return int(next(draws) * len(decision.options))

    def remember(decision: Decision) -> int:
        asked.append(decision)
        return choose(decision)

    for _ in range(500):  # what is made once is made
        space.walk(remember)
    num_decisions = len(asked) / 500
    kept = asked[: max(1, round(num_decisions))]
    own_us = cpu_us(lambda: [choose(decision) for decision in kept], count, repetitions) / len(kept)
    walked_us = cpu_us(lambda: space.walk(choose), count, repetitions) / num_decisions
    drawn_us = cpu_us(lambda: rollout(space, rng), count, repetitions) / num_decisions
    together_us = cpu_us(lambda: rollouts(space, rng, 100), max(1, count // 100), repetitions)
    return num_decisions, walked_us - own_us, drawn_us, together_us / num_decisions / 100


def inspect_ms(name: str) -> float | None:
    """Milliseconds to inspect an architecture; None for those of tokens."""
    space, rng = load_space(name), np.random.default_rng(1)
    taken_s: list[float] = []
    for position in range(150):
        genotype = rollout(space, rng)
        start_s = time.process_time()
        try:
            draw_up(space, genotype, (3, 32, 32), 10, draw)
        except SpaceError:
            continue
        if position >= 50:
            taken_s.append(time.process_time() - start_s)
    return 1e3 * fmean(taken_s) if taken_s else None


def ours() -> Callable[[], object]:
    """Draws cells of NAS-Bench-201."""
    space, rng = load_space("nasbench201"), np.random.default_rng(0)
    return lambda: rollout(space, rng)


def optunas() -> Callable[[], object]:
    """Asks a study, and tells it a value."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))

    def draw() -> object:
        trial = study.ask()
        found = {f"{n}": trial.suggest_categorical(f"{n}", OPTIONS) for n in range(NUM_DECISIONS)}
        study.tell(trial, 0.0)
        return found

    return draw


def pygloves() -> Callable[[], object]:
    """Draws DNA."""
    import random

    import pyglove as pg

    space = pg.dna_spec(pg.Dict({f"{n}": pg.oneof(list(OPTIONS)) for n in range(NUM_DECISIONS)}))
    rng = random.Random(0)
    return lambda: pg.random_dna(space, rng)


def nepss() -> Callable[[], object]:
    """Samples the unit cube and decodes."""
    from neps.sampling import Sampler
    from neps.space import ConfigEncoder, HPOCategorical

    names = map(str, range(NUM_DECISIONS))
    encoder = ConfigEncoder.from_parameters({name: HPOCategorical(OPTIONS) for name in names})
    sampler = Sampler.uniform(ndim=NUM_DECISIONS)
    return lambda: sampler.sample_config(encoder)


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1000, help="walks of each repetition")
    parser.add_argument("--repetitions", type=int, default=5)
    given = parser.parse_args()
    print(
        f"{'space':26s}{'decisions':>10s}{'walk, us':>10s}{'random, us':>12s}{'of 100, us':>12s}"
        f"{'inspect, ms':>13s}"
    )
    for name in sorted(path.stem for path in (config_dir() / "space").glob("*.yaml")):
        found = walk_us(name, max(20, given.count // 10), given.repetitions)
        inspected = inspect_ms(name)
        shown = "–" if inspected is None else f"{inspected:.2f}"
        print(
            f"{name:26s}{found[0]:10.1f}{found[1]:10.2f}{found[2]:12.2f}{found[3]:12.2f}{shown:>13s}"
        )
    print("\nsix decisions of five options, a random draw")
    reference_us = 0.0
    for name, make in (
        ("nasrunner", ours), ("Optuna", optunas), ("PyGlove", pygloves), ("NePS", nepss)
    ):  # fmt: skip
        try:
            draw = make()
        except ImportError as error:
            print(f"{name:12s} left out: {error}")
            continue
        found_us = cpu_us(draw, given.count, given.repetitions)
        reference_us = reference_us or found_us
        print(f"{name:12s}{found_us:10.1f} us   {found_us / reference_us:8.1f} times nasrunner")


if __name__ == "__main__":
    main()
