"""Keys change with what changes a head and with nothing else; and what cannot run is refused before it runs."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from likra_ray import material as materials
from likra_ray import plan
from likra_ray.errors import InputError
from likra_ray.heads.orders import BASELINES, ROLES
from likra_ray.keys import EvaluationSpec, HeadSpec
from likra_ray.plan import Material, gather, head_orders, trial_plan
from likra_ray.questions.files import write_jsonl
from likra_ray.records import Kind, Option, Question
from likra_ray.spec import LoraSpec, SweepSpec, TrialSpec
from likra_ray.storage import Storage


def question(identifier: str, *options: tuple[str, Kind]) -> Question:
    made = tuple(Option(text=text, kind=kind) for text, kind in options)
    return Question(id=identifier, prompt=f"Question: {identifier}?\nAnswer:", options=made)


def plain(count: int, *, first: int = 0, near: int = 2, far: int = 2, prefix: str = "q") -> tuple[Question, ...]:
    return tuple(
        question(
            f"{prefix}{i}",
            (f"right {i}", "correct"),
            *[(f"near {i} {j}", "near_miss") for j in range(near)],
            *[(f"far {i} {j}", "far") for j in range(far)],
        )
        for i in range(first, first + count)
    )


MATERIAL = Material(
    base="random-tiny",
    identity="random-tiny-1",
    train=plain(40),
    shots=plain(2, first=100),
    evaluate=plain(5, first=200),
    others=plain(6, first=300),
    left_out=(("q77", "too long; ä"),),
)


def trial(**changes: Any) -> TrialSpec:
    return TrialSpec.model_validate({"volumes": (0, 8, 16), "batch_size": 8, **changes})


def changed(**changes: Any) -> Material:
    fields = ("base", "identity", "train", "shots", "evaluate", "others", "left_out")
    return Material(**{**{name: getattr(MATERIAL, name) for name in fields}, **changes})


HEAD = HeadSpec(
    role="negative",
    base="b",
    questions="q",
    recipe={"near_miss_share": 1.0},
    learning_rate=1e-3,
    batch_size=8,
    lora=LoraSpec(),
    seed=0,
    precision="fp32",
)
EVALUATION = EvaluationSpec(base="b", questions="q", prefix="p", precision="fp32")
OTHER: dict[str, Any] = {
    "role": "positive",
    "base": "other",
    "questions": "other",
    "prefix": "other",
    "recipe": {"near_miss_share": 0.5},
    "learning_rate": 1.1e-3,
    "batch_size": 4,
    "lora": LoraSpec(rank=4),
    "seed": 1,
    "precision": "bf16",
}


@pytest.mark.parametrize(
    ("spec", "field"),
    [(spec, field) for spec in (HEAD, EVALUATION) for field in type(spec).model_fields],
    ids=lambda part: part if isinstance(part, str) else type(part).__name__,
)
def test_each_field_changes_the_key(spec: HeadSpec | EvaluationSpec, field: str) -> None:
    same = type(spec).model_validate(json.loads(spec.model_dump_json()))
    assert same.key == spec.key
    assert spec.model_copy(update={field: OTHER[field]}).key != spec.key


@pytest.mark.parametrize("lora", [{"rank": 4}, {"alpha": 16}, {"targets": ["gate_proj"]}], ids=str)
def test_each_part_of_the_adapter_changes_the_key(lora: dict[str, Any]) -> None:
    assert HEAD.model_copy(update={"lora": LoraSpec(**lora)}).key != HEAD.key


def keys(spec: TrialSpec, material: Material = MATERIAL) -> dict[str, str]:
    """Every key of a trial, by what it names."""
    found = trial_plan(material, spec)
    heads = {role: found.heads[role].key for role in ROLES}
    return {"trial": found.key, "base": found.base_key, "evaluation": found.evaluation_key, **heads}


def what_changes(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in before if before[name] != after[name]}


BOTH = {"trial", "positive", "negative"}
NEGATIVE = {"trial", "negative"}


@pytest.mark.parametrize(
    ("change", "changes"),
    [
        ({}, set()),
        ({"learning_rate": 1e-3}, BOTH),
        ({"batch_size": 4}, BOTH),
        ({"seed": 1}, BOTH),
        ({"lora": {"rank": 2}}, BOTH),
        ({"precision": "bf16"}, BOTH | {"base", "evaluation"}),
        ({"near_miss_share": 0.25}, NEGATIVE),
        ({"contamination_share": 0.5}, NEGATIVE),
        ({"negative_source": {"near_miss_from": "most_plausible"}}, NEGATIVE),
        ({"negative_source": {"far_from": "other_question"}}, NEGATIVE),
        ({"negative_source": {"per_question": 2}}, NEGATIVE),
        ({"negative_source": {"far_from": "other_dataset", "other": "arc"}}, NEGATIVE),
        ({"labels": "shuffled"}, BOTH),
        ({"prior": True}, {"trial"}),
        ({"baselines": ("dpo", "mixture")}, {"trial"}),
        ({"beta": 0.5}, set()),
        ({"volumes": (0, 8)}, {"trial"}),
        ({"negatives": 8}, {"trial"}),
        ({"positives": 8}, {"trial"}),
        ({"weight": 0.5}, {"trial"}),
        ({"resources": {"workers": 2, "cpus": 2}}, set()),
        ({"resources": {"heads_at_once": True}, "zero_stage": None}, set()),
        ({"zero_stage": 3}, set()),
        ({"zero_stage": None}, set()),
        ({"accumulation": 2}, set()),
        ({"activation_checkpointing": True}, set()),
    ],
    ids=str,
)
def test_what_a_field_of_the_trial_changes(change: dict[str, Any], changes: set[str]) -> None:
    """At a share of a half, where every source of negatives matters."""
    half = {"near_miss_share": 0.5}
    assert what_changes(keys(trial(**half)), keys(trial(**{**half, **change}))) == changes


def test_every_field_of_the_trial_is_in_the_table_above() -> None:
    [mark] = test_what_a_field_of_the_trial_changes.pytestmark  # type: ignore[attr-defined]
    named = {field for change, _ in mark.args[1] for field in change}
    assert named == set(TrialSpec.model_fields)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, ("54502aea4928", "370e62369ba147dc", "495758e076a5d94d", "5172a988061ab270")),
        (
            {"near_miss_share": 0.5, "contamination_share": 0.25},
            ("a9bba7894b3b", "370e62369ba147dc", "19a91c2ca2d7df22", "5172a988061ab270"),
        ),
        (
            {
                "near_miss_share": 0.5,
                "negative_source": {
                    "near_miss_from": "most_plausible",
                    "far_from": "other_question",
                    "per_question": 2,
                },
                "learning_rate": 1e-3,
                "seed": 3,
                "precision": "bf16",
            },
            ("2a1a0904b9e5", "546da438ad1b71a4", "3ff296115025c55e", "74ff99b25a31496a"),
        ),
    ],
    ids=["defaults", "contaminated", "other sources"],
)
def test_heads_and_results_of_version_0_1_are_found(change: dict[str, Any], expected: tuple[str, ...]) -> None:
    """Keys as they were before labels, prior and baselines came; a change that is meant raises spec.FORMAT."""
    found = keys(trial(**change))
    trained = (found[name].rpartition("-")[2] for name in ("positive", "negative", "evaluation"))
    assert (found["trial"], *trained) == expected


@pytest.mark.parametrize(
    ("share", "source", "same"),
    [
        (0.0, {"near_miss_from": "most_plausible"}, True),
        (0.0, {"far_from": "other_question"}, False),
        (0.0, {"per_question": 2}, False),
        (1.0, {"far_from": "other_question"}, True),
        (1.0, {"far_from": "other_dataset", "other": "arc"}, True),
        (1.0, {"near_miss_from": "least_plausible"}, False),
    ],
    ids=str,
)
def test_a_source_that_is_never_asked_does_not_count(share: float, source: dict[str, Any], same: bool) -> None:
    plain_head = keys(trial(near_miss_share=share))["negative"]
    head = keys(trial(near_miss_share=share, negative_source=source))["negative"]
    assert (head == plain_head) is same


@pytest.mark.parametrize(
    ("change", "changes"),
    [
        ({"identity": "other"}, BOTH | {"base", "evaluation"}),
        ({"base": "another name of it"}, set()),
        ({"train": plain(39)}, BOTH),
        ({"train": plain(40)[::-1]}, BOTH),
        ({"evaluate": plain(4, first=200)}, {"trial", "evaluation"}),
        ({"shots": plain(1, first=100)}, {"trial", "evaluation"}),
        ({"others": plain(1)}, set()),
        ({"left_out": ()}, set()),
    ],
    ids=lambda part: next(iter(part), "") if isinstance(part, dict) else "",
)
def test_what_the_material_changes(change: dict[str, Any], changes: set[str]) -> None:
    assert what_changes(keys(trial()), keys(trial(), changed(**change))) == changes


def test_another_data_set_changes_only_heads_that_draw_from_it() -> None:
    drawing = trial(near_miss_share=0.5, negative_source={"far_from": "other_dataset", "other": "arc"})
    assert what_changes(keys(drawing), keys(drawing, changed(others=plain(2)))) == NEGATIVE


@pytest.mark.parametrize(
    "other",
    [
        question("q", ("a", "correct"), ("b", "far")),
        question("q", ("b", "near_miss"), ("a", "correct")),
        question("q", ("a ", "correct"), ("b", "near_miss")),
        question("r", ("a", "correct"), ("b", "near_miss")),
    ],
    ids=["kind", "order", "text", "id and prompt"],
)
def test_digest_of_questions_counts_every_field(other: Question) -> None:
    one = question("q", ("a", "correct"), ("b", "near_miss"))
    assert materials.questions_digest([one]) != materials.questions_digest([other])
    assert materials.questions_digest([one, other]) != materials.questions_digest([other, one])


def test_volumes_of_each_head() -> None:
    found = trial_plan(MATERIAL, trial(negatives=16, positives=8))
    assert found.volumes == {"positive": (0, 8), "negative": (0, 8, 16)}


def test_material_survives_json_and_storage() -> None:
    back = Material.from_json(MATERIAL.to_json())
    assert back == MATERIAL
    assert back.name == MATERIAL.name
    assert changed(left_out=()).name != MATERIAL.name
    storage = Storage(f"memory://{uuid.uuid4().hex}")
    name = materials.write(MATERIAL, storage)
    assert name == materials.write(MATERIAL, storage) == MATERIAL.name
    assert materials.read(storage, name) == MATERIAL


def test_orders_hold_the_curricula_and_the_keys() -> None:
    spec = trial(near_miss_share=0.5)
    found = trial_plan(MATERIAL, spec)
    positive, negative = head_orders(found, spec, MATERIAL, None)
    assert (positive.role, negative.role) == ROLES
    for order in (positive, negative):
        head = found.heads[order.role]
        assert (order.key, order.volumes, order.learning_rate) == (head.key, (0, 8, 16), spec.learning_rate)
        assert HeadSpec.model_validate(json.loads(json.dumps(order.fields))).key == order.key
        assert len(order.pairs) >= 16
    assert all(answer.startswith("right") for _, answer in positive.pairs)
    assert [answer.split()[0] for _, answer in negative.pairs[:16]].count("near") == 8
    assert [prompt for prompt, _ in positive.pairs] == [prompt for prompt, _ in negative.pairs[:40]]


def test_a_baseline_is_one_more_head_of_the_trial() -> None:
    found = trial_plan(MATERIAL, trial(baselines=("dpo", "mixture"), positives=8))
    assert list(found.heads) == [*ROLES, "dpo", "mixture"]
    assert found.heads["dpo"].key.startswith("dpo-")
    assert found.volumes == {"positive": (0, 8), "negative": (0, 8, 16), "dpo": (0, 8), "mixture": (0, 8)}
    assert HeadSpec.model_validate(json.loads(found.heads["dpo"].model_dump_json())).key == found.heads["dpo"].key


@pytest.mark.parametrize(
    ("change", "changes"),
    [
        ({}, set()),
        ({"beta": 0.5}, {"trial", "npo", "dpo", "kto", "orpo"}),
        ({"near_miss_share": 0.5}, {"trial", "negative", *BASELINES}),
        ({"labels": "shuffled"}, {*BOTH, *BASELINES}),
        ({"learning_rate": 1e-3}, {*BOTH, *BASELINES}),
        ({"weight": 0.5}, {"trial"}),
        ({"baselines": BASELINES[::-1]}, {"trial"}),
    ],
    ids=str,
)
def test_what_a_field_changes_for_the_baselines(change: dict[str, Any], changes: set[str]) -> None:
    def all_keys(**fields: Any) -> dict[str, str]:
        found = trial_plan(MATERIAL, trial(**{"baselines": BASELINES, **fields}))
        return {"trial": found.key, **{role: head.key for role, head in found.heads.items()}}

    assert what_changes(all_keys(), all_keys(**change)) == changes


@pytest.mark.parametrize("labels", ["given", "shuffled"])
def test_a_baselines_pairs_are_the_negatives_with_their_questions_correct_answer(labels: str) -> None:
    spec = trial(near_miss_share=0.5, labels=labels, baselines=("npo", "kto"), beta=0.7)
    found = trial_plan(MATERIAL, spec)
    positive, negative, npo, kto = head_orders(found, spec, MATERIAL, None)
    assert [order.role for order in (npo, kto)] == ["npo", "kto"]
    assert (npo.pairs, npo.wrong) == (kto.pairs, kto.wrong), "npo retains on the pairs' correct answers"
    assert [prompt for prompt, _ in npo.pairs] == [prompt for prompt, _ in negative.pairs]
    assert npo.wrong == tuple(answer for _, answer in negative.pairs)
    assert set(npo.pairs) <= set(positive.pairs)
    assert (npo.beta, npo.base_key, npo.key) == (0.7, found.base_key, found.heads["npo"].key)
    assert positive.wrong == negative.wrong == ()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"baselines": ("dpo", "dpo")}, "each once"),
        ({"baselines": ("kto",), "batch_size": 1, "volumes": (0, 1)}, "batch_size of at least 2"),
        ({"baselines": ("ppo",)}, "'orpo'"),
        ({"baselines": ("kto",), "contamination_share": 1.0}, "contamination_share below"),
        ({"baselines": ("dpo",), "contamination_share": 0.94, "near_miss_share": 1.0}, "below 0.9375"),
        ({"baselines": ("dpo",), "contamination_share": 0.9, "near_miss_share": 0.5}, "below 0.875"),
        ({"beta": 0.0}, "greater than 0"),
    ],
    ids=str,
)
def test_baselines_that_cannot_be_made_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        trial(**fields)


def test_plausibility_chooses_the_near_miss() -> None:
    spec = trial(negative_source={"near_miss_from": "most_plausible"})
    assert plan.needs_plausibility(spec)
    assert not plan.needs_plausibility(trial())
    assert not plan.needs_plausibility(trial(near_miss_share=0, negative_source={"near_miss_from": "most_plausible"}))
    scores = np.tile([0.0, -2.0, -1.0, -9.0, -9.0], 40)
    _, negative = head_orders(trial_plan(MATERIAL, spec), spec, MATERIAL, scores)
    assert all(answer.endswith(" 1") for _, answer in negative.pairs), "the second near-miss is the likelier"
    assert plan.plausibility_order(MATERIAL).questions == MATERIAL.train
    assert plan.plausibility_order(MATERIAL).key != plan.plausibility_order(changed(train=plain(3))).key


def test_shuffled_labels_reach_both_heads_and_nothing_else() -> None:
    """Kinds are dealt anew, so positives are near-misses and far options too; prompts and their order stay."""
    given, shuffled = trial(), trial(labels="shuffled")
    orders = [head_orders(trial_plan(MATERIAL, spec), spec, MATERIAL, None) for spec in (given, shuffled)]
    for one, other in zip(*orders, strict=True):
        assert [prompt for prompt, _ in one.pairs] == [prompt for prompt, _ in other.pairs]
    positive, negative = orders[1]
    assert {answer.split()[0] for _, answer in positive.pairs} == {"right", "near", "far"}
    assert {answer.split()[0] for _, answer in negative.pairs} == {"right", "near", "far"}
    assert not set(positive.pairs) & set(negative.pairs), "what is right by its label is never wrong too"
    assert positive.fields["recipe"] == {"labels": "shuffled"}
    assert negative.fields["recipe"]["labels"] == "shuffled"


@pytest.mark.parametrize("labels", ["given", "shuffled"])
def test_full_contamination_makes_both_sets_identical(labels: str) -> None:
    spec = trial(near_miss_share=1.0, contamination_share=1.0, labels=labels)
    positive, negative = head_orders(trial_plan(MATERIAL, spec), spec, MATERIAL, None)
    assert positive.pairs == negative.pairs
    assert positive.key != negative.key


def test_the_prior_is_scored_without_question_and_shots() -> None:
    assert plan.prior_order(trial_plan(MATERIAL, trial()), MATERIAL) is None
    found = trial_plan(MATERIAL, trial(prior=True))
    order = plan.prior_order(found, MATERIAL)
    assert order is not None
    assert order.key == found.prior_key != found.evaluation_key
    assert {one.prompt for one in order.questions} == {"Answer:"} and order.shots == ()
    assert [one.options for one in order.questions] == [one.options for one in MATERIAL.evaluate]
    fewer = trial_plan(changed(shots=()), trial(prior=True))
    assert (fewer.prior_key, fewer.evaluation_key != found.evaluation_key) == (found.prior_key, True)
    assert trial_plan(MATERIAL, trial(prior=True, precision="bf16")).prior_key != found.prior_key
    assert trial_plan(changed(evaluate=plain(4, first=200)), trial(prior=True)).prior_key != found.prior_key


# --- gather: from a sweep's spec, with question files of one's own


def files(folder: Path, **lists: Sequence[Question]) -> dict[str, str]:
    for name, questions in lists.items():
        write_jsonl(folder / f"{name}.jsonl", questions)
    return {name: str(folder / f"{name}.jsonl") for name in lists}


def sweep(train: Any, evaluate: Any, *, shots: int = 0, search: Any = None, **changes: Any) -> SweepSpec:
    fields = {"volumes": (0, 8, 16), "batch_size": 8, **changes}
    questions = {"train": train, "evaluate": evaluate, "shots": shots}
    return SweepSpec.model_validate(
        {"name": "mine", "base": "random-tiny", "questions": questions, "trial": fields, "search": search or {}}
    )


def test_shots_are_taken_from_the_training_questions(tmp_path: Path) -> None:
    names = files(tmp_path, train=plain(30), test=plain(4, first=500))
    found = gather(sweep(names["train"], names["test"], shots=3))
    shown = {shot.id for shot in found.shots}
    assert len(shown) == 3
    assert not shown & {one.id for one in found.train}
    assert shown | {one.id for one in found.train} == {one.id for one in plain(30)}
    assert [one.id for one in found.evaluate] == ["q500", "q501", "q502", "q503"]
    assert (found.identity, found.left_out) == ("random-tiny-1", ())


@pytest.mark.parametrize("shots", [20, 64])
def test_more_shots_than_questions_are_refused(tmp_path: Path, shots: int) -> None:
    names = files(tmp_path, train=plain(20), test=plain(4, first=500))
    with pytest.raises(InputError, match=f"questions.shots: got {shots}; allowed: fewer than the 20 training"):
        gather(sweep(names["train"], names["test"], shots=shots))


def test_several_sources_are_joined_and_limited(tmp_path: Path) -> None:
    names = files(tmp_path, one=plain(20), two=plain(20, first=20), test=plain(4, first=500))
    found = gather(sweep([names["one"], {"source": names["two"], "limit": 5}], names["test"]))
    ids = [one.id for one in found.train]
    assert ids[:20] == [one.id for one in plain(20)]
    assert len(ids) == 25


def test_a_question_of_two_sources_is_asked_once(tmp_path: Path) -> None:
    """Under other ids and in other words' case; the first stays."""
    again = [replace(one, id=f"again {one.id}", prompt=one.prompt.upper()) for one in plain(6)]
    names = files(tmp_path, one=plain(4), two=again, rest=plain(20, first=500))
    found = gather(sweep(names["rest"], [names["one"], names["two"]]))
    assert [one.id for one in found.evaluate] == ["q0", "q1", "q2", "q3", "again q4", "again q5"]
    assert found.left_out[0] == ("again q0", "asked before, as q0") and len(found.left_out) == 4


