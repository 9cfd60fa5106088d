"""The recurrent policy that writes an architecture one decision at a time."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import logsigmoid

from nasrunner.searchers.policy.transcript import Transcript, Vocabulary

# B = batch of architectures, T = steps of the longest, A = anchor points of the one with most,
# H = hidden units, K = kinds of decisions, R = rows: one for each (kind, option)


class Controller(nn.Module):
    """Autoregressive LSTM over decisions. Zoph & Le 2017, arXiv:1611.01578, sections 3.1 and 3.3.

    Each pair of a decision kind and an option has an embedding and a logit. A step takes the
    embedding of the option chosen before, and its output goes through the softmax of the kind
    that is asked, so that decisions of one kind share their head wherever they stand. Decisions
    that select members of a set have no softmax: see ``Attention``.

    Args:
        options: decision kind -> its options, as ``Space.signature`` gives them.
        has_selections: whether the space asks decisions that select members of a set.
        hidden_units: H; 35 in the paper. Embeddings are as wide.
        num_layers: LSTM layers; 2 in the paper.
        init_range: weights are drawn from U(-init_range, init_range); 0.08 in the paper.
        predicts: whether it has a head that predicts rewards, see ``predict``.
        temperature: T, > 0; logits are divided by it. 1 in the paper.
        tanh_constant: c, > 0; a logit of x becomes c tanh(x / T), so that no option's probability
            comes near 0. None: it stays x / T, as in the paper. Both are of Bello et al. 2016,
            arXiv:1611.09940, A.1, and of Pham et al. 2018, arXiv:1802.03268, section 3.1. The
            score s of a selection stands for two logits, -s / 2 and s / 2.
        rng: draws the weights; torch's global generator is neither used nor moved.

    Attributes:
        vocabulary: the rows of the options.
        attention: None in a space without selections.
        predictor: the head that predicts; None: it has none.

    Differs from the paper: the first input is a learnt embedding. The paper does not say what
    follows an anchor point; here it is the mean of the embeddings of its answers. The first
    candidate of all, which selects nothing itself, has its anchor point just before that of its
    first taker.
    """

    def __init__(
        self,
        options: Mapping[str, Sequence[Any]],
        *,
        has_selections: bool,
        hidden_units: int,
        num_layers: int,
        init_range: float,
        predicts: bool,
        temperature: float = 1.0,
        tanh_constant: float | None = None,
        rng: np.random.Generator,
    ) -> None:
        super().__init__()
        self.vocabulary = Vocabulary(options)
        self.temperature = temperature
        self.tanh_constant = tanh_constant
        num_rows = self.vocabulary.num_rows
        self.options_KR = torch.zeros(len(options), num_rows, dtype=torch.bool)
        for kind, rows in self.vocabulary.rows_of.items():
            self.options_KR[self.vocabulary.kinds[kind], rows] = True
        # On the meta device the layers do not initialise themselves from the global generator.
        with torch.device("meta"):
            self.embedding = nn.Embedding(num_rows + 1, hidden_units)
            self.lstm = nn.LSTM(hidden_units, hidden_units, num_layers, batch_first=True)
            self.head = nn.Linear(hidden_units, max(1, num_rows))  # torch warns of empty layers
            self.attention = Attention(hidden_units) if has_selections else None
            self.predictor = nn.Linear(hidden_units, 1) if predicts else None
        self.to_empty(device="cpu")
        with torch.no_grad():
            for weight in self.parameters():
                drawn = rng.uniform(-init_range, init_range, tuple(weight.shape))
                weight.copy_(torch.from_numpy(drawn))

    def forward(self, transcripts: Sequence[Transcript]) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns how likely these architectures are.

        Returns:
            log-probability (B,) of each, and the entropy (B,) of the decisions along it, in nats.
        """
        log_p_B, entropy_B, _ = self.judge(transcripts)
        return log_p_B, entropy_B

    def judge(
        self, transcripts: Sequence[Transcript], selected_share: float | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Returns beside that, how far the probabilities of selections are from a share.

        Args:
            transcripts: of the architectures.
            selected_share: in (0, 1); None: none.

        Returns:
            as ``forward``, and the Kullback-Leibler divergence (B,) of each selection's probability
            from the share, in nats, summed over what a taker may take, and of that the mean over
            takers. Pham et al. 2018, arXiv:1802.03268, section 3.2, and the authors' code. 0
            where there is no share, or no selection.
        """
        states_BTH, _ = self.lstm(self._inputs([each.fed for each in transcripts]))
        logits_BTR: torch.Tensor = self.shaped(self.head(states_BTH))
        rows_BT, kinds_BT, is_asked_BT = _answers(transcripts)
        logits_BTR = logits_BTR.masked_fill(~self.options_KR[kinds_BT], -torch.inf)
        log_p_BTR = logits_BTR.log_softmax(-1)
        log_p_BT = log_p_BTR.gather(-1, rows_BT.unsqueeze(-1)).squeeze(-1)
        log_p_B = (log_p_BT * is_asked_BT).sum(-1)
        finite_BTR = log_p_BTR.clamp(min=torch.finfo(log_p_BTR.dtype).min)
        entropy_BT = -(log_p_BTR.exp() * finite_BTR).sum(-1)
        entropy_B = (entropy_BT * is_asked_BT).sum(-1)
        if self.attention is None:
            return log_p_B, entropy_B, torch.zeros_like(log_p_B)
        selections = self.selections(states_BTH, transcripts, selected_share)
        return log_p_B + selections[0], entropy_B + selections[1], selections[2]

    def selections(
        self,
        states_BTH: torch.Tensor,
        transcripts: Sequence[Transcript],
        selected_share: float | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Returns what ``judge`` returns, of selections alone, from the outputs of the LSTM."""
        assert self.attention is not None, "made with has_selections=False"
        scores_BAA, signs_BAA = self.attention(states_BTH, transcripts)
        scores_BAA = 2 * self.shaped(scores_BAA / 2)
        is_asked_BAA = signs_BAA != 0
        log_p_BAA = logsigmoid(scores_BAA * signs_BAA) * is_asked_BAA
        p_BAA = scores_BAA.sigmoid()
        entropy_BAA = -p_BAA * logsigmoid(scores_BAA) - (1 - p_BAA) * logsigmoid(-scores_BAA)
        divergence_B = states_BTH.new_zeros(len(transcripts))
        if selected_share is not None:
            even_BAA = p_BAA * math.log(selected_share) + (1 - p_BAA) * math.log1p(-selected_share)
            takers_B = is_asked_BAA.any(2).sum(1).clamp(min=1)
            divergence_B = ((-entropy_BAA - even_BAA) * is_asked_BAA).sum((1, 2)) / takers_B
        entropy_B = (entropy_BAA * is_asked_BAA).sum((1, 2))
        return log_p_BAA.sum((1, 2)), entropy_B, divergence_B

    def shaped(self, logits: torch.Tensor) -> torch.Tensor:
        """Returns logits as probabilities are made of them: by the temperature and the tanh."""
        if self.temperature != 1:
            logits = logits / self.temperature
        return logits if self.tanh_constant is None else self.tanh_constant * torch.tanh(logits)

    def predict(self, transcripts: Sequence[Transcript]) -> torch.Tensor:
        """Returns what these architectures are predicted to be worth (B,), from their embeddings
        and LSTM.

        One linear layer on the LSTM's state after the last answer was read: "a single dense layer
        which will share weights with the LSTM layer". Minutoli & Ciranni, "Neural Architecture
        Search: An Overview", section 4.2.
        """
        assert self.predictor is not None, "made with predicts=False"
        fed = [[*each.fed, each.next] for each in transcripts]
        states_BTH, _ = self.lstm(self._inputs(fed))
        last_B = torch.tensor([len(each) - 1 for each in fed])
        predicted_B: torch.Tensor = self.predictor(states_BTH[torch.arange(len(fed)), last_B])
        return predicted_B.squeeze(-1)

    def _inputs(self, fed: Sequence[list[tuple[int, float]]]) -> torch.Tensor:
        """What every step is fed: (B, T, H)."""
        fed_BT = _padded(fed, (0, 0.0))
        rows_BT = torch.tensor([[row for row, _ in each] for each in fed_BT])
        inputs_BTH: torch.Tensor = self.embedding(rows_BT)
        if self.attention is None:  # every input is one row
            return inputs_BTH
        shares_BT = inputs_BTH.new_tensor([[share for _, share in each] for each in fed_BT])
        next_rows_BT = (rows_BT + 1).clamp(max=self.vocabulary.num_rows)
        return inputs_BTH.lerp(self.embedding(next_rows_BT), shares_BT.unsqueeze(-1))


class Attention(nn.Module):
    """Selects members of a set by their anchor points. Zoph & Le 2017, section 3.3.

    The probability that i takes j is sigmoid(vᵀ tanh(W_prev h_j + W_curr h_i)), where h is the
    controller's output at an anchor point; given the h, selections are independent.

    Args:
        hidden_units: H.
    """

    def __init__(self, hidden_units: int) -> None:
        super().__init__()
        self.previous = nn.Linear(hidden_units, hidden_units, bias=False)
        self.current = nn.Linear(hidden_units, hidden_units, bias=False)
        self.score = nn.Linear(hidden_units, 1, bias=False)

    def forward(
        self, states_BTH: torch.Tensor, transcripts: Sequence[Transcript]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the scores (B, A, A) of taking a candidate, rows: takers, columns: candidates.

        And what was answered, likewise: 1: it is taken, -1: it is not, 0: it was not asked.
        """
        steps_BA = torch.tensor(
            _padded([each.anchors for each in transcripts], 0), dtype=torch.long
        )
        signs_BAA = states_BTH.new_zeros(*steps_BA.shape, steps_BA.shape[1])
        for signs_AA, transcript in zip(signs_BAA, transcripts, strict=True):
            if transcript.selected:
                takers, candidates, answers = torch.tensor(transcript.selected).unbind(-1)
                signs_AA[takers, candidates] = 2.0 * answers.to(signs_AA) - 1.0
        batch_B1 = torch.arange(len(transcripts)).unsqueeze(-1)
        anchors_BAH = states_BTH[batch_B1, steps_BA]
        previous_BAH, current_BAH = self.previous(anchors_BAH), self.current(anchors_BAH)
        # rows: takers, columns: candidates
        mixed_BAAH = torch.tanh(previous_BAH.unsqueeze(1) + current_BAH.unsqueeze(2))
        return self.score(mixed_BAAH).squeeze(-1), signs_BAA


def _answers(transcripts: Sequence[Transcript]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Row chosen, kind asked, and whether anything was, at every step: (B, T) each."""
    asked_BT = _padded([each.asked for each in transcripts], None)
    answers = torch.tensor([[(0, 0) if one is None else one for one in each] for each in asked_BT])
    rows_BT, kinds_BT = answers.unbind(-1)
    is_asked_BT = torch.tensor([[one is not None for one in each] for each in asked_BT])
    return rows_BT, kinds_BT, is_asked_BT.float()


def _padded(lists: Sequence[list[Any]], filling: Any) -> list[list[Any]]:
    """Lists of equal length."""
    length = max(map(len, lists))
    return [[*each, *[filling] * (length - len(each))] for each in lists]
