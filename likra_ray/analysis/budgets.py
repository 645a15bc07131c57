"""Takes Likra's and SFT's curves, returns their difference at equal budgets: of answer tokens, and of examples.

At volume n Likra has learnt from n positives and n negatives, SFT from n positives alone. Here SFT gets as much.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np

from likra_ray.analysis.estimates import Estimate, mean_of, missing
from likra_ray.errors import InputError
from likra_ray.records import LearningCurve

Currency = Literal["answer tokens", "examples"]


@dataclass(frozen=True, kw_only=True)
class EqualBudget:
    """Likra at one volume against SFT on as much data. Recomputed by budgets.equal_tokens, budgets.equal_examples."""

    currency: Currency
    volume: int
    """n: examples each of Likra's heads has seen."""
    amount: float
    """What Likra has seen then, both heads together, in the currency; NaN where it is not known."""
    sft_volume: float
    """Examples at which SFT has seen as much, interpolated; NaN where its run never does."""
    likra: float
    """Likra's accuracy."""
    sft: float
    """SFT's accuracy there, interpolated linearly in log2 examples; NaN where its run never gets there."""
    difference: Estimate
    """Likra less SFT, accuracy, paired by question; its reason says why where there is none."""


class Between(NamedTuple):
    """A place between two neighbouring volumes: 1 - share of the first and share of the second."""

    before: int
    after: int
    """Columns."""
    share: float


def equal_examples(likra: LearningCurve, sft: LearningCurve) -> list[EqualBudget]:
    """Likra at every volume n > 0 (n positives and n negatives) against SFT at 2 n positives."""
    volumes = [int(volume) for volume in likra.volumes if volume > 0]
    return [_compared("examples", likra, sft, n, amount=2.0 * n, sft_volume=2.0 * n) for n in volumes]


def equal_tokens(
    likra: LearningCurve, sft: LearningCurve, answer_tokens: Mapping[str, Mapping[int, float]]
) -> list[EqualBudget]:
    """Likra at every volume against SFT at the same number of answer tokens learnt from.

    answer_tokens: by role (positive, negative), then volume: tokens of all answers up to there, increasing; the mean
    over seeds where they differ. Between two volumes they are taken to grow in proportion to the examples.
    Raises InputError where a role's tokens do not increase with the volume.
    """
    seen = {role: _increasing(role, answer_tokens.get(role, {})) for role in ("positive", "negative")}
    rows = []
    for n in (int(volume) for volume in likra.volumes if volume > 0):
        if n in seen["positive"] and n in seen["negative"]:
            amount = seen["positive"][n] + seen["negative"][n]
            rows.append(_compared("answer tokens", likra, sft, n, amount, _volume_with(amount, seen["positive"])))
        else:
            rows.append(_compared("answer tokens", likra, sft, n, float("nan"), float("nan")))
    return rows


def _increasing(role: str, tokens: Mapping[int, float]) -> dict[int, float]:
    """The same in order of volume, from nothing at 0."""
    ordered = {0: 0.0, **{volume: float(tokens[volume]) for volume in sorted(tokens) if volume > 0}}
    if np.any(np.diff(list(ordered.values())) <= 0):
        raise InputError(where="equal_tokens", field=f"answer_tokens.{role}", value=dict(tokens),
                         allowed="more tokens at every larger volume")  # fmt: skip
    return ordered


def _volume_with(amount: float, seen: Mapping[int, float]) -> float:
    """Examples at which a head has seen this many tokens; NaN beyond its last volume."""
    volumes, tokens = np.array(list(seen), dtype=np.float64), np.array(list(seen.values()))
    return float("nan") if amount > tokens[-1] else float(np.interp(amount, tokens, volumes))


def _compared(
    currency: Currency, likra: LearningCurve, sft: LearningCurve, volume: int, amount: float, sft_volume: float
) -> EqualBudget:
    """One row. Raises InputError unless both curves hold the same questions and as many seeds."""
    if likra.question_ids != sft.question_ids or len(likra.outcomes) != len(sft.outcomes):
        shown = [(curve.arm, *curve.outcomes.shape) for curve in (likra, sft)]
        raise InputError(where="equal budgets", field="curves", value=shown, allowed="the same questions and seeds")
    seeds, _, questions = likra.outcomes.shape
    upper = likra.outcomes[:, int(np.flatnonzero(likra.volumes == volume)[0])]
    accuracy, last = mean_of(upper).value, int(sft.volumes[-1])
    row = EqualBudget(
        currency=currency, volume=volume, amount=amount, sft_volume=float("nan"), likra=accuracy, sft=float("nan"),
        difference=missing("", questions=questions, seeds=seeds),
    )  # fmt: skip
    if np.isnan(amount):
        return _without(row, "How many answer tokens were learnt from is not recorded.")
    place = between(sft.volumes, sft_volume)
    if place is None:
        return _without(row, f"SFT's run ends at {last} examples, before it has seen as much.")
    lower = (1.0 - place.share) * sft.outcomes[:, place.before] + place.share * sft.outcomes[:, place.after]
    return EqualBudget(
        currency=currency,
        volume=volume,
        amount=amount,
        sft_volume=sft_volume,
        likra=accuracy,
        sft=mean_of(lower).value,
        difference=mean_of(upper - lower),
    )


def _without(row: EqualBudget, reason: str) -> EqualBudget:
    return replace(row, difference=replace(row.difference, reason=reason))


def between(volumes: np.ndarray, place: float) -> Between | None:
    """Where a number of examples lies among (V,) increasing volumes, linear in log2 examples (from volume 0: linear in
    examples); None outside them or where it is NaN."""
    if np.isnan(place) or place < volumes[0] or place > volumes[-1]:
        return None
    after = int(np.searchsorted(volumes, place))
    if volumes[after] == place:
        return Between(after, after, 0.0)
    low, high = float(volumes[after - 1]), float(volumes[after])
    share = place / high if low == 0 else np.log2(place / low) / np.log2(high / low)
    return Between(after - 1, after, float(share))