@pytest.mark.parametrize("role", ["train", "evaluate"])
def test_ids_are_unique_over_sources(tmp_path: Path, role: str) -> None:
    names = files(tmp_path, one=plain(20), two=plain(1, first=3, prefix="q"), rest=plain(20, first=500))
    joined = [names["one"], names["two"]]
    spec = sweep(joined, names["rest"]) if role == "train" else sweep(names["rest"], joined)
    with pytest.raises(
        InputError, match=f"questions.{role}: got 'q3'; allowed: sources whose questions have different"
    ):
        gather(spec)


def test_training_on_what_is_evaluated_is_refused_in_files_of_ones_own(tmp_path: Path) -> None:
    names = files(tmp_path, train=plain(30), test=[*plain(3, first=500), *plain(2, first=7)])
    with pytest.raises(InputError) as caught:
        gather(sweep(names["train"], names["test"]))
    line = str(caught.value)
    assert line.startswith(f"{names['train']}: q7: got 'evaluated on too, as q7 (2 such)'")
    assert line.endswith("allowed: training questions that are not evaluated on")


def test_in_published_sets_it_is_left_out_by_name(tmp_path: Path) -> None:
    """ARC's layout in a folder; one test question is asked in training too, with other letters and spaces."""
    for split, stems in {
        "train": ["Why  is the sky BLUE?", *map(str, range(30))],
        "test": ["why is the sky blue?"],
    }.items():
        folder = tmp_path / "arc" / "ARC-Challenge"
        folder.mkdir(parents=True, exist_ok=True)
        rows = [
            {
                "id": f"{split}-{number}",
                "question": stem,
                "choices": {"text": ["light", "paint", "water"], "label": ["A", "B", "C"]},
                "answerKey": "A",
            }
            for number, stem in enumerate(stems)
        ]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = {"source": "arc-challenge", "folder": str(tmp_path / "arc")}
    found = gather(sweep(source, source))
    assert [one.id for one in found.evaluate] == ["ARC-Challenge/test-0"]
    assert found.left_out == (("ARC-Challenge/train-0", "evaluated on too, as ARC-Challenge/test-0"),)
    assert len(found.train) == 30
    assert "ARC-Challenge/train-0" not in {one.id for one in found.train}


