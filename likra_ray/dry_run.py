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
from rich.text import Text

from likra_ray import material as materials
from likra_ray import plan as plans
from likra_ray.cost import CHARACTERS_A_TOKEN, scoring_operations, training_operations
from likra_ray.errors import Unreachable
from likra_ray.heads.orders import BASELINES, Role
from likra_ray.heads.store import HeadStore
from likra_ray.records import Question
from likra_ray.search import values
from likra_ray.settings import Settings, resolved
from likra_ray.spec import SweepSpec
from likra_ray.storage import Storage

MOST_POINTS = 4096
"""Points of a finite space that are looked at one by one; a larger or continuous one is bounded by the budget."""

SHOWN, MOST_OPTIONS = 200, 6
"""Of the question that is shown: characters of each text, the prompt's last ones, and options."""

REACHED = 0.7
"""Share of the machine's matrix-multiply rate a sweep reaches, in operations as they are counted here: more than are
done, since tokens are guessed from characters and what texts share is not taken off (docs/LOG.md, 2026-11-27)."""


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


class Outlook(NamedTuple):
    """What a sweep would do."""

    sweep: str
    fields: dict[str, dict[str, Any]]
    """By dotted field: its value, and its origin (default, file, --set, sampled)."""
    not_counted: str | None = None
    """Why the rest is None: a base or a source that cannot be reached from here."""
    questions: dict[str, int] | None = None
    """train, evaluate, options (of those evaluated), shots, left_out."""
    first: Question | None = None
    """The first one to train on, as it was read."""
    trials: int | None = None
    exact: bool | None = None
    """Whether just this work will be done, or at most."""
    work: Work | None = None
    operations: float | None = None
    """Floating-point operations; None where the base's size is not known here."""
    minutes: float | None = None
    """On this machine, start-up and refinement not counted; None for GPUs."""


def foresee(settings: Settings, storage: Storage) -> Outlook:
    """Count it. Raises InputError as a sweep would; a source out of reach is named, not an error."""
    sweep = settings.sweep
    storage.check_readable()
    fields = {field: {"value": value, "origin": settings.origins.get(field, "default")}
              for field, value in resolved(sweep).items()}  # fmt: skip
    try:
        material = plans.gather(sweep)
    except Unreachable as error:
        return Outlook(sweep.name, fields, not_counted=str(error))
    points, exact = _points(sweep)
    work = count(sweep, material, points, HeadStore(storage))
    operations = _operations(work, material)
    timed = operations is not None and not sweep.trial.resources.gpus
    return Outlook(
        sweep.name,
        fields,
        questions={
            "train": len(material.train),
            "evaluate": len(material.evaluate),
            "options": sum(len(question.options) for question in material.evaluate),
            "shots": len(material.shots),
            "left_out": len(material.left_out),
        },
        first=material.train[0],
        trials=min(sweep.budget.trials, len(points)) if sweep.search else 1,
        exact=exact,
        work=work,
        operations=operations,
        minutes=operations / (_rate() * REACHED) / 60 if timed and operations is not None else None,
    )


def describe(outlook: Outlook, screen: Console) -> None:
    """Print it."""
    table = Table("field", "value", "origin", title=f"{outlook.sweep}: every value", title_justify="left")
    for field, one in outlook.fields.items():
        table.add_row(*[Text(cell) for cell in (field, str(one["value"]), one["origin"])])
    screen.print(table)
    for line in _lines(outlook):
        screen.print(line, highlight=False, markup=False, soft_wrap=True)


def _lines(outlook: Outlook) -> Iterator[str]:
    if outlook.questions is None or outlook.first is None or outlook.work is None:
        yield f"not counted here: {outlook.not_counted}"
        yield "heads, examples and time are counted where base and questions can be reached"
        return
    asked, work, most = outlook.questions, outlook.work, "" if outlook.exact else "at most "
    yield (
        f"questions: {asked['train']} to train on, {asked['evaluate']} with {asked['options']} options to evaluate "
        f"on, {asked['shots']} solved examples before each, {asked['left_out']} left out"
    )
    yield _first(outlook.first)
    kinds = ", ".join(f"{count} {role}" for role, count in work.heads.items())
    yield (
        f"{outlook.trials} trials: {most}{sum(work.heads.values())} heads ({kinds}), {work.stored} of them stored; "
        f"{most}{work.examples} examples to train, {most}{work.tables} score tables of {asked['options']} options "
        f"({most}{work.tables * asked['options']} options scored)"
    )
    if outlook.operations is None:
        yield "time: not known here, the base's weights are not on this machine"
    elif outlook.minutes is None:
        yield f"time: {outlook.operations / 1e15:.2f} PFLOP in all, to be divided by what your GPUs reach"
    else:
        apart = "start-up, refinement and baselines' references not counted"
        terms = f"{outlook.operations / 1e12:.1f} TFLOP; {apart}"
        yield f"time: about {outlook.minutes:.1f} minutes on this machine for {terms}"


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


def _operations(work: Work, material: materials.Material) -> float | None:
    """Floating-point operations all that takes, from the model's size; None where that is not known."""
    from likra_ray.heads import base as bases

    parameters = bases.parameter_count(bases.resolve(material.base))
    if parameters is None:
        return None
    characters = [len(question.prompt) + sum(len(o.text) for o in question.options) for question in material.evaluate]
    answers = [len(question.correct.text) for question in material.train[:500]]
    taught = [len(question.prompt) + len(question.correct.text) for question in material.train[:500]]
    a_pair = float(np.mean(taught) + np.mean(answers))
    scored = (work.tables * sum(characters) + work.pairs * a_pair) / CHARACTERS_A_TOKEN
    trained = ((work.examples - work.pairs) * float(np.mean(taught)) + work.pairs * a_pair) / CHARACTERS_A_TOKEN
    return scoring_operations(parameters, scored) + training_operations(parameters, trained)


def _rate() -> float:
    """fp32 FLOP per second of this machine's matrix product."""
    a = np.ones((1024, 1024), dtype=np.float32)
    a @ a
    began = time.perf_counter()
    for _ in range(5):
        a @ a
    return 5 * 2 * 1024**3 / (time.perf_counter() - began)
