"""Takes score tables by volume and seed, returns learning curves, their points and what an added example is worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from likra_ray.analysis import arms
from likra_ray.analysis.resampling import (
    NORMAL_95,
    RESAMPLES,
    draw,
    influences,
    interval,
    means,
    resampled_means,
    widening,
)
from likra_ray.errors import InputError
from likra_ray.records import CurvePoint, LearningCurve, Metric, ScoreTable


@dataclass(frozen=True, kw_only=True)
class SeedTables:
    """The score tables one seed left behind, all of the same questions."""

    base: ScoreTable
    """The frozen base, before any training."""
    positive: Mapping[int, ScoreTable] = field(default_factory=dict)
    """By volume: examples the positive head has seen."""
    negative: Mapping[int, ScoreTable] = field(default_factory=dict)
    """By volume: examples the negative head has seen."""
    others: Mapping[str, Mapping[int, ScoreTable]] = field(default_factory=dict)
    """By head, then volume: the baselines' (arms.BASELINES), and whatever else an arm is made of."""

    @property
    def by_head(self) -> dict[str, Mapping[int, ScoreTable]]:
        """Every head's tables by volume; the base's at 0."""
        return {"base": {0: self.base}, "positive": self.positive, "negative": self.negative, **self.others}

    def at(self, head: str, volume: int) -> ScoreTable | None:
        """A head's table at a volume; at 0 that of what it was before training. None where there is none."""
        by_head = self.by_head
        if volume == 0 or head not in arms.UNTRAINED:
            return by_head.get(arms.UNTRAINED.get(head, head), {}).get(0)
        return by_head.get(head, {}).get(volume)

    @property
    def baselines(self) -> tuple[str, ...]:
        """Of arms.BASELINES, those with a table above volume 0; each is an arm of the same name."""
        return tuple(name for name in arms.BASELINES if any(self.others.get(name, {})))


class EfficiencyStep(NamedTuple):
    """What the examples between two neighbouring volumes were worth, with 95 % intervals."""

    start: int
    end: int
    """Volumes: examples."""
    gain: float
    """Accuracy at the end less that at the start."""
    gain_interval: tuple[float, float]
    per_example: float
    """Gain over examples added."""
    per_example_interval: tuple[float, float]
    per_doubling: float
    """Gain over doublings; NaN from volume 0."""
    per_doubling_interval: tuple[float, float]


class EfficiencyRatio(NamedTuple):
    """How many times as much one arm gains per example as another on one step."""

    start: int
    end: int
    """Volumes: examples."""
    ratio: float
    """Gain of the first over gain of the second; NaN unless bounded."""
    interval: tuple[float, float]
    """95 %, Fieller's; (-inf, inf) unless bounded."""
    bounded: bool
    """False where the second arm's gain may be 0: no finite ratio is then excluded from above."""
    at_least: float
    """Smallest ratio not excluded, given that the second arm gains; NaN where none is excluded or where it loses."""
    reason: str
    """One sentence: what the numbers rest on."""


def learning_curve(
    arm: str, metric: Metric, tables_by_seed: Mapping[int, SeedTables], *, weight: float = 1.0
) -> LearningCurve:
    """The arm's credit and margin on every question, at volume 0 and every volume where a seed has all its tables.

    Seeds stand in increasing order. Volume 0 is the base's table as every head (a table given for volume 0 is not
    read), so that likra at 0 is chance, exactly; the base arm has volume 0 alone. A volume a seed lacks is NaN there.
    Margins are in the metric's unit: nats, or nats per character or byte.
    Raises InputError: no seed, a volume that is not a whole number from 0, tables of different questions, unknown arm
    or metric.
    """
    heads = arms.find_arm(arm).heads
    if not tables_by_seed:
        raise InputError(where=f"arm {arm}", field="tables_by_seed", value={}, allowed="at least one seed")
    seeds = [tables_by_seed[seed] for seed in sorted(tables_by_seed)]
    arms.check_same_questions([table for tables in seeds for table in _tables(tables)])
    found = [_volumes(tables, heads) for tables in seeds]
    volumes = sorted(set().union(*found))
    table = seeds[0].base
    outcomes = np.full((len(seeds), len(volumes), len(table.question_ids)), np.nan)
    margins = np.full_like(outcomes, np.nan)
    for row, tables in enumerate(seeds):
        for column, volume in enumerate(volumes):
            if volume in found[row]:
                scores = arms.arm_scores(arm, {head: tables.at(head, volume) for head in heads}, weight=weight)
                scores = arms.normalised(scores, table, metric)
                outcomes[row, column] = arms.credit(scores, table)
                margins[row, column] = arms.margin(scores, table)
    return LearningCurve(
        arm=arm,
        metric=metric,
        question_ids=table.question_ids,
        volumes=np.array(volumes, dtype=np.int64),
        outcomes=outcomes,
        margins=margins,
    )


