"""Takes log-probabilities of answers, returns what a head minimises: pure functions, no model, no state.

A pair is one prompt with a correct and a wrong answer. P pairs, T tokens; nats throughout; a ratio is
log pi - log ref, the answer's log-probability under the head less that under the frozen base, both summed over the
answer's tokens. `share` divides by counts of the WHOLE global batch, so that summed over ranks and micro-batches it
is the batch's loss, however the batch was cut.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
from torch.nn.functional import logsigmoid

from likra_ray.spec import Baseline

Objective = Literal["likelihood"] | Baseline
"""What is minimised: likelihood is that of the one answer Likra's heads learn, the others take pairs."""

REFERENCED: tuple[Objective, ...] = ("npo", "dpo", "kto")
"""Objectives that need the base's log-probabilities."""

LEAST_UNLIKELY = 1e-5
"""Smallest 1 - p in unlikelihood: above it a token has no gradient (arXiv 1908.04319's code)."""

LARGEST_MEAN = -torch.finfo(torch.float32).eps
"""Largest mean log p in the odds of orpo: at 0, which fp32 reaches, the odds are infinite (trl has no such bound)."""


class Answers(NamedTuple):
    """The answers of P pairs, or of P examples with one answer each, under the head."""

    correct: Sequence[torch.Tensor]
    """P of (tokens,): log p of each token of the correct answer; of the one answer there is, for likelihood."""
    wrong: Sequence[torch.Tensor] = ()
    """P of (tokens,): the same of the wrong answer."""
    reference: torch.Tensor | None = None
    """(P, 2): log p of both answers under the base, correct first; None unless the objective is in REFERENCED."""

    @property
    def ratios(self) -> torch.Tensor:
        """(P, 2): log pi - log ref of both answers. Raises ValueError without reference."""
        if self.reference is None:
            raise ValueError("this objective needs the base's log-probabilities")
        return torch.stack([_each(self.correct, torch.sum), _each(self.wrong, torch.sum)], dim=1) - self.reference


class Batch(NamedTuple):
    """Of the whole global batch, over all ranks and micro-batches."""

    examples: int
    """Pairs, or examples with one answer."""
    correct_tokens: int
    wrong_tokens: int = 0
    divergence: float = 0.0
    """kto: the batch's estimate of how far the head is from the base, nats, at least 0."""


def share(objective: Objective, answers: Answers, batch: Batch, *, beta: float) -> torch.Tensor:
    """Scalar: what these answers add to the batch's loss.

    likelihood    - sum log p / answer tokens
    mixture       the same over both answers: plain likelihood of all that was shown, right or wrong
    unlikelihood  (sum over correct tokens of -log p + sum over wrong tokens of -log(1 - p)) / answer tokens of both
                  (arXiv 1908.04319 with the wrong answer's tokens as candidates, alpha 1)
    npo           mean over pairs of `npo` + mean over correct tokens of -log p (arXiv 2404.05868: NPO with its retain
                  term, weight 1, per token as in the authors' code)
    dpo, kto      mean over pairs of `dpo`; mean over their 2P answers of `kto`
    orpo          mean over correct tokens of -log p + mean over pairs of `odds_ratio` (arXiv 2403.07691; trl takes
                  the first mean over the prompt's tokens too, here as in the paper the answer alone is learnt)
    """
    both_tokens = batch.correct_tokens + batch.wrong_tokens
    match objective:
        case "likelihood":
            return -torch.cat(tuple(answers.correct)).sum() / both_tokens
        case "mixture":
            return -torch.cat((*answers.correct, *answers.wrong)).sum() / both_tokens
        case "unlikelihood":
            return (-torch.cat(tuple(answers.correct)).sum() + unlikelihood(torch.cat(tuple(answers.wrong))).sum()) / (
                both_tokens
            )
        case "npo":
            moved_away = npo(answers.ratios[:, 1], beta=beta).sum() / batch.examples
            return moved_away - torch.cat(tuple(answers.correct)).sum() / batch.correct_tokens
        case "dpo":
            return dpo(answers.ratios, beta=beta).sum() / batch.examples
        case "kto":
            return kto(answers.ratios, batch.divergence, beta=beta).sum() / (2 * batch.examples)
        case "orpo":
            means = (_each(answers.correct, torch.mean), _each(answers.wrong, torch.mean))
            learnt = -torch.cat(tuple(answers.correct)).sum() / batch.correct_tokens
            return learnt + odds_ratio(*means, beta=beta).sum() / batch.examples
    raise ValueError(f"objective {objective!r}: there is none of that name")


def unlikelihood(wrong: torch.Tensor) -> torch.Tensor:
    """(T,) -log(1 - p) of each token of wrong answers; 1 - p is at least LEAST_UNLIKELY. wrong: (T,) log p."""
    return -torch.log(torch.clamp(-torch.expm1(wrong), min=LEAST_UNLIKELY))


def npo(wrong_ratios: torch.Tensor, *, beta: float) -> torch.Tensor:
    """(P,) (2 / beta) * -log sigmoid(-beta * ratio), arXiv 2404.05868 equation 3. wrong_ratios: (P,)."""
    return -(2 / beta) * logsigmoid(-beta * wrong_ratios)


def dpo(ratios: torch.Tensor, *, beta: float) -> torch.Tensor:
    """(P,) -log sigmoid(beta * (correct ratio - wrong ratio)), arXiv 2305.18290 equation 7; trl's sigmoid loss.

    ratios: (P, 2), correct first.
    """
    return -logsigmoid(beta * (ratios[:, 0] - ratios[:, 1]))


def kto(ratios: torch.Tensor, divergence: float, *, beta: float) -> torch.Tensor:
    """(P, 2) 1 - sigmoid(beta * (ratio - z)) of correct, 1 - sigmoid(beta * (z - ratio)) of wrong answers.

    arXiv 2402.01306 with both weights 1, as trl has it; z is the divergence, a number without gradient.
    ratios: (P, 2), correct first.
    """
    away = ratios - divergence
    return 1 - torch.sigmoid(beta * torch.stack([away[:, 0], -away[:, 1]], dim=1))


def odds_ratio(correct: torch.Tensor, wrong: torch.Tensor, *, beta: float) -> torch.Tensor:
    """(P,) -beta * log sigmoid(log odds(correct) - log odds(wrong)), odds(p) = p / (1 - p), arXiv 2403.07691.

    correct, wrong: (P,) mean log p per token of the answers, at most LARGEST_MEAN in the odds.
    """
    return -beta * logsigmoid(_log_odds(correct) - _log_odds(wrong))


def _log_odds(mean: torch.Tensor) -> torch.Tensor:
    bounded = mean.clamp(max=LARGEST_MEAN)
    return bounded - torch.log(-torch.expm1(bounded))


def _each(answers: Sequence[torch.Tensor], reduced: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """(P,): one number per answer; no scattered addition, whose order a GPU does not keep."""
    return torch.stack([reduced(answer) for answer in answers])
