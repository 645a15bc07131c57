"""Trial results in the output folder: read, written, made from the score tables of a trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from likra_ray.analysis import arms, findings, sweep_findings
from likra_ray.analysis.curves import SeedTables
from likra_ray.errors import InputError
from likra_ray.heads import counts
from likra_ray.heads.orders import ROLES
from likra_ray.heads.store import HeadStore
from likra_ray.plan import TrialPlan
from likra_ray.records import ScoreTable, TrialResult
from likra_ray.spec import TrialSpec
from likra_ray.storage import Storage


class Unfinished(InputError):
    """A trial's score tables are not all there."""

    @classmethod
    def lacks(cls, storage: Storage, result: TrialResult, what: str) -> Self:
        """what: the table, in words."""
        remedy = f"whole; --resume of sweep, or the same trial command, makes it again for trial {result.key}"
        return cls(where=storage.root, field="score table", value=what, allowed=remedy)


def stored_tables(store: HeadStore, plan: TrialPlan) -> SeedTables | None:
    """All score tables of a trial; None unless every head and table is there."""
    priors = _priors(store, plan.prior_key, base=plan.base_key, positive=plan.heads["positive"].key,
                     volumes=plan.volumes["positive"])  # fmt: skip
    base = store.table(plan.base_key, plan.evaluation_key, 0)
    by_role: dict[str, dict[int, ScoreTable]] = {}
    for role, head in plan.heads.items():
        if not set(plan.volumes[role]) <= set(store.volumes(head.key)):
            return None
        found = {volume: store.table(head.key, plan.evaluation_key, volume) for volume in plan.volumes[role][1:]}
        by_role[role] = {volume: table for volume, table in found.items() if table is not None}
        if len(by_role[role]) < len(found):
            return None
    return None if base is None or priors is None else _seed_tables(base, {**by_role, **priors})


def accuracy_so_far(store: HeadStore, plan: TrialPlan, volume: int, *, weight: float) -> dict[str, float]:
    """Accuracy by arm at one volume, of the arms whose heads are scored there already; for a screen, not a finding."""
    there = {"base": store.table(plan.base_key, plan.evaluation_key, 0)}
    for role, head in plan.heads.items():
        if volume in plan.volumes[role]:  # another trial may have taken the head further
            there[role] = store.table(head.key, plan.evaluation_key, volume)
    tables = {role: table for role, table in there.items() if table is not None}
    return {
        name: float(np.mean(arms.credit(arms.arm_scores(name, tables, weight=weight), tables[arm.plus])))
        for name, arm in arms.ARMS.items()
        if name != "base" and set(arm.heads) <= set(tables)
    }


def _priors(
    store: HeadStore, evaluation: str | None, *, base: str, positive: str, volumes: Sequence[int]
) -> dict[str, dict[int, ScoreTable]] | None:
    """Tables of the evaluation after a bare "Answer:", by head; {} where there is no such evaluation, None where one of
    its tables is missing. base, positive: keys; volumes: of the positive head, 0 first."""
    found: dict[str, dict[int, ScoreTable]] = {}
    for head, key, wanted in (("base_prior", base, volumes[:1]), ("positive_prior", positive, volumes[1:])):
        if evaluation is not None:
            by_volume = {volume: store.table(key, evaluation, volume) for volume in wanted}
            found[head] = {volume: table for volume, table in by_volume.items() if table is not None}
            if len(found[head]) < len(wanted):
                return None
    return found


def answer_tokens(store: HeadStore, plan: TrialPlan) -> dict[str, dict[int, int]] | None:
    """By role, then volume: answer tokens each head of a trial has learnt from; None where a head is not counted."""
    found: dict[str, dict[int, int]] = {}
    for role, head in plan.heads.items():
        known = counts.kept(store, head.key)
        found[role] = {volume: known[volume] for volume in plan.volumes[role] if volume in known}
        if len(found[role]) < len(plan.volumes[role]):
            return None
    return found