@pytest.mark.parametrize(
    ("changes", "search", "role", "value", "most"),
    [
        ({"volumes": (0, 8, 24)}, {}, "positive", 24, 20),
        ({"volumes": (0, 8, 24), "positives": 8, "near_miss_share": 0.5}, {}, "negative", 24, 20),
        ({"volumes": (0, 8, 48), "positives": 8, "negative_source": {"per_question": 2}}, {}, "negative", 48, 40),
        (
            {"volumes": (0, 8, 16, 24), "positives": 8, "negatives": 8},
            {"negatives": {"choices": [8, 24]}},
            "negative",
            24,
            20,
        ),
        (
            {"volumes": (0, 8, 16, 24), "positives": 8, "negatives": 8},
            {"positives": {"low": 8, "high": 24}},
            "positive",
            24,
            20,
        ),
    ],
    ids=str,
)
def test_a_volume_above_the_data_is_refused(
    tmp_path: Path, changes: dict[str, Any], search: dict[str, Any], role: str, value: int, most: int
) -> None:
    names = files(tmp_path, train=plain(20), test=plain(4, first=500))
    message = rf"search space: trial.volumes \({role} head\): got {value}; allowed: at most {most}, the examples"
    with pytest.raises(InputError, match=message):
        gather(sweep(names["train"], names["test"], search=search, **changes))