def at_shared_volumes(tables_by_seed: Mapping[int, SeedTables]) -> dict[int, SeedTables]:
    """Each head's tables at the volumes at which all seeds that have the head have one.

    A volume of some seeds alone, as a round of refinement that was cut short leaves it, would stand out of a mean curve
    by how those differ from the others.
    """
    volumes: dict[str, set[int]] = {}
    for tables in tables_by_seed.values():
        for head, by_volume in tables.by_head.items():
            if by_volume:
                volumes[head] = volumes.get(head, set(by_volume)) & set(by_volume)

    def kept(head: str, by_volume: Mapping[int, ScoreTable]) -> dict[int, ScoreTable]:
        return {volume: table for volume, table in by_volume.items() if volume in volumes[head]}

    return {
        seed: SeedTables(
            base=tables.base,
            positive=kept("positive", tables.positive),
            negative=kept("negative", tables.negative),
            others={head: kept(head, by_volume) for head, by_volume in tables.others.items()},
        )
        for seed, tables in tables_by_seed.items()
    }


def _tables(tables: SeedTables) -> list[ScoreTable]:
    return [table for by_volume in tables.by_head.values() for table in by_volume.values()]


def _volumes(tables: SeedTables, heads: tuple[str, ...]) -> set[int]:
    """0 and every volume at which each trained head among `heads` has a table."""
    by_head = tables.by_head
    trained = [set(by_head.get(head, {})) for head in heads if head in arms.UNTRAINED]
    shared = set.intersection(*trained) if trained else set()
    wrong = [volume for volume in shared if volume < 0 or volume != int(volume)]
    if wrong:
        raise InputError(where="score tables", field="volume", value=wrong[0], allowed="a whole number from 0")
    return shared | {0}


def points(curve: LearningCurve, *, rng: np.random.Generator, resamples: int = RESAMPLES) -> list[CurvePoint]:
    """Accuracy with its 95 % percentile interval at every volume, over what was measured there.

    Questions are drawn once per resample, the same at every volume; where there are several seeds the interval is
    widened by how they differ (resampling.widening) and cut to [0, 1]. With one seed it is conditional on that training
    run. `questions` and `seeds` count what was measured at that volume; accuracy and interval are NaN where none was.
    """
    accuracy = means(curve.outcomes)
    draws = resampled_means(curve.outcomes, _draws(curve, resamples, rng))
    measured = ~np.isnan(curve.outcomes)
    slopes = np.eye(len(curve.volumes))

    def over_runs(column: int) -> tuple[float, float]:
        widened = widening(influences(curve.outcomes, slopes[column]))
        low, high = interval(draws[:, column], estimate=float(accuracy[column]), widened=widened)
        return float(np.maximum(low, 0.0)), float(np.minimum(high, 1.0))

    return [
        CurvePoint(
            volume=int(volume),
            accuracy=float(accuracy[column]),
            interval=over_runs(column),
            questions=int(measured[:, column].any(axis=0).sum()),
            seeds=int(measured[:, column].any(axis=1).sum()),
        )
        for column, volume in enumerate(curve.volumes)
    ]


def efficiency(curve: LearningCurve, *, rng: np.random.Generator, resamples: int = RESAMPLES) -> list[EfficiencyStep]:
    """Accuracy gained per added example and per doubling between neighbouring volumes; empty for a single volume.

    Intervals are from the paired resampling of `points`: a step's two ends share their draw of questions.
    """
    gains = np.diff(means(curve.outcomes))
    gain_draws = np.diff(resampled_means(curve.outcomes, _draws(curve, resamples, rng)), axis=1)
    widened = _step_widenings(curve.outcomes)
    steps = []
    for column, (start, end) in enumerate(zip(curve.volumes[:-1].tolist(), curve.volumes[1:].tolist(), strict=True)):
        gain = float(gains[column])
        low, high = interval(gain_draws[:, column], estimate=gain, widened=widened[column])
        doublings = float(np.log2(end / start)) if start > 0 else float("nan")
        added = end - start
        steps.append(
            EfficiencyStep(
                start=start,
                end=end,
                gain=gain,
                gain_interval=(low, high),
                per_example=gain / added,
                per_example_interval=(low / added, high / added),
                per_doubling=gain / doublings,
                per_doubling_interval=(low / doublings, high / doublings),
            )
        )
    return steps