def tables(storage: Storage, result: TrialResult) -> SeedTables:
    """The score tables a finished trial rests on. Raises Unfinished where one is gone."""
    store = HeadStore(storage)
    base = store.table(result.heads["base"], result.evaluation, 0)
    trial = TrialSpec.model_validate(result.spec)
    by_role: dict[str, dict[int, ScoreTable]] = {}
    for role in (*ROLES, *trial.baselines):
        by_role[role] = {}
        for volume in trial.head_volumes(role)[1:]:
            table = store.table(result.heads[role], result.evaluation, volume)
            if table is None:
                raise Unfinished.lacks(storage, result, f"none of {result.heads[role]} at {volume}")
            by_role[role][volume] = table
    if base is None:
        raise Unfinished.lacks(storage, result, f"none of {result.heads['base']}")
    priors = _priors(store, result.prior_evaluation, base=result.heads["base"], positive=result.heads["positive"],
                     volumes=trial.head_volumes("positive"))  # fmt: skip
    if priors is None:
        raise Unfinished.lacks(storage, result, f"not all of {result.prior_evaluation}")
    return _seed_tables(base, {**by_role, **priors})


def _seed_tables(base: ScoreTable, by_role: Mapping[str, Mapping[int, ScoreTable]]) -> SeedTables:
    others = {role: by_volume for role, by_volume in by_role.items() if role not in ROLES}
    return SeedTables(base=base, positive=by_role["positive"], negative=by_role["negative"], others=others)


def done(
    trial: TrialSpec,
    plan: TrialPlan,
    found: SeedTables,
    *,
    sampled: Mapping[str, Any],
    trained: dict[str, int],
    seconds: dict[str, float],
    tokens: dict[str, dict[int, int]],
) -> TrialResult:
    """The record of a finished trial: all its tables say, analysed.

    trained: examples trained by this trial, by role; seconds: wall clock by part; tokens: as `answer_tokens` has them.
    """
    name = named(sampled)
    rng = np.random.default_rng(int(plan.key, 16))
    finding = findings.find(
        {trial.seed: found}, name=name, settings=dict(sampled), trials=(plan.key,), weight=trial.weight, rng=rng,
        answer_tokens=tokens,
    )  # fmt: skip
    return TrialResult(
        key=plan.key,
        name=name,
        status="done",
        reason=None,
        spec=trial.model_dump(mode="json"),
        sampled=dict(sampled),
        heads={"base": plan.base_key, **{role: head.key for role, head in plan.heads.items()}},
        evaluation=plan.evaluation_key,
        curves={arm: list(points) for arm, points in finding.curves.items()},
        metrics=findings.metrics_by_volume(finding, found, weight=trial.weight),
        phase=dict(finding.phase),
        trained=trained,
        seconds=seconds,
        prior_evaluation=plan.prior_key,
        answer_tokens=tokens,
    )


def failed(
    trial: TrialSpec,
    plan: TrialPlan,
    sampled: Mapping[str, Any],
    reason: str,
    retried: Sequence[str] = (),
    repaired: Sequence[str] = (),
) -> TrialResult:
    """The record of a trial that did not end well. retried: why its workers were started again before that; repaired:
    files that were found damaged."""
    return TrialResult(
        key=plan.key,
        name=named(sampled),
        status="failed",
        reason=reason,
        spec=trial.model_dump(mode="json"),
        sampled=dict(sampled),
        heads={"base": plan.base_key, **{role: head.key for role, head in plan.heads.items()}},
        evaluation=plan.evaluation_key,
        curves={},
        metrics={},
        phase={},
        trained={},
        seconds={},
        retried=list(retried),
        repaired=list(repaired),
    )


def finding(storage: Storage, results: Sequence[TrialResult]) -> findings.Finding:
    """What one configuration says: finished trials that differ in seed only, one each. Raises Unfinished."""
    joined = configuration(storage, results)
    rng = np.random.default_rng([int(key, 16) for key in sorted(joined.trials)])
    return sweep_findings.find(joined, rng=rng)