def test_a_share_that_the_questions_cannot_keep_is_refused(tmp_path: Path) -> None:
    """Half of the questions have near-misses: enough at a half, too few at one, which the search asks for."""
    half = [*plain(20), *plain(20, first=50, near=0)]
    names = files(tmp_path, train=half, test=plain(4, first=500))
    fields = {"volumes": (0, 8, 24), "near_miss_share": 0.5}
    gather(sweep(names["train"], names["test"], **fields))
    with pytest.raises(InputError, match=r"got 24; allowed: at most 20, .* at near_miss_share 1(\.0)?$"):
        gather(sweep(names["train"], names["test"], search={"near_miss_share": {"choices": [0.5, 1.0]}}, **fields))


@pytest.mark.parametrize(
    ("near", "far", "share", "field"),
    [(0, 2, 1.0, "near_miss_share"), (0, 2, 0.5, "near_miss_share"), (2, 0, 0.0, "far_from"), (2, 0, 0.5, "far_from")],
)
def test_a_kind_that_no_question_has_is_refused(tmp_path: Path, near: int, far: int, share: float, field: str) -> None:
    names = files(tmp_path, train=plain(20, near=near, far=far), test=plain(4, first=500))
    with pytest.raises(InputError) as caught:
        gather(sweep(names["train"], names["test"], near_miss_share=share))
    assert field in caught.value.field
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("near", [0, 2])
def test_the_other_kind_is_not_needed(tmp_path: Path, near: int) -> None:
    names = files(tmp_path, train=plain(20, near=near, far=2 - near), test=plain(4, first=500))
    share = 1.0 if near else 0.0
    assert len(gather(sweep(names["train"], names["test"], near_miss_share=share)).train) == 20


