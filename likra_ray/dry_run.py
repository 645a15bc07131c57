"""What a sweep would do, before it does anything: every value with its origin, heads, examples, passes, time."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from likra_ray import material as materials
from likra_ray import plan as plans
from likra_ray.cost import CHARACTERS_A_TOKEN, scoring_operations, training_operations
from likra_ray.errors import Unreachable
from likra_ray.heads.orders import BASELINES, Role
from likra_ray.heads.store import HeadStore
from likra_ray.records import Question
from likra_ray.search import values
from likra_ray.settings import Settings, resolved
from likra_ray.spec import SweepSpec, TrialSpec
from likra_ray.storage import Storage

MOST_POINTS = 4096
"""Points of a finite space that are looked at one by one; a larger or continuous one is bounded by the budget."""

SHOWN, MOST_OPTIONS = 200, 6
"""Of the question that is shown: characters of each text, the prompt's last ones, and options."""

REACHED = 0.4
"""Share of the machine's matrix-multiply rate a sweep reaches (first quickstarts, docs/LOG.md, 2026-11-23)."""


class Work(NamedTuple):
    """What a set of trials needs, each head and table counted once."""

    heads: dict[str, int]
    """By role: positive, negative, and every baseline."""
    stored: int
    """Of the heads, those whose last volume the store has."""
    examples: int
    """Training examples still to be seen; a baseline's is a pair."""
    pairs: int
    """Of the examples, those that are pairs: a second answer to learn from, most with a reference to score."""
    tables: int
    """Score tables still to be made, references of pairs aside."""


def describe(settings: Settings, storage: Storage, screen: Console) -> None:
    """Print it. Raises InputError as a sweep would; a source out of reach is named, not an error."""
    sweep = settings.sweep
    storage.check_readable()
    table = Table("field", "value", "origin", title=f"{sweep.name}: every value", title_justify="left")
    for field, value in resolved(sweep).items():
        table.add_row(field, str(value), settings.origins.get(field, "default"))
    screen.print(table)
    try:
        material = plans.gather(sweep)
    except Unreachable as error:
        screen.print(f"not counted here: {error}", highlight=False, soft_wrap=True)
        screen.print("heads, examples and time are counted where base and questions can be reached")
        return
    options = sum(len(question.options) for question in material.evaluate)
    screen.print(
        f"questions: {len(material.train)} to train on, {len(material.evaluate)} with {options} options to evaluate "
        f"on, {len(material.shots)} solved examples before each, {len(material.left_out)} left out",
        highlight=False,
        soft_wrap=True,
    )
    screen.print(_first(material.train[0]), markup=False, highlight=False, soft_wrap=True)
    points, exact = _points(sweep)
    work = count(sweep, material, points, HeadStore(storage))
    most = "" if exact else "at most "
    trials = min(sweep.budget.trials, len(points)) if sweep.search else 1
    kinds = ", ".join(f"{count} {role}" for role, count in work.heads.items())
    screen.print(
        f"{trials} trials: {most}{sum(work.heads.values())} heads ({kinds}), {work.stored} of them stored; {most}"
        f"{work.examples} examples to train, {most}{work.tables} score tables of {options} options "
        f"({most}{work.tables * options} options scored)",
        highlight=False,
        soft_wrap=True,
    )
    screen.print(_time(work, material, sweep.trial), highlight=False, soft_wrap=True)


def _first(question: Question) -> str:
    """A question as it was read, so that a wrong mapping is seen before it is learnt from."""
    options = [f"{option.text[:SHOWN]!r} ({option.kind})" for option in question.options[:MOST_OPTIONS]]
    more = f" and {len(question.options) - MOST_OPTIONS} more" if len(question.options) > MOST_OPTIONS else ""
    return f"the first to train on: {question.prompt[-SHOWN:]!r}, then one of {', '.join(options)}{more}"