def alone(result: TrialResult) -> findings.Finding:
    """What a trial's own record says of its curves and phases, as its workers found it: nothing is computed again."""
    return findings.Finding(
        name=result.name,
        settings=dict(result.sampled),
        trials=(result.key,),
        seeds=(int(result.spec["seed"]),),
        questions=max(point.questions for point in result.curves["likra"]),
        curves={arm: tuple(points) for arm, points in result.curves.items()},
        phase=result.phase,
        efficiency={},
        ratio=(),
    )


def configuration(storage: Storage, results: Sequence[TrialResult]) -> sweep_findings.Configuration:
    """One configuration and its score tables: finished trials that differ in seed only, one each. Raises Unfinished."""
    first = results[0]
    settings = findings.settings_of(first)
    return sweep_findings.Configuration(
        name=named(settings),
        settings=settings,
        trial=first.spec,
        tables={int(result.spec["seed"]): tables(storage, result) for result in results},
        trials=tuple(result.key for result in results),
        answer_tokens=mean_answer_tokens(results),
    )


def whose(result: TrialResult) -> tuple[str, int]:
    """The configuration and the seed of a trial: equal for those of which findings rest on one alone."""
    return named(findings.settings_of(result)), int(result.spec["seed"])


def mean_answer_tokens(results: Sequence[TrialResult]) -> dict[str, dict[int, float]]:
    """By role, then volume: answer tokens a head has learnt from, the mean over trials, where all of them counted."""
    roles = set.intersection(*(set(result.answer_tokens) for result in results))
    found: dict[str, dict[int, float]] = {}
    for role in sorted(roles):
        counted = [result.answer_tokens[role] for result in results]
        shared = sorted(set.intersection(*(set(by_volume) for by_volume in counted)))
        found[role] = {volume: float(np.mean([by_volume[volume] for by_volume in counted])) for volume in shared}
    return found


def named(sampled: Mapping[str, Any]) -> str:
    """``near_miss_share=0.5 negatives=512 learning_rate=0.0005``, a dotted field by its last part.

    What is asked comes first and what is held alike last, since MLflow's lists cut names; "fixed" where a sweep varies
    nothing.
    """
    last = ("learning_rate", "seed")
    short = sorted(
        ((field.rpartition(".")[2], value) for field, value in sampled.items() if field != REFINED),
        key=lambda one: (last.index(one[0]) if one[0] in last else -1, one[0]),
    )
    words = [f"{field}={value:g}" if isinstance(value, float) else f"{field}={value}" for field, value in short]
    if is_refined(sampled):
        words.append(f"at {len(sampled[REFINED])} volumes")
    return " ".join(words) or "fixed"


REFINED = "volumes"
"""What a point of a refinement has and a sampled point has not."""


def is_refined(sampled: Mapping[str, Any]) -> bool:
    """Whether a trial is one of a refinement (refine.py)."""
    return REFINED in sampled


def read(storage: Storage, sweep: str, key: str) -> TrialResult | None:
    """What a trial left; None where it left nothing yet. Raises InputError for a damaged record."""
    name = f"{sweep}/trials/{key}/result.json"
    if not storage.exists(name):
        return None
    remedy = "without it, --resume of the sweep makes it again from the heads that are there"
    return storage.read_as(name, lambda data: TrialResult.from_json(data.decode()), remedy=remedy)


def whole(storage: Storage, result: TrialResult) -> bool:
    """Whether all score tables of a finished trial are there, and none is damaged."""
    try:
        tables(storage, result)
    except Unfinished:
        return False
    return True


def remove(storage: Storage, sweep: str, key: str) -> None:
    """Forget what a trial left: it will be run again."""
    storage.remove(f"{sweep}/trials/{key}/result.json")


def write(storage: Storage, sweep: str, result: TrialResult) -> None:
    """Keep what a trial found."""
    storage.write(f"{sweep}/trials/{result.key}/result.json", result.to_json().encode())