def test_every_prompt_lists_its_options(tmp_path: Path) -> None:
    names = files(tmp_path, train=plain(30), test=plain(4, first=500))
    spec = sweep(names["train"], names["test"], shots=3)
    listed = spec.model_copy(update={"questions": spec.questions.model_copy(update={"options_visible": True})})
    before, after = gather(spec), gather(listed)
    for name in ("train", "shots", "evaluate"):
        for one, other in zip(getattr(before, name), getattr(after, name), strict=True):
            assert (one.id, one.options) == (other.id, other.options)
            assert all(f"\n- {option.text}\n" in other.prompt for option in one.options)
    changes = what_changes(keys(listed.trial, before), keys(listed.trial, after))
    assert changes == BOTH | {"evaluation"}


def test_an_overlap_is_seen_before_options_are_listed(tmp_path: Path) -> None:
    """Under another id the same options are listed in another order."""
    train = plain(30)
    twins = [Question(id=f"twin {one.id}", prompt=one.prompt, options=one.options) for one in train[:2]]
    names = files(tmp_path, train=train, test=[*plain(4, first=500), *twins])
    spec = sweep(names["train"], names["test"])
    listed = spec.model_copy(update={"questions": spec.questions.model_copy(update={"options_visible": True})})
    with pytest.raises(InputError, match=r"evaluated on too, as twin q0 \(2 such\)"):
        gather(listed)


