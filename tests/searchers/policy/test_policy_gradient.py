import math
from typing import Any

import numpy as np
import pytest
import torch

from nasrunner.core import Decision, Outcome, Proposal, SearchSpace
from nasrunner.core.space import enter
from nasrunner.searchers.policy.controller import Controller
from nasrunner.searchers.policy.objectives import PolicyObjective, Ppo, Reinforce
from nasrunner.searchers.policy.policy_gradient import PolicyGradient
from nasrunner.searchers.policy.replicas import Arrivals
from nasrunner.searchers.policy.rollout import NumpyController, Rollout
from nasrunner.searchers.policy.transcript import Transcript, Vocabulary
from nasrunner.spaces.language.parsing import parse_space
from nasrunner.study.one_thread import OneThread
from tests.searchers.worlds import load_space, run


def reinforce(space: SearchSpace, seed: int = 0, **changes: Any) -> PolicyGradient:
    arguments: dict[str, Any] = {
        "hidden_units": 4,
        "num_layers": 2,
        "init_range": 0.5,
        "learning_rate": 0.05,
        "learning_rate_decay": 0.0,
        "learns_from": "batch",
        "fixed_baseline": None,
        "discount": 1.0,
        "children_per_replica": 2,
        "baseline_decay": 0.9,
        "entropy_bonus": 0.0,
        "replicas": None,
        "batches_per_update": 1,
        "predictor_weight": 0.0,
        "adversarial_weight": 0.0,
        "objective": Reinforce(),
    }
    return PolicyGradient(**{**arguments, **changes}, space=space, seed=seed)


def results_of(searcher: PolicyGradient) -> list[tuple[Proposal, float]]:
    """What the next update will be made of."""
    assert isinstance(searcher.batches, Arrivals)
    return searcher.batches.batch.results


class Forced(Rollout):
    """Takes the given answers instead of drawing, with the probabilities of the policy."""

    def __init__(self, policy: NumpyController, proposal: Proposal) -> None:
        super().__init__(policy, np.random.default_rng(0))
        self.genotype = proposal.genotype
        self.logs: list[float] = []

    def choose(self, decision: Decision) -> int:
        index = self.genotype[decision.path]
        self.advance(decision)
        if decision.selection is None:
            chances = self.probabilities(decision)
        else:
            chances = np.array([1 - self.chance(decision), self.chance(decision)])
        self.logs.append(math.log(chances[index]))
        self.transcript.answer(decision, index)
        return index


def first_probabilities(searcher: PolicyGradient) -> np.ndarray:
    """Of the first decision of a space."""
    rollout = Rollout(NumpyController(searcher.controller), np.random.default_rng(0))
    decision = next(searcher.space.decisions(enter(searcher.space)))
    rollout.advance(decision)
    return rollout.probabilities(decision)


def log_probability(searcher: PolicyGradient, proposal: Proposal) -> float:
    forced = Forced(NumpyController(searcher.controller), proposal)
    searcher.space.walk(forced.choose)
    return sum(forced.logs)


ANY_DEPTH = {"skip_layers": {"times": {"range": [1, 4, 1]}, "layer": {"or": ["relu", "tanh"]}}}


