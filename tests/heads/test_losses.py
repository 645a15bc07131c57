"""Every loss is the formula written out, number by number; cut anywhere it adds up; and it pushes the right way."""

from __future__ import annotations

import math
from typing import get_args

import numpy as np
import pytest
import torch

from likra_ray.heads.objectives import LEAST_UNLIKELY, REFERENCED, Answers, Batch, Objective, share
from likra_ray.heads.orders import BASELINES, WITH_BETA

BETA = 0.3
LENGTHS = ((1, 9), (4, 1), (2, 2), (7, 3), (1, 1))
"""Tokens of the correct and of the wrong answer of five pairs."""


def answers(seed: int = 0) -> Answers:
    """Log-probabilities from nearly sure to nearly impossible, the base's near them."""
    rng = np.random.default_rng(seed)
    made = [[torch.tensor(-rng.exponential(1.5, size=n), requires_grad=True) for n in pair] for pair in LENGTHS]
    sums = np.array([[float(answer.detach().sum()) for answer in pair] for pair in made])
    reference = torch.tensor(np.minimum(sums + rng.normal(0, 2, sums.shape), -0.01))
    return Answers([pair[0] for pair in made], [pair[1] for pair in made], reference)


def batch_of(found: Answers, divergence: float = 0.7) -> Batch:
    counts = (sum(len(answer) for answer in side) for side in (found.correct, found.wrong))
    return Batch(len(found.correct), *counts, divergence=divergence)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def written_out(objective: Objective, found: Answers, divergence: float = 0.7) -> float:
    """The loss of a whole batch, in loops over floats."""
    assert found.reference is not None
    correct = [answer.tolist() for answer in found.correct]
    wrong = [answer.tolist() for answer in found.wrong]
    ratios = [
        (sum(c) - float(ref[0]), sum(w) - float(ref[1]))
        for c, w, ref in zip(correct, wrong, found.reference, strict=True)
    ]
    all_correct, all_wrong = [x for answer in correct for x in answer], [x for answer in wrong for x in answer]
    tokens, pairs = len(all_correct) + len(all_wrong), len(correct)
    learnt = -sum(all_correct) / len(all_correct)
    match objective:
        case "likelihood":
            return -sum(all_correct) / tokens
        case "mixture":
            return -sum(all_correct + all_wrong) / tokens
        case "unlikelihood":
            return (-sum(all_correct) - sum(math.log(1 - math.exp(x)) for x in all_wrong)) / tokens
        case "npo":
            return sum(-2 / BETA * math.log(sigmoid(-BETA * r)) for _, r in ratios) / pairs + learnt
        case "dpo":
            return sum(-math.log(sigmoid(BETA * (c - w))) for c, w in ratios) / pairs
        case "kto":
            z = divergence
            losses = [1 - sigmoid(BETA * (c - z)) for c, _ in ratios] + [1 - sigmoid(BETA * (z - w)) for _, w in ratios]
            return sum(losses) / len(losses)
        case "orpo":
            means = [(sum(c) / len(c), sum(w) / len(w)) for c, w in zip(correct, wrong, strict=True)]
            odds = [[math.exp(m) / (1 - math.exp(m)) for m in pair] for pair in means]
            return learnt + sum(-BETA * math.log(sigmoid(math.log(c / w))) for c, w in odds) / pairs


@pytest.mark.parametrize("objective", ("likelihood", *BASELINES))
@pytest.mark.parametrize("seed", range(3))
def test_each_loss_is_its_formula_written_out(objective: Objective, seed: int) -> None:
    found = answers(seed)
    if objective == "likelihood":
        alone = Answers(found.correct)
        batch = Batch(len(LENGTHS), sum(len(answer) for answer in found.correct))
        expected = written_out("likelihood", found._replace(wrong=[torch.zeros(0)] * len(LENGTHS)))
        assert float(share(objective, alone, batch, beta=0.0).detach()) == pytest.approx(expected, rel=1e-12)
        return
    assert share(objective, found, batch_of(found), beta=BETA).item() == pytest.approx(
        written_out(objective, found), rel=1e-12
    )


@pytest.mark.parametrize("objective", BASELINES)
@pytest.mark.parametrize("parts", [[1, 4], [2, 2, 1], [1, 1, 1, 1, 1]], ids=str)
def test_shares_add_up_however_a_batch_is_cut(objective: Objective, parts: list[int]) -> None:
    found = answers()
    batch = batch_of(found)
    assert found.reference is not None
    ends = np.cumsum(parts)
    shares = [
        share(
            objective,
            Answers(found.correct[end - n : end], found.wrong[end - n : end], found.reference[end - n : end]),
            batch,
            beta=BETA,
        )
        for n, end in zip(parts, ends, strict=True)
    ]
    assert sum(shares).item() == pytest.approx(share(objective, found, batch, beta=BETA).item(), rel=1e-12)


@pytest.mark.parametrize("objective", BASELINES)
def test_correct_answers_are_pushed_up_and_wrong_ones_down_save_in_a_mixture(objective: Objective) -> None:
    found = answers()
    share(objective, found, batch_of(found), beta=BETA).backward()
    assert all(bool((answer.grad < 0).all()) for answer in found.correct)
    sign = -1 if objective == "mixture" else 1
    assert all(bool((sign * answer.grad > 0).all()) for answer in found.wrong)


@pytest.mark.parametrize("objective", BASELINES)
def test_nothing_is_infinite_where_the_head_is_sure(objective: Objective) -> None:
    """p = 1 in fp32, for right and wrong answers alike: the loss and its gradient are numbers."""
    sure = [torch.zeros(n, requires_grad=True) for n in (1, 3)]
    wrong = [torch.zeros(n, requires_grad=True) for n in (2, 1)]
    found = Answers(sure, wrong, torch.full((2, 2), -30.0))
    loss = share(objective, found, batch_of(found), beta=BETA)
    loss.backward()
    assert math.isfinite(loss.item())
    assert all(bool(torch.isfinite(answer.grad).all()) for answer in (*sure, *wrong))
    if objective == "unlikelihood":
        assert loss.item() == pytest.approx(-3 * math.log(LEAST_UNLIKELY) / 7)


def test_the_divergence_moves_kto_alone() -> None:
    found = answers()
    for objective in BASELINES:
        near, far = (share(objective, found, batch_of(found, z), beta=BETA).item() for z in (0.0, 3.0))
        assert (near != far) is (objective == "kto"), objective
        assert objective != "kto" or far == pytest.approx(written_out("kto", found, 3.0))


@pytest.mark.parametrize("objective", BASELINES)
def test_beta_and_reference_are_asked_for_where_they_matter(objective: Objective) -> None:
    found = answers()
    with_beta = [share(objective, found, batch_of(found), beta=beta).item() for beta in (0.1, 0.5)]
    assert (with_beta[0] != with_beta[1]) is (objective in WITH_BETA)
    if objective in REFERENCED:
        with pytest.raises(ValueError, match="the base's log-probabilities"):
            share(objective, found._replace(reference=None), batch_of(found), beta=BETA)
    else:
        share(objective, found._replace(reference=None), batch_of(found), beta=BETA)


def test_an_objective_of_another_name_is_refused() -> None:
    assert set(get_args(get_args(Objective)[0])) == {"likelihood"}
    with pytest.raises(ValueError, match="'ppo'"):
        share("ppo", answers(), batch_of(answers()), beta=BETA)  # type: ignore[arg-type]