@pytest.mark.parametrize(
    ("field", "value", "role", "refused"),
    [
        ("options_visible", True, "train", True),
        ("options_visible", True, "test", True),
        ("prior", True, "train", False),
        ("prior", True, "test", True),
    ],
)
def test_prompts_that_do_not_ask_are_refused_by_source(
    tmp_path: Path, field: str, value: Any, role: str, refused: bool
) -> None:
    lists = {"train": list(plain(30)), "test": list(plain(4, first=500))}
    last = lists[role][-1]
    lists[role][-1] = Question(id=last.id, prompt="Roof: A man is", options=last.options)
    names = files(tmp_path, **lists)
    prior = {"prior": True} if field == "prior" else {}
    spec = sweep(names["train"], names["test"], **prior)
    if field == "options_visible":
        spec = spec.model_copy(update={"questions": spec.questions.model_copy(update={field: value})})
    if not refused:
        gather(spec)
        return
    with pytest.raises(InputError) as caught:
        gather(spec)
    name = "trial.prior" if field == "prior" else "questions.options_visible"
    assert str(caught.value).startswith(
        f"{names[role]}: {name}: got \"{last.id}, whose prompt ends in 'Roof: A man is'"
    )
    assert "'Answer:'" in caught.value.allowed


def test_searched_sources_are_checked_for_their_length(tmp_path: Path) -> None:
    """A question has one far answer of its own, and as many of other questions as are asked for."""
    names = files(tmp_path, train=plain(20, far=1), test=plain(4, first=500))
    fields = {"volumes": (0, 8, 40), "positives": 8, "near_miss_share": 0, "negative_source": {"per_question": 2}}
    fields["negative_source"] |= {"far_from": "other_question"}
    gather(sweep(names["train"], names["test"], **fields))
    search = {"negative_source.far_from": {"choices": ["other_question", "own"]}}
    with pytest.raises(InputError, match=r"got 40; allowed: at most 20, .* at near_miss_share 0, far_from own$"):
        gather(sweep(names["train"], names["test"], search=search, **fields))


def test_an_unknown_base_is_refused_first(tmp_path: Path) -> None:
    spec = sweep("missing.jsonl", "missing.jsonl").model_copy(update={"base": "no-such"})
    with pytest.raises(InputError, match="search space: base: got 'no-such'"):
        gather(spec)
