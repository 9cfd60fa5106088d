"""How well n-grams of modules rank a study's children, beside features that n-grams leave out.

    nasrunner experiment=deeparchitect_digits searcher=random seed=100 max_children=200
    python benchmarks/ngram_features.py outputs/random-deepconv_digits/<time>

Of a study of random children, some are drawn to fit a regression and the others are ranked by it,
200 times: Spearman's rank correlation of prediction and reward, its mean, and the mean reward of
the child that is predicted best among 50, as SMBO proposes one. ``n-grams`` is
nasrunner.searchers.surrogates.ngrams with the penalty given; the others are ridge regressions with
penalty 1
on the decisions' answers and their squares: of the training settings, of the network, of both.

The rewards' scale has no part in any of it: predictions of a ridge regression are linear in them.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf
from scipy.stats import spearmanr  # type: ignore[import-untyped]  # ships no types

from nasrunner.compose.launch import build_space
from nasrunner.core import Genotype, SearchSpace
from nasrunner.searchers.surrogates.ngrams import NgramRidge, ridge
from nasrunner.study.ledger import read_events

Fitted = Callable[[Sequence[Genotype], np.ndarray, Sequence[Genotype]], np.ndarray]
"""Predictions for the third, from genotypes and their rewards."""


def recorded(folder: Path) -> tuple[SearchSpace, list[Genotype], np.ndarray]:
    """A study's space, and its completed children with their rewards."""
    config: Any = OmegaConf.to_container(OmegaConf.load(folder / "config.yaml"))
    events, _ = read_events(folder / "ledger.jsonl")
    genotypes = {e["index"]: e["genotype"] for e in events if e["event"] == "proposed"}
    rewards = {
        e["index"]: e["reward"]
        for e in events
        if e["event"] == "outcome" and e["status"] == "completed"
    }
    space = build_space({str(key): value for key, value in config.items()})
    return space, [genotypes[index] for index in rewards], np.array(list(rewards.values()))


def ngrams(space: SearchSpace, penalty: float) -> Fitted:
    """DeepArchitect's surrogate."""

    def fitted(
        known: Sequence[Genotype], rewards_N: np.ndarray, others: Sequence[Genotype]
    ) -> np.ndarray:
        surrogate = NgramRidge(max_length=4, min_occurrences=3, penalty=penalty, space=space)
        surrogate.fit(known, rewards_N, np.random.default_rng(0))
        return surrogate.predict(others)[0]

    return fitted


def decisions(space: SearchSpace, asked: Callable[[str], bool]) -> Fitted:
    """Ridge regression on the answers to the decisions whose path is asked for."""

    def fitted(
        known: Sequence[Genotype], rewards_N: np.ndarray, others: Sequence[Genotype]
    ) -> np.ndarray:
        asked_for = {p: len(options) - 1 for p, options in space.signature().items() if asked(p)}
        both = []
        for each in (known, others):
            answers_ND = np.array([[g.get(p, -1) for p in asked_for] for g in each], dtype=float)
            is_inactive_ND = answers_ND < 0
            scaled_ND = answers_ND / np.array(list(asked_for.values()))
            scaled_ND[is_inactive_ND] = 0.5
            both.append(np.hstack([scaled_ND, (scaled_ND - 0.5) ** 2, is_inactive_ND]))
        mean_F = both[0].mean(axis=0)
        weights_F = ridge(both[0] - mean_F, rewards_N - rewards_N.mean(), 1.0)
        predicted_N: np.ndarray = (both[1] - mean_F) @ weights_F
        return predicted_N

    return fitted


def is_setting(path: str) -> bool:
    """Whether a decision is of training, not of the network."""
    return path.startswith("hyperparameters/")


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="a study's folder")
    parser.add_argument("--fitted", type=int, nargs="+", default=[16, 32, 63])
    parser.add_argument("--repetitions", type=int, default=200)
    arguments = parser.parse_args()
    space, genotypes, rewards_N = recorded(arguments.folder)
    surrogates = {
        "n-grams, penalty 1000": ngrams(space, 1000.0),
        "n-grams, penalty 10": ngrams(space, 10.0),
        "n-grams, penalty 0.1": ngrams(space, 0.1),
        "the network's decisions": decisions(space, lambda path: not is_setting(path)),
        "training settings": decisions(space, is_setting),
        "both": decisions(space, lambda path: True),
    }
    print(f"{len(genotypes)} children, mean reward {rewards_N.mean():.3f}\n")
    columns = [f"{n} fitted: rank correlation | best of 50" for n in arguments.fitted]
    print(f"| features | {' | '.join(columns)} |\n|---|{'---|---|' * len(columns)}")
    for name, surrogate in surrogates.items():
        cells = []
        for num_fitted in arguments.fitted:
            found = []
            for seed in range(arguments.repetitions):
                order_N = np.random.default_rng(seed).permutation(len(genotypes))
                known, others = order_N[:num_fitted], order_N[num_fitted:]
                predicted = surrogate(
                    [genotypes[i] for i in known], rewards_N[known], [genotypes[i] for i in others]
                )
                best = others[:50][int(np.argmax(predicted[:50]))]
                found.append((spearmanr(predicted, rewards_N[others])[0], rewards_N[best]))
            cells += [f"{value:.2f}" for value in np.nanmean(found, axis=0)]
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
