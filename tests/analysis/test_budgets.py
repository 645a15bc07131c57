"""Equal budgets: which volume of SFT answers to which of Likra, paired differences, what is not known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from made_curves import VOLUMES, curve, exact

from likra_ray.analysis.budgets import Between, between, equal_examples, equal_tokens
from likra_ray.errors import InputError

LIKRA = curve(exact([0.25, 0.30, 0.40, 0.60, 0.70, 0.70]))
SFT = curve(exact([0.50, 0.50, 0.52, 0.54, 0.56, 0.60]), arm="sft")
TOKENS = {
    "positive": {0: 0, 16: 32, 32: 64, 64: 128, 128: 256, 256: 512},
    "negative": {16: 64, 32: 128, 64: 256, 128: 512, 256: 1024},
}


@pytest.mark.parametrize(
    ("place", "found"),
    [
        (0.0, Between(0, 0, 0.0)),
        (8.0, Between(0, 1, 0.5)),
        (64.0, Between(3, 3, 0.0)),
        (64.0 * 2**0.25, Between(3, 4, 0.25)),
        (256.0, Between(5, 5, 0.0)),
        (257.0, None),
        (math.nan, None),
    ],
)
def test_between(place: float, found: Between | None) -> None:
    assert between(np.array(VOLUMES), place) == (found if found is None else pytest.approx(found))


def test_equal_examples_gives_sft_twice_as_many() -> None:
    rows = {row.volume: row for row in equal_examples(LIKRA, SFT)}
    assert rows[64].sft_volume == 128 and rows[64].amount == 128
    assert rows[64].difference.value == pytest.approx(0.60 - 0.56)
    assert math.isnan(rows[256].difference.value) and "ends at 256" in rows[256].difference.reason
    assert math.isnan(rows[256].sft) and rows[256].likra == pytest.approx(0.70)


def test_equal_tokens_counts_both_heads() -> None:
    rows = {row.volume: row for row in equal_tokens(LIKRA, SFT, TOKENS)}
    assert rows[64].amount == 128 + 256
    assert rows[64].sft_volume == pytest.approx(192.0)
    share = math.log2(192 / 128)
    assert rows[64].sft == pytest.approx((1 - share) * 0.56 + share * 0.60)
    assert rows[64].difference.value == pytest.approx(0.60 - rows[64].sft)
    assert rows[64].difference.interval[0] < rows[64].difference.value < rows[64].difference.interval[1]
    assert "before it has seen as much" in rows[128].difference.reason


def test_the_difference_is_paired_by_question() -> None:
    """The same answers in both arms: no difference, and an interval of no width."""
    rows = equal_examples(curve(exact([0.2, 0.5, 0.5, 0.5, 0.5, 0.5])), curve(exact([0.5] * 6), arm="sft"))
    assert rows[0].difference.interval == (0.0, 0.0)


@pytest.mark.parametrize("tokens", [{}, {"positive": TOKENS["positive"]}])
def test_unknown_tokens_are_said_not_guessed(tokens: dict[str, dict[int, float]]) -> None:
    rows = equal_tokens(LIKRA, SFT, tokens)
    assert len(rows) == 5 and all(math.isnan(row.amount) and "not recorded" in row.difference.reason for row in rows)


def test_wrong_input_is_refused() -> None:
    with pytest.raises(InputError, match="more tokens at every larger volume"):
        equal_tokens(LIKRA, SFT, {**TOKENS, "negative": {16: 64, 32: 64}})
    with pytest.raises(InputError, match="the same questions and seeds"):
        equal_examples(LIKRA, curve(exact([0.5] * 6, seeds=2), arm="sft"))
