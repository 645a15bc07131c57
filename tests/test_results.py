"""What a trial's tables and counts in the store become: complete or not there, and the same when read again."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from likra_ray import plan as plans
from likra_ray import results
from likra_ray.errors import InputError
from likra_ray.heads.store import HeadStore
from likra_ray.material import Material
from likra_ray.plan import TrialPlan
from likra_ray.records import KINDS, Kind, Option, Question, ScoreTable, TrialResult
from likra_ray.spec import TrialSpec
from likra_ray.storage import Storage

KINDS_OF_ONE: tuple[Kind, ...] = ("correct", "near_miss", "near_miss", "far")
QUESTIONS = 12


def questions(prefix: str, count: int) -> tuple[Question, ...]:
    return tuple(
        Question(
            id=f"{prefix}{i}",
            prompt=f"Question: {prefix} {i}?\nAnswer:",
            options=tuple(Option(text=f"{kind} {place} {i}", kind=kind) for place, kind in enumerate(KINDS_OF_ONE)),
        )
        for i in range(count)
    )


MATERIAL = Material(
    base="random-tiny",
    identity="random-tiny-1",
    train=questions("t", 40),
    shots=(),
    evaluate=questions("e", QUESTIONS),
    others=(),
    left_out=(),
)
TRIAL = TrialSpec(volumes=(0, 8, 16), negatives=8, prior=True)
PLAN = plans.trial_plan(MATERIAL, TRIAL)


def table(seed: int) -> ScoreTable:
    rng = np.random.default_rng(seed)
    size = QUESTIONS * len(KINDS_OF_ONE)
    lengths = np.ones(size, dtype=np.int32)
    return ScoreTable(
        question_ids=tuple(question.id for question in MATERIAL.evaluate),
        question=np.repeat(np.arange(QUESTIONS), len(KINDS_OF_ONE)).astype(np.int32),
        kind=np.array([KINDS.index(kind) for kind in KINDS_OF_ONE] * QUESTIONS, dtype=np.int8),
        logprob=rng.normal(-5.0, 1.0, size),
        tokens=lengths,
        characters=lengths,
        bytes=lengths,
    )


def places(plan: TrialPlan) -> list[tuple[str, str, int]]:
    """(head, evaluation, volume) of every table the trial needs."""
    assert plan.prior_key is not None
    evaluations = {"positive": (plan.evaluation_key, plan.prior_key), "negative": (plan.evaluation_key,)}
    found = [(plan.base_key, key, 0) for key in (plan.evaluation_key, plan.prior_key)]
    for role, head in plan.heads.items():
        found += [(head.key, key, volume) for key in evaluations[role] for volume in plan.volumes[role][1:]]
    return found


def filled(plan: TrialPlan = PLAN, *, without: tuple[str, str, int] | None = None) -> HeadStore:
    """A store with every head and table of the trial, one table aside."""
    store = HeadStore(Storage(f"memory://{uuid.uuid4().hex}"))
    for role, head in plan.heads.items():
        for volume in plan.volumes[role]:
            store.save(head.key, volume, {"weight": torch.zeros(1)}, b"{}")
    for seed, place in enumerate(places(plan)):
        if place != without:
            store.save_table(*place, table(seed))
    return store


def count(store: HeadStore, role: str, volumes: dict[int, int]) -> None:
    name = f"heads/{PLAN.heads[role].key}/answer_tokens.json"  # type: ignore[index]
    store.storage.write(name, json.dumps(volumes).encode())


def test_the_prior_is_part_of_a_trials_tables() -> None:
    found = results.stored_tables(filled(), PLAN)
    assert found is not None
    assert {head: sorted(by_volume) for head, by_volume in found.others.items()} == {
        "base_prior": [0], "positive_prior": [8, 16]
    }  # fmt: skip
    expected = dict(zip(places(PLAN), range(99), strict=False))
    seed = expected[PLAN.heads["positive"].key, str(PLAN.prior_key), 16]
    np.testing.assert_array_equal(found.others["positive_prior"][16].logprob, table(seed).logprob)


@pytest.mark.parametrize("place", places(PLAN), ids=lambda place: f"{place[0][:8]} {place[1][-4:]} {place[2]}")
def test_a_missing_table_makes_the_trial_unfinished(place: tuple[str, str, int]) -> None:
    store = filled(without=place)
    assert results.stored_tables(store, PLAN) is None
    with pytest.raises(results.Unfinished, match="score table: got .n.* makes it again for trial"):
        results.tables(store.storage, done())


def test_without_a_prior_none_is_asked_for() -> None:
    plain = TRIAL.model_copy(update={"prior": False})
    found = results.stored_tables(filled(), plans.trial_plan(MATERIAL, plain))
    assert found is not None and found.others == {}


def done(tokens: dict[str, dict[int, int]] | None = None) -> TrialResult:
    found = results.stored_tables(filled(), PLAN)
    assert found is not None
    counted = tokens or {"positive": {0: 0, 8: 20, 16: 45}, "negative": {0: 0, 8: 22}}
    return results.done(TRIAL, PLAN, found, sampled={"seed": 0}, trained={}, seconds={}, tokens=counted)


def test_a_result_is_read_as_it_was_written_and_finds_its_tables() -> None:
    made = done()
    back = TrialResult.from_json(made.to_json())
    assert back.answer_tokens == made.answer_tokens and back.prior_evaluation == PLAN.prior_key
    again = results.tables(filled().storage, back)
    stored = results.stored_tables(filled(), PLAN)
    assert stored is not None and again.others.keys() == stored.others.keys()
    assert {point.volume for point in made.curves["pmi_sft"]} == {0, 8, 16}
    assert [point.volume for point in made.curves["pmi_base"]] == [0]
    assert made.metrics["pmi_sft/accuracy"][0] == made.metrics["pmi_base/accuracy"][0]


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    results.write(storage, "s", done())
    path = tmp_path / "s/trials" / done().key / "result.json"
    for text in (path.read_text()[:-9], path.read_text().replace('"status"', '"state"'), "[]"):
        path.write_text(text)
        with pytest.raises(InputError, match=f"{path}: file: got .* a whole one of this version"):
            results.read(storage, "s", done().key)


def test_a_result_of_an_older_version_is_read() -> None:
    row = json.loads(done().to_json())
    for field in ("answer_tokens", "prior_evaluation"):
        del row[field]
    back = TrialResult.from_json(json.dumps(row))
    assert (back.answer_tokens, back.prior_evaluation) == ({}, None)


def test_answer_tokens_are_there_when_every_head_is_counted() -> None:
    store = filled()
    assert results.answer_tokens(store, PLAN) is None
    count(store, "positive", {0: 0, 8: 20, 16: 45, 24: 70})
    count(store, "negative", {0: 0, 16: 40})
    assert results.answer_tokens(store, PLAN) is None
    count(store, "negative", {0: 0, 8: 22, 16: 40})
    assert results.answer_tokens(store, PLAN) == {"positive": {0: 0, 8: 20, 16: 45}, "negative": {0: 0, 8: 22}}


def test_mean_answer_tokens_are_those_all_trials_counted() -> None:
    first = done()
    longer = replace(first, answer_tokens={"positive": {0: 0, 8: 30}, "negative": {0: 0, 8: 24, 16: 50}})
    mean = results.mean_answer_tokens([first, longer])
    assert mean == {"positive": {0: 0.0, 8: 25.0}, "negative": {0: 0.0, 8: 23.0}}
    assert results.mean_answer_tokens([first, replace(first, answer_tokens={})]) == {}


@pytest.mark.parametrize(
    ("sampled", "name"),
    [
        ({}, "fixed"),
        ({"seed": 0, "learning_rate": 5e-4}, "learning_rate=0.0005 seed=0"),
        ({"negative_source.near_miss_from": "own", "labels": "shuffled"}, "labels=shuffled near_miss_from=own"),
    ],
)
def test_names_are_short(sampled: dict[str, Any], name: str) -> None:
    assert results.named(sampled) == name
