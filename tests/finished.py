"""A finished sweep of one trial on the random base, made without Ray: real heads, real tables, real records."""

from __future__ import annotations

from pathlib import Path

from likra_ray import material as materials
from likra_ray import plan as plans
from likra_ray import results, settings
from likra_ray.heads import base as bases
from likra_ray.heads import counts
from likra_ray.heads.produce import Producer
from likra_ray.heads.store import HeadStore
from likra_ray.heads.tokens import chat
from likra_ray.ledger import Ledger, open_ledger
from likra_ray.storage import Storage

SMOKE = Path(__file__).parents[1] / "search_spaces/smoke.yaml"

FAST = ("search={}", "trial.learning_rate=0.01", "trial.zero_stage=null", "trial.volumes=[0, 8, 16]")
"""One trial of plain PyTorch; the rate is high, so that 16 examples move the heads."""


def finished_trial(output: Path, *overrides: str, space: Path = SMOKE) -> Ledger:
    """Train, score and record the one trial of a search space, smoke.yaml's, under FAST and `overrides`."""
    sweep = settings.load(space, [*FAST, *overrides]).sweep
    material = plans.gather(sweep)
    storage = Storage(str(output))
    materials.write(material, storage)
    trial, store = sweep.trial, HeadStore(storage)
    plan = plans.trial_plan(material, trial)
    evaluation = plans.evaluation_order(plan, material)
    base = bases.load(bases.resolve(sweep.base))
    if material.chat:
        base = base._replace(tokenizer=chat(base.tokenizer))
    producer = Producer(base, store, plans.manner(trial), seed=trial.seed, roles=tuple(plan.heads))
    producer.base_table(plan.base_key, evaluation)
    for order in plans.head_orders(plan, trial, material, None):
        counts.keep(store, producer.tokenizer, order)
        producer.head(order, evaluation, lambda step: None)
    tables, tokens = results.stored_tables(store, plan), results.answer_tokens(store, plan)
    assert tables is not None and tokens is not None
    result = results.done(
        trial, plan, tables, sampled={}, trained=dict(producer.done.trained), seconds={"all": 1.0}, tokens=tokens
    )
    results.write(storage, sweep.name, result)
    book = open_ledger(storage, sweep, material, resume=False)
    book.end_trial(result)
    return book
