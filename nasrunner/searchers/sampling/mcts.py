"""Monte Carlo tree search, plain and with bisected decisions."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np

from nasrunner.core.annotations import AtLeast, Seed
from nasrunner.core.decision import Decision
from nasrunner.core.order import is_of
from nasrunner.core.randomness.draws import Draws
from nasrunner.core.records import KnownOutcome, Outcome, Proposal
from nasrunner.core.searcher import Searcher
from nasrunner.core.space import Space
from nasrunner.searchers.outliers import ToldRewards

Answers = list[tuple[int, int]]
"""The branch taken at each node from the root to a leaf, and how many branches there were."""


@dataclass(slots=True)
class Node:
    """What is known of the architectures that begin with the same answers.

    Attributes:
        num_visits: n in the paper: proposals that passed, with a reward, without, or in flight,
            and what is known of earlier studies.
        num_rewards: how many of them have a reward.
        sum_rewards: of these.
        only: while one of them alone has passed: its key and all its answers.
        children: branch -> node, for the branches that were visited.
        is_done: every architecture below was proposed.
    """

    num_visits: int = 0
    num_rewards: int = 0
    sum_rewards: float = 0.0
    only: tuple[int, Answers] | None = None
    children: dict[int, "Node"] = field(default_factory=dict)
    is_done: bool = False

    def mean(self, otherwise: float) -> float:
        return self.sum_rewards / self.num_rewards if self.num_rewards else otherwise


class MonteCarloTreeSearch(Searcher):
    """Tree search over the decisions, in the order asked. arXiv:1704.08792, sections 5.2 and 5.3.

    At each node the branches nobody took come first, in random order; then the branch i with the
    greatest upper confidence bound (eq. 2) is taken,

        mean_i + 2 c scale sqrt(2 ln n / n_i),  scale = 2 (upper - lower quartile of rewards).

    What is asked below the tree is drawn uniformly. With a ``branching_factor``, an ordered
    decision is asked as a series of choices between neighbouring ranges of its options: 2
    bisects, so that k options take at most ceil(log2 k) choices and what is learnt of one option
    is learnt of those near it. The space itself does not change. Each stage of a space with
    schedules has a tree of its own.

    What earlier studies found counts as visits with their rewards, but not as proposed: an
    architecture of theirs is proposed as any other.

    Args:
        exploration: c in the paper, >= 0. The paper names no value; its authors' code has 0.25.
        branching_factor: ranges that an ordered decision is split into, >= 2; None: each option
            is a branch of its own, as those of unordered decisions always are.

    Differs from the paper: the bonus is in units of ``scale``, so that one c serves percents and
    losses alike, and rewards are taken ``without_outliers``, so that a diverged child spoils
    neither it nor the mean of all that begins as it does; theirs is for rewards in [0, 1]. Children
    in flight, or without a reward, count as visits but not in the mean (Liu et al. 2020,
    arXiv:1810.11755); a node without any reward has the mean of its parent. A proposal that
    alone has passed a node moves into a node below when another one comes, so that its reward is
    not forgotten there and nothing is proposed twice before everything was proposed once.
    """

    def __init__(
        self,
        *,
        exploration: Annotated[float, AtLeast(0)],
        branching_factor: Annotated[int, AtLeast(2)] | None,
        space: Space,
        seed: Seed,
    ) -> None:
        super().__init__(space=space, seed=seed)
        self.exploration = exploration
        self.branching_factor = branching_factor
        self.roots: defaultdict[tuple[int, ...], Node] = defaultdict(Node)
        self._rewarded: list[int] = []  # keys, in order of arrival
        self._rewards = ToldRewards()  # of these, as the nodes have them
        self._scale = scale_of([])
        # By key: a proposal's index; of what earlier studies found -1, -2, …
        self._paths: dict[int, list[Node]] = {}
        self._branches: dict[tuple[int, int, bool], Answers] = {}
        self._parts: dict[range, list[range]] = {}  # of the options of an ordered decision
        self._suggested: tuple[Proposal, Answers] | None = None

    def suggest(self, index: int) -> Proposal:
        bonus = 2 * self.exploration * self._scale
        draws = Draws(self.rng(index), num_expected=16)
        descent = _Descent(self.roots[self.stage(index)], bonus, draws)
        answers: Answers = []

        def choose(decision: Decision) -> int:
            num_options = len(decision.options)
            num_branches = self._num_branches(num_options, decision.is_ordered)
            if descent.node is None or num_options == 1:
                chosen = draws.below(num_options)
            elif num_branches == num_options:
                chosen = descent.take(num_options)
            else:
                chosen = self._bisect(descent, range(num_options))
            answers.extend(self._branches_to(chosen, decision))
            return chosen

        proposal = Proposal(index, self.space_at(index).walk(choose))
        self._suggested = proposal, answers
        return proposal

    def _bisect(self, descent: "_Descent", options: range) -> int:
        """Takes branches to ever fewer options of an ordered decision, to the end of the tree."""
        while len(options) > 1 and descent.node is not None:
            parts = self._parts_of(options)
            options = parts[descent.take(len(parts))]
        return options[descent.draws.below(len(options))]

    def register(self, proposal: Proposal) -> None:
        """Counts a visit along the proposal's path and adds the first node that it lacks."""
        super().register(proposal)
        answers = self._answers(proposal)
        path = self._visit(proposal.index, self.stage(proposal.index), answers)
        is_done = True  # all below the node that was looked at before
        for depth, node in reversed(list(enumerate(path))):
            num_branches = answers[depth][1] if depth < len(answers) else 0
            if is_done and len(node.children) == num_branches:
                node.is_done = all(child.is_done for child in node.children.values())
            is_done = node.is_done

    def _visit(self, key: int, stage: tuple[int, ...], answers: Answers) -> list[Node]:
        path = self._paths[key] = [self.roots[stage]]
        while path[-1].num_visits:
            depth = len(path) - 1
            self._move_down(path[-1], depth)
            if depth == len(answers):
                break
            path.append(path[-1].children.setdefault(answers[depth][0], Node()))
        else:
            path[-1].only = key, answers
        for node in path:
            node.num_visits += 1
        return path

    def learn(self, outcome: Outcome) -> None:
        self._reward(outcome.proposal.index, outcome.known_reward)

    def learn_known(self, outcomes: Sequence[KnownOutcome]) -> None:
        for key, outcome in enumerate(outcomes, start=1):
            for index in self.stage_starts():
                if is_of(self.space_at(index), outcome.genotype):
                    answers = self._answers(Proposal(index, outcome.genotype))
                    self._visit(-key, self.stage(index), answers)
                    self._reward(-key, outcome.reward)
                    break

    def _reward(self, newest: int, reward: float) -> None:
        """Takes the reward of what has a path."""
        self._rewarded.append(newest)
        if self._rewards.add(reward):
            self._add(newest, self._rewards.told[-1])
        else:
            for node in {id(n): n for key in self._rewarded for n in self._paths[key]}.values():
                node.num_rewards, node.sum_rewards = 0, 0.0
            for key, taken_for in zip(self._rewarded, self._rewards.told, strict=True):
                self._add(key, taken_for)
        self._scale = scale_of(self._rewards.ordered)

    def forget(self, proposal: Proposal) -> None:
        del self._paths[proposal.index]

    def _add(self, key: int, reward: float) -> None:
        for node in self._paths[key]:
            node.num_rewards += 1
            node.sum_rewards += reward

    def _num_branches(self, num_options: int, is_ordered: bool) -> int:
        if self.branching_factor is None or not is_ordered:
            return num_options
        return min(self.branching_factor, num_options)

    def _parts_of(self, options: range) -> list[range]:
        """What options of an ordered decision are split into."""
        if (found := self._parts.get(options)) is None:
            num_parts = self._num_branches(len(options), is_ordered=True)
            found = [part(options, number, num_parts) for number in range(num_parts)]
            self._parts[options] = found
        return found

    def _branches_to(self, chosen: int, decision: Decision) -> Answers:
        """The branches that lead to an option of a decision."""
        case = chosen, len(decision.options), decision.is_ordered
        if (found := self._branches.get(case)) is None:
            found = self._branches[case] = []
            options = range(len(decision.options))
            while len(options) > 1:
                num_branches = self._num_branches(len(options), decision.is_ordered)
                parts = [part(options, branch, num_branches) for branch in range(num_branches)]
                branch = next(i for i, each in enumerate(parts) if chosen in each)
                found.append((branch, num_branches))
                options = parts[branch]
        return found

    def _answers(self, proposal: Proposal) -> Answers:
        """A genotype as the branches of the tree."""
        if self._suggested is not None and self._suggested[0] is proposal:
            return self._suggested[1]
        answers: Answers = []

        def replay(decision: Decision) -> int:
            chosen = proposal.genotype[decision.path]
            answers.extend(self._branches_to(chosen, decision))
            return chosen

        self.space_at(proposal.index).walk(replay)
        return answers

    def _move_down(self, node: Node, depth: int) -> None:
        """Gives what alone has passed a node of its own below."""
        if node.only is None:
            return
        key, answers = node.only
        node.only = None
        if depth == len(answers):
            return  # a leaf, proposed again
        child = Node(1, node.num_rewards, node.sum_rewards, (key, answers))
        child.is_done = depth + 1 == len(answers) and key >= 0
        node.children[answers[depth][0]] = child
        if key in self._paths:
            self._paths[key].append(child)