@pytest.mark.parametrize(
    "space",
    [load_space("small_cnn"), parse_space(ANY_DEPTH)],
    ids=["small_cnn", "any_depth"],
)
def test_gradient_is_that_of_equation_3_by_finite_differences(space: SearchSpace) -> None:
    searcher = reinforce(space)
    searcher.controller.double()
    batch = [(searcher.suggest(0), 0.7), (searcher.suggest(1), -0.3), (searcher.suggest(4), 0.1)]
    assert len({len(proposal.genotype) for proposal, _ in batch}) > 1  # padding plays a part
    torch.autograd.backward(searcher.loss(batch, searcher.controller))

    def equation_3() -> float:
        return sum(reward * log_probability(searcher, p) for p, reward in batch) / len(batch)

    checked = 0
    for weight in searcher.controller.parameters():
        flat, gradient = weight.detach().view(-1), weight.grad
        assert gradient is not None
        for position in range(0, len(flat), max(1, len(flat) // 5)):
            old, step = flat[position].item(), 1e-5
            flat[position] = old + step
            above = equation_3()
            flat[position] = old - step
            below = equation_3()
            flat[position] = old
            slope = (above - below) / (2 * step)
            assert -gradient.view(-1)[position].item() == pytest.approx(slope, abs=1e-6)
            checked += 1
    assert checked > 50


def test_gradient_of_one_decision_is_the_chosen_option_minus_the_probabilities() -> None:
    space = parse_space({"affine": {"units": {"oneof": [8, 16, 32]}}})
    searcher = reinforce(space, init_range=1e-9)  # so that each option has probability 1/3
    chosen = Proposal(0, {"affine/units": 1}, notes={"log_probability": math.log(1 / 3)})
    torch.autograd.backward(searcher.loss([(chosen, 0.6)], searcher.controller))
    # d log softmax_1 / d bias = (0, 1, 0) - (1/3, 1/3, 1/3), times R - b = 0.6; minus for a loss
    assert searcher.controller.head.bias.grad is not None
    assert searcher.controller.head.bias.grad.tolist() == pytest.approx([0.2, -0.4, 0.2])


@pytest.mark.parametrize("space", ["mlp", "nasrl_conv_small"])
def test_drawing_follows_the_probabilities_the_gradient_is_taken_of(space: str) -> None:
    searcher = reinforce(load_space(space), hidden_units=35)
    run(searcher, 6)
    proposals = [searcher.suggest(index) for index in range(50)]
    for proposal in proposals:
        with torch.no_grad():
            log_p = -searcher.loss([(proposal, 1.0)], searcher.controller).item()
        assert proposal.notes["log_probability"] == pytest.approx(log_p, abs=1e-4)
        assert log_probability(searcher, proposal) == pytest.approx(log_p, abs=1e-4)


def test_options_are_drawn_as_often_as_their_probabilities_say() -> None:
    space = parse_space({"affine": {"units": {"oneof": [8, 16, 32]}}})
    searcher = reinforce(space, init_range=2.0)
    expected = first_probabilities(searcher)
    drawn = [searcher.suggest(index).genotype["affine/units"] for index in range(2000)]
    counts = np.bincount(drawn, minlength=3)
    assert max(expected) - min(expected) > 0.1
    assert counts / 2000 == pytest.approx(expected, abs=4 * 0.5 / math.sqrt(2000))


def test_baseline_is_the_moving_average_of_earlier_rewards() -> None:
    searcher = reinforce(load_space("figure1"), children_per_replica=99)
    baselines = []
    for reward in (0.5, 0.7, 0.2):
        proposal = searcher.propose()
        assert proposal is not None
        searcher.observe(Outcome(proposal, "completed", reward))
        baselines.append(searcher.baseline)
    # 0.9 * 0.5 + 0.1 * 0.7 = 0.52; 0.9 * 0.52 + 0.1 * 0.2 = 0.488
    assert baselines == pytest.approx([0.5, 0.52, 0.488])
    # R - b with the b before R: 0.5 - 0.5, 0.7 - 0.5, 0.2 - 0.52
    assert [advantage for _, advantage in results_of(searcher)] == pytest.approx([0.0, 0.2, -0.32])


def test_weights_change_only_when_a_batch_is_full_and_failures_do_not_fill_it() -> None:
    searcher = reinforce(load_space("figure1"), children_per_replica=3)
    changes = []
    for reward in (0.1, None, 0.9, None, 0.4, 0.3):
        before = searcher.controller.head.weight.detach().clone()
        proposal = searcher.propose()
        assert proposal is not None
        status = "failed" if reward is None else "completed"
        searcher.observe(Outcome(proposal, status, reward))
        changes.append(not torch.equal(before, searcher.controller.head.weight))
    assert changes == [False, False, False, False, True, False]


def test_torchs_global_generator_is_neither_used_nor_moved() -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    proposals = run(reinforce(load_space("figure1")), 6)
    assert torch.equal(state, torch.get_rng_state())
    torch.manual_seed(2)
    assert run(reinforce(load_space("figure1")), 6) == proposals


def test_number_of_threads_changes_nothing_and_is_left_as_it_was() -> None:
    before = torch.get_num_threads()
    weights = []
    for num_threads in (1, 2):
        torch.set_num_threads(num_threads)
        searcher = reinforce(load_space("mlp"), hidden_units=35, children_per_replica=8)
        with OneThread().held():  # as in a study
            run(searcher, 16)
        assert torch.get_num_threads() == num_threads
        weights.append([weight.tolist() for weight in searcher.controller.parameters()])
    torch.set_num_threads(before)
    assert weights[0] == weights[1]


@pytest.mark.parametrize(
    ("objective", "children"), [(Reinforce(), 2), (Ppo(clip=0.2, num_steps=4), 4)]
)
def test_it_learns_where_random_search_stays_at_chance(
    objective: PolicyObjective, children: int
) -> None:
    searcher = reinforce(
        load_space("nasbench_macro"),
        hidden_units=35,
        init_range=0.08,
        objective=objective,
        children_per_replica=children,
    )
    rewards = []
    for _ in range(200):
        proposal = searcher.propose()
        assert proposal is not None
        rewards.append(sum(index == 2 for index in proposal.genotype.values()))
        searcher.observe(Outcome(proposal, "completed", float(rewards[-1])))
    assert np.mean(rewards[:20]) < 4  # chance is 8/3
    assert np.mean(rewards[-20:]) > 6


def test_entropy_bonus_flattens_the_policy() -> None:
    space = parse_space({"affine": {"units": {"oneof": [8, 16, 32]}}})
    chosen = Proposal(0, {"affine/units": 0}, notes={"log_probability": math.log(1 / 3)})
    spread = []
    for entropy_bonus in (0.0, 1.0):
        searcher = reinforce(
            space, init_range=2.0, children_per_replica=1, entropy_bonus=entropy_bonus
        )
        for _ in range(50):
            searcher.learn(
                Outcome(chosen, "completed", 0.5)
            )  # a constant reward: nothing but the bonus moves it
        spread.append(np.ptp(first_probabilities(searcher)))
    assert spread[0] > 0.1
    assert spread[1] < 0.01


def test_decisions_of_one_kind_share_a_head_wherever_they_stand() -> None:
    controller = Controller(
        load_space("mlp").signature(),
        has_selections=False,
        predicts=False,
        hidden_units=35,
        num_layers=2,
        init_range=0.08,
        rng=np.random.default_rng(0),
    )
    # 7 widths and 4 activations, 9 depths, 2 layer types, 7 widths and 4 activations
    assert controller.vocabulary.num_rows == 7 + 4 + 9 + 2 + 7 + 4
    weights = torch.cat([weight.detach().view(-1) for weight in controller.parameters()])
    # two layers of four gates, each with weights to input and state and torch's two biases
    lstm = 2 * 4 * (35 * 35 + 35 * 35 + 35 + 35)
    assert len(weights) == 34 * 35 + lstm + 33 * 35 + 33
    assert weights.abs().max() <= 0.08
    assert weights.std().item() == pytest.approx(0.08 / math.sqrt(3), rel=0.02)


def test_a_space_without_decisions_is_proposed_again() -> None:
    assert [proposal.genotype for proposal in run(reinforce(parse_space("relu")), 3)] == [{}] * 3


# Selections of members of a set, such as skip connections


def skip_space(times: object = 3) -> SearchSpace:
    return parse_space({"skip_layers": {"times": times, "layer": {"or": ["relu", "tanh", "elu"]}}})


def test_all_skips_of_a_layer_take_one_step_and_the_first_layer_has_its_anchor_late() -> None:
    space = skip_space()
    transcript = Transcript(Vocabulary(space.signature()))
    answers = iter([2, 1, 1, 0, 1, 0])

    def choose(decision: Decision) -> int:
        transcript.open(decision)
        index = next(answers)
        transcript.answer(decision, index)
        return index

    space.walk(choose)
    # rows: 0 to 2 the activations, 3 and 4 no and yes, 5 the start
    start, no = 5, 3
    assert transcript.asked == [(2, 0), (1, 0), None, None, (0, 0), None]
    assert transcript.anchors == [2, 3, 5]  # of layers 1, 2 and 3
    assert transcript.fed == [
        (start, 0.0),
        (2, 0.0),
        (1, 0.0),
        (no, 0.0),  # the anchor of layer 1 selects nothing
        (no, 1.0),  # layer 2 took 1 of 1
        (0, 0.0),
    ]
    # layer 2 takes 1; layer 3 takes 1 but not 2
    assert transcript.selected == [(1, 0, 1), (2, 0, 1), (2, 1, 0)]


def test_what_follows_an_anchor_is_fed_the_share_of_members_taken() -> None:
    space = skip_space(4)
    transcript = Transcript(Vocabulary(space.signature()))

    def choose(decision: Decision) -> int:
        transcript.open(decision)
        index = int(decision.path == "skip_layers/3/from/2")
        transcript.answer(decision, index)
        return index

    space.walk(choose)
    assert transcript.fed[-2] == (3, 0.5)  # layer 4's activation: layer 3 took one of two


def test_a_skip_has_the_probability_of_section_3_3() -> None:
    searcher = reinforce(skip_space(), init_range=1.0)
    attention = searcher.controller.attention
    assert attention is not None
    states_BTH = torch.randn(1, 6, 4, generator=torch.Generator().manual_seed(0))
    transcript = searcher._replay(searcher.suggest(0))
    log_p_B, entropy_B, _ = searcher.controller.selections(states_BTH, [transcript])
    w_prev, w_curr = (w.weight.detach().numpy() for w in (attention.previous, attention.current))
    v = attention.score.weight.detach().numpy()[0]
    h = [states_BTH[0, step].numpy() for step in (2, 3, 5)]
    expected = entropy = 0.0
    for i, j, is_taken in transcript.selected:
        p = 1 / (1 + np.exp(-v @ np.tanh(w_prev @ h[j] + w_curr @ h[i])))
        expected += math.log(p if is_taken else 1 - p)
        entropy -= p * math.log(p) + (1 - p) * math.log(1 - p)
    assert len(transcript.selected) == 3
    assert log_p_B.item() == pytest.approx(expected, abs=1e-5)
    assert entropy_B.item() == pytest.approx(entropy, abs=1e-5)


def test_skips_are_drawn_as_often_as_their_probabilities_say() -> None:
    searcher = reinforce(
        parse_space({"skip_layers": {"times": 2, "layer": "relu"}}), init_range=2.0
    )
    expected = math.exp(log_probability(searcher, Proposal(0, {"skip_layers/2/from/1": 1})))
    drawn = [searcher.suggest(index).genotype["skip_layers/2/from/1"] for index in range(2000)]
    assert abs(expected - 0.5) > 0.05
    assert np.mean(drawn) == pytest.approx(expected, abs=4 * 0.5 / math.sqrt(2000))


def test_only_a_space_with_selections_has_attention() -> None:
    assert reinforce(load_space("nasbench201")).controller.attention is None
    weights = dict(reinforce(skip_space()).controller.named_parameters())
    shapes = {name: tuple(w.shape) for name, w in weights.items() if "attention" in name}
    assert shapes == {
        "attention.previous.weight": (4, 4),
        "attention.current.weight": (4, 4),
        "attention.score.weight": (1, 4),
    }


def test_it_learns_a_chain_of_layers_which_one_softmax_for_all_skips_could_not() -> None:
    space = parse_space({"skip_layers": {"times": 5, "layer": "relu"}})
    chain = {f"skip_layers/{number}/from/{number - 1}" for number in range(2, 6)}
    searcher = reinforce(
        space, hidden_units=35, children_per_replica=8, learning_rate=0.01, entropy_bonus=0.02
    )
    rewards = []
    for _ in range(1000):
        proposal = searcher.propose()
        assert proposal is not None
        right = [(path in chain) == bool(index) for path, index in proposal.genotype.items()]
        rewards.append(sum(right) / len(right))
        searcher.observe(Outcome(proposal, "completed", rewards[-1]))
    assert len(right) == 10
    assert np.mean(rewards[:50]) < 0.65  # chance is 1/2; all alike, none taken, is 6/10
    assert np.mean(rewards[-50:]) > 0.9
