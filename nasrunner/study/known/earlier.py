"""What an earlier study's ledger tells of another space: nothing else of it is read or built."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from nasrunner.core.decision import Decision, Genotype
from nasrunner.core.ledger.state import StudyState
from nasrunner.core.records import KnownOutcome, Outcome
from nasrunner.core.search_space import SearchSpace
from nasrunner.core.space import Space
from nasrunner.study.known.answers import is_of_kind, same_option

_MAX_NAMED = 4


class EarlierSpace:
    """The decisions of a study's space, as the first event of its ledger has them.

    Args:
        kinds: kind of decision -> options; in a kind ``*`` stands for any repetition.
    """

    def __init__(self, kinds: Mapping[str, Sequence[Any]]) -> None:
        self.kinds = kinds
        self._repeated = [kind for kind in kinds if "*" in kind.split("/")]
        self._options: dict[str, list[int | None]] = {}

    def option_in(self, decision: Decision, index: int) -> int | None:
        """Returns the option of a decision with the value that an index meant at its path; None:
        none.
        """
        path = decision.path
        if path not in self._options:
            found = path if path in self.kinds else None
            kinds = (kind for kind in self._repeated if is_of_kind(path, kind))
            kind = found or next(kinds, None)
            values = () if kind is None else self.kinds[kind]
            self._options[path] = [same_option(decision.options, value) for value in values]
        options = self._options[path]
        return options[index] if 0 <= index < len(options) else None


def outcomes_for(
    state: StudyState, space: SearchSpace
) -> tuple[list[KnownOutcome], dict[str, int]]:
    """Returns what an earlier study's outcomes tell of a space, by the values of their answers.

    Those of plain trainings that were completed are taken where they answer each decision that
    the space asks, with a value that is an option there; what else they answer is dropped.

    Args:
        state: the earlier study's.
        space: of the study that begins.

    Returns:
        The outcomes in their order, and why others tell nothing -> how many, most first.
    """
    assert state.began is not None
    earlier = EarlierSpace(state.began.space)
    taken: list[KnownOutcome] = []
    left_out: Counter[str] = Counter()
    for outcome in state.history.outcomes:
        reason = _why_not(outcome)
        if reason is None:
            genotype, reason = _in_space(outcome.proposal.genotype, earlier, space)
            if reason is None:
                reward, child = outcome.known_reward, outcome.proposal.index
                taken.append(KnownOutcome(genotype, reward, child))
        if reason is not None:
            left_out[reason] += 1
    return taken, dict(left_out.most_common())


def _why_not(outcome: Outcome) -> str | None:
    """Why an outcome is none of a plain training with a reward; None: it is."""
    if outcome.reused_from is not None:
        return "repeat another"
    if outcome.status in ("failed", "invalid"):
        return outcome.status
    if not outcome.proposal.is_plain or outcome.status != "completed":
        return "no whole trainings"
    if outcome.reward is None or not math.isfinite(outcome.reward):
        return "without a finite reward"
    return None


def _in_space(
    genotype: Genotype, earlier: EarlierSpace, space: Space
) -> tuple[Genotype, str | None]:
    """The same answers in another space, and why there are none for it."""
    reasons: list[str] = []

    def choose(decision: Decision) -> int:
        path = decision.path
        if path not in genotype:
            reasons.append(f"without an answer to {path}")
            return 0
        index = earlier.option_in(decision, genotype[path])
        if index is None:
            reasons.append(f"whose answer to {path} is no option here")
            return 0
        return index

    found = space.walk(choose)
    return found, reasons[0] if reasons else None


def compared(earlier: Mapping[str, Sequence[Any]], now: Mapping[str, Sequence[Any]]) -> str:
    """Returns which decisions two spaces share and which not, in words."""
    shared, some, other, gone = list[str](), list[str](), list[str](), list[str]()
    for kind, options in earlier.items():
        if kind not in now:
            gone.append(kind)
            continue
        theirs, ours = (
            {same_option(now[kind], each) for each in of} for of in (options, now[kind])
        )
        if theirs == ours:
            shared.append(kind)
        else:
            (other if theirs == {None} else some).append(kind)
    groups = {
        "both have": shared,
        "both have with some options in common": some,
        "both have with other options": other,
        "only the earlier study has": gone,
        "only this one has": [kind for kind in now if kind not in earlier],
    }
    return "; ".join(
        f"{words} {_named(kinds)}"
        for words, kinds in groups.items()
        if kinds or (kinds is shared and not some)
    )


def _named(kinds: Sequence[str]) -> str:
    more = [f"{len(kinds) - _MAX_NAMED:,} more"] if len(kinds) > _MAX_NAMED else []
    return ", ".join([*kinds[:_MAX_NAMED], *more]) or "no decision"
