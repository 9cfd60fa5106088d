"""What shared weights said of architectures, against what training from first weights says."""

from nasrunner.core.ledger.agreement import rank_correlation
from nasrunner.core.order import key_of
from nasrunner.recorded import RecordedStudy
from nasrunner.report.page.parts import Plot
from nasrunner.report.page.style import HALF_IN, colour_of, figure
from nasrunner.report.study.evaluations import number, reward_label

FEWEST_RANKED = 3
"""Rankings of fewer architectures say nothing."""


def estimated_plot(study: RecordedStudy) -> Plot | None:
    """Returns rewards of children against the estimates of the same architectures.

    None where no architecture has both.
    """
    estimates = {
        key_of(outcome.proposal.genotype): outcome.reward
        for outcome in study.outcomes_of("estimate")
        if outcome.reward is not None and outcome.proposal.sources
    }
    pairs = [
        (estimate, child.outcome.reward)
        for child in study.best(len(study.children))
        if child.outcome is not None
        and child.outcome.reward is not None
        and (estimate := estimates.get(key_of(child.proposal.genotype))) is not None
    ]
    if not pairs:
        return None
    estimated, rewards = zip(*pairs, strict=True)
    made, axes = figure(
        xlabel="estimate with shared weights",
        ylabel=reward_label(study),
        width_in=HALF_IN,
        height_in=3.9,
    )
    axes.scatter(estimated, rewards, s=22, color=colour_of("purple"), linewidths=0, zorder=3)
    axes.margins(0.08)
    every = sorted(estimates.values())
    axes.plot(
        every,
        [0.0] * len(every),
        "|",
        color=colour_of("context"),
        markersize=7,
        transform=axes.get_xaxis_transform(),
        clip_on=False,
    )
    caption = (
        f"Each point is one of {len(pairs):,} architectures that were estimated and then trained; "
        f"the dashes below are all {len(every):,} estimates, from {number(every[0])} to "
        f"{number(every[-1])}."
    )
    rho = rank_correlation(estimated, rewards) if len(pairs) >= FEWEST_RANKED else None
    if rho is not None:
        caption += (
            f" Spearman's ρ of the two is {rho:.2f}; only the best estimates are trained, among "
            "which it is lower than among all architectures."
        )
    return Plot("estimates", "Rewards against estimates", caption, made)