def _points(sweep: SweepSpec) -> tuple[list[dict[str, Any]], bool]:
    """Points whose heads are counted, and whether just these will be run."""
    if not sweep.search:
        return [{}], True
    axes = {field: values(field, dimension, sweep.trial.volumes) for field, dimension in sweep.search.items()}
    if any(axis is None for axis in axes.values()):
        # Every sampled rate is a head of its own: count the budget's trials at the largest volumes.
        free = [field for field, axis in axes.items() if axis is None]
        largest = {field: max(axis) for field, axis in axes.items() if axis}
        spread = np.linspace(0.0, 1.0, sweep.budget.trials)
        return [largest | {field: _between(sweep, field, float(at)) for field in free} for at in spread], False
    grid = itertools.islice(_product(axes), MOST_POINTS)
    points = list(grid)
    return points, len(points) <= sweep.budget.trials


def _product(axes: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for combination in itertools.product(*axes.values()):
        yield dict(zip(axes, combination, strict=True))


def _between(sweep: SweepSpec, field: str, at: float) -> float:
    low, high = sweep.search[field].low, sweep.search[field].high  # type: ignore[union-attr]
    return float(low + at * (high - low))


def count(sweep: SweepSpec, material: materials.Material, points: list[dict[str, Any]], store: HeadStore) -> Work:
    """Heads, examples and tables of these points, what the store has taken off."""
    needed: dict[tuple[Role, str], set[int]] = {}
    priors: set[tuple[str, str, int]] = set()
    evaluation = base_key = ""
    for point in points:
        plan = plans.trial_plan(material, sweep.trial_spec(point))
        evaluation, base_key = plan.evaluation_key, plan.base_key
        for role, head in plan.heads.items():
            needed.setdefault((role, head.key), set()).update(plan.volumes[role])
        if plan.prior_key is not None:
            priors.add((base_key, plan.prior_key, 0))
            priors |= {(plan.heads["positive"].key, plan.prior_key, volume) for volume in plan.volumes["positive"][1:]}
    stored = examples = pairs = 0
    tables = sum(store.table(*place) is None for place in {(base_key, evaluation, 0), *priors})
    for (role, key), volumes in needed.items():
        stretches = store.stretches(key, volumes)
        stored += not stretches
        unseen = sum(last - start for start, last in stretches)
        examples += unseen
        pairs += unseen if role in BASELINES else 0
        tables += sum(store.table(key, evaluation, volume) is None for volume in volumes if volume)
    return Work(dict(Counter(role for role, _ in needed)), stored, examples, pairs, tables)


def _time(work: Work, material: materials.Material, trial: TrialSpec) -> str:
    """How long that takes here, from the model's size and a matrix product timed now."""
    from likra_ray.heads import base as bases

    parameters = bases.parameter_count(bases.resolve(material.base))
    if parameters is None:
        return "time: not known here, the base's weights are not on this machine"
    characters = [len(question.prompt) + sum(len(o.text) for o in question.options) for question in material.evaluate]
    answers = [len(question.correct.text) for question in material.train[:500]]
    taught = [len(question.prompt) + len(question.correct.text) for question in material.train[:500]]
    a_pair = float(np.mean(taught) + np.mean(answers))
    scored = (work.tables * sum(characters) + work.pairs * a_pair) / CHARACTERS_A_TOKEN
    trained = ((work.examples - work.pairs) * float(np.mean(taught)) + work.pairs * a_pair) / CHARACTERS_A_TOKEN
    flop = scoring_operations(parameters, scored) + training_operations(parameters, trained)
    if trial.resources.gpus:
        return f"time: {flop / 1e15:.2f} PFLOP in all, to be divided by what your GPUs reach"
    minutes = flop / (_rate() * REACHED) / 60
    apart = "start-up, refinement and baselines' references not counted"
    return f"time: about {minutes:.1f} minutes on this machine for {flop / 1e12:.1f} TFLOP; {apart}"


def _rate() -> float:
    """fp32 FLOP per second of this machine's matrix product."""
    a = np.ones((1024, 1024), dtype=np.float32)
    a @ a
    began = time.perf_counter()
    for _ in range(5):
        a @ a
    return 5 * 2 * 1024**3 / (time.perf_counter() - began)