def largest_rise(curve: LearningCurve, *, rng: np.random.Generator, resamples: int = RESAMPLES) -> float:
    """Accuracy gained at most within a doubling, or from one volume to the next: the largest upper end of the 95 %
    intervals of all such pairs of volumes. NaN without two volumes.

    All pairs, since more volumes cut one rise into many small steps. Where hardly a question changed, resampling sees
    no variance: of Q questions none of which changed, up to 3 / Q may have (the rule of three).
    """
    volumes, mean = curve.volumes, means(curve.outcomes)
    draws = resampled_means(curve.outcomes, _draws(curve, resamples, rng))
    pairs = [
        (i, j)
        for j in range(1, len(volumes))
        for i in range(j)
        if i == j - 1 or (volumes[i] > 0 and volumes[j] <= 2 * volumes[i])
    ]
    ends = []
    for i, j in pairs:
        slope = np.eye(len(volumes))[j] - np.eye(len(volumes))[i]
        widened = widening(influences(curve.outcomes, slope))
        ends.append(interval(draws[:, j] - draws[:, i], estimate=float(mean[j] - mean[i]), widened=widened)[1])
    measured = [end for end in ends if not np.isnan(end)]
    return max(*measured, 3 / curve.outcomes.shape[2]) if measured else float("nan")


def efficiency_ratio(
    likra: LearningCurve, sft: LearningCurve, *, rng: np.random.Generator, resamples: int = RESAMPLES
) -> list[EfficiencyRatio]:
    """How many times as much the first arm gains per example as the second, on each step of the volumes both have.

    Both arms share every draw of questions. The interval is Fieller's (1954) with the covariance of the resampled
    gains, each arm's widened as in `efficiency`: where the second arm's gain may be 0 the set of ratios has no bound,
    and no number is given for it.
    Raises InputError unless both curves hold the same questions and as many seeds.
    """
    if likra.question_ids != sft.question_ids or len(likra.outcomes) != len(sft.outcomes):
        shown = [(curve.arm, *curve.outcomes.shape) for curve in (likra, sft)]
        raise InputError(where="efficiency_ratio", field="curves", value=shown, allowed="the same questions and seeds")
    draws = _draws(likra, resamples, rng)
    shared = np.intersect1d(likra.volumes, sft.volumes)
    gains, gain_draws = [], []
    for curve in (likra, sft):
        outcomes = curve.outcomes[:, np.isin(curve.volumes, shared), :]
        gain = np.diff(means(outcomes))
        gains.append(gain)
        gain_draws.append(gain + _step_widenings(outcomes) * (np.diff(resampled_means(outcomes, draws), axis=1) - gain))
    steps = zip(shared[:-1].tolist(), shared[1:].tolist(), strict=True)
    return [
        _fieller(start, end, float(gains[0][step]), float(gains[1][step]), np.array([g[:, step] for g in gain_draws]))
        for step, (start, end) in enumerate(steps)
    ]


def _fieller(start: int, end: int, upper: float, lower: float, draws: np.ndarray) -> EfficiencyRatio:
    """Ratios r for which upper - r lower is within noise of 0: a r^2 - 2 b r + c <= 0. draws: (2, B) of both gains."""
    kept = draws[:, ~np.isnan(draws).any(axis=0)]
    nothing = EfficiencyRatio(start, end, float("nan"), (-np.inf, np.inf), False, float("nan"), "")
    if np.isnan(upper) or np.isnan(lower) or kept.shape[1] < 2:
        return nothing._replace(interval=(float("nan"), float("nan")), reason="A gain was not measured in both arms.")
    spread = np.cov(kept) * NORMAL_95**2
    a, b, c = lower**2 - spread[1, 1], upper * lower - spread[0, 1], upper**2 - spread[0, 0]
    root = float(np.sqrt(max(b * b - a * c, 0.0)))
    if a > 0.0:
        ends = (float((b - root) / a), float((b + root) / a))
        reason = "Both gains are measured on the same questions; the second arm's excludes 0."
        at_least = max(ends[0], 0.0) if lower > 0.0 else float("nan")
        return EfficiencyRatio(start, end, upper / lower, ends, True, at_least, reason)
    reason = f"The second arm's gain, {lower:.3f}, is within noise of 0: its ratio has no upper bound"
    if c <= 0.0 or upper <= 0.0 or a == 0.0:
        return nothing._replace(reason=f"{reason}, and no lower one.")
    at_least = float((b - root) / a)  # a < 0 < c: the excluded ratios lie between one negative and this positive root
    return nothing._replace(
        at_least=at_least, reason=f"{reason}; if that arm gains at all, it is above {at_least:.1f}."
    )


def _step_widenings(outcomes: np.ndarray) -> np.ndarray:
    """(V - 1,): `widening` of the gain of every step."""
    return np.array([widening(influences(outcomes, slope)) for slope in np.diff(np.eye(outcomes.shape[1]), axis=0)])


def _draws(curve: LearningCurve, resamples: int, rng: np.random.Generator) -> np.ndarray:
    return draw(questions=curve.outcomes.shape[2], resamples=resamples, rng=rng)