class _Descent:
    """One way down the tree.

    Attributes:
        node: where it has come to; None below the tree.
        draws: decides between equal branches.
    """

    def __init__(self, root: Node, bonus: float, draws: Draws) -> None:
        self.node: Node | None = root
        self.draws = draws
        self._bonus = bonus
        self._mean = 0.0
        self._depth = 0

    def take(self, num_branches: int) -> int:
        """Takes one of the branches of the node and goes there."""
        node = self.node
        assert node is not None
        self._mean = node.mean(self._mean)
        best = self._best(node, num_branches)
        branch = best[self.draws.below(len(best))]
        self.node = node.children.get(branch)
        self._depth += 1
        return branch

    def _best(self, node: Node, num_branches: int) -> list[int]:
        """The branches of the greatest bound; infinite for those that nobody took."""
        children = node.children
        if len(children) < num_branches:
            taken = set(children)
            if node.only is not None:
                taken.add(node.only[1][self._depth][0])
            if free := [branch for branch in range(num_branches) if branch not in taken]:
                return free
        best: list[int] = []
        greatest = -math.inf
        surprise = 2 * math.log(node.num_visits)
        for branch, child in children.items():
            if child.is_done and not node.is_done:
                continue
            bound = child.mean(self._mean) + self._bonus * math.sqrt(surprise / child.num_visits)
            if bound > greatest:
                best, greatest = [branch], bound
            elif bound == greatest:
                best.append(branch)
        return best


def scale_of(sorted_rewards: Sequence[float] | np.ndarray) -> float:
    """Returns how far rewards lie apart: twice their interquartile range, 1 if uniform on [0, 1].

    Their whole range where the middle half of them is equal, 1 where all are.
    """
    if len(sorted_rewards) == 0:
        return 1.0
    count = len(sorted_rewards)
    middle = sorted_rewards[3 * count // 4] - sorted_rewards[count // 4]
    return float(2 * middle or sorted_rewards[-1] - sorted_rewards[0] or 1.0)


def part(options: range, number: int, num_parts: int) -> range:
    """Returns one of neighbouring ranges of the same size, the first ones longer by one where need
    be.
    """
    size, longer = divmod(len(options), num_parts)
    start = number * size + min(number, longer)
    return options[start : start + size + (number < longer)]
