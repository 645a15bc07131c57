"""Takes a sweep's spec, returns what its trials need: the questions, loaded and checked once, and every key.

    material = gather(sweep)                  questions, solved examples, identity of the base: before Ray starts
    plan = trial_plan(material, trial)        keys of the heads and of the evaluation, without a model
    head_orders(plan, trial, material, ...)   the curricula themselves, in the workers

The driver writes the material to the output folder, workers on any machine read it from there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from likra_ray.errors import InputError
from likra_ray.heads import base as bases
from likra_ray.heads.orders import ALL_LINEAR, ROLES, WITH_BETA, EvaluationOrder, HeadOrder, Manner, Role
from likra_ray.keys import EvaluationSpec, HeadSpec
from likra_ray.material import Material, load, questions_digest
from likra_ray.questions import controls, curriculum, sources
from likra_ray.records import Question
from likra_ray.search import values
from likra_ray.spec import SweepSpec, TrialSpec

LATER: dict[str, Any] = {"labels": "given", "prior": False, "baselines": []}
"""Fields of a trial that came after its first results, with the value that leaves those as they are."""


@dataclass(frozen=True, kw_only=True)
class TrialPlan:
    """Keys of all a trial reads and writes."""

    key: str
    """Of the trial: every field of its spec that changes a result, the base and the questions."""
    base_key: str
    evaluation_key: str
    prior_key: str | None
    """Of the evaluation of every option after a bare "Answer:"; None where the trial does not ask for it."""
    heads: dict[Role, HeadSpec]
    volumes: dict[Role, tuple[int, ...]]


def gather(sweep: SweepSpec) -> Material:
    """Find the base, load the questions and check that every trial of the search has enough. Raises InputError."""
    base = bases.resolve(sweep.base)
    questions = sweep.questions
    listed = "questions.options_visible" if questions.options_visible else None
    asked_for = listed or ("trial.prior" if sweep.trial.prior else None)
    evaluate, left_out = load(questions.evaluate, "evaluate", asked_for=asked_for)
    pool, left_out_of_train = load(questions.train, "train", asked_for=listed)
    apart = sources.without_overlap(pool, evaluate)
    refuse = [
        source.source
        for source in questions.train
        if sources.default_defects(source.source, mapped=source.mapping is not None) == "refuse"
    ]
    if apart.left_out and refuse:
        identity, reason = apart.left_out[0]
        raise InputError(where=refuse[0], field=identity, value=f"{reason} ({len(apart.left_out)} such)",
                         allowed="training questions that are not evaluated on")  # fmt: skip
    if len(apart.questions) <= questions.shots:
        raise InputError(where="search space", field="questions.shots", value=questions.shots,
                         allowed=f"fewer than the {len(apart.questions)} training questions")  # fmt: skip
    shots = sources.keep(apart.questions, questions.shots) if questions.shots else []
    shown = {shot.id for shot in shots}
    # Only now: a question that is asked twice is known by its prompt, and a listing differs with the id.
    final: Callable[..., tuple[Question, ...]] = controls.list_options if listed else tuple
    others = sweep.trial.negative_source.other
    # Workers run in folders of their own: a path of this folder must not depend on where they are.
    local = sweep.base not in (*bases.ALIASES, bases.RANDOM_TINY) and Path(sweep.base).exists()
    material = Material(
        base=str(Path(sweep.base).resolve()) if local else sweep.base,
        identity=base.identity,
        train=final(question for question in apart.questions if question.id not in shown),
        shots=final(shots),
        evaluate=final(evaluate),
        others=tuple(load(others, "train")[0]) if others else (),
        left_out=(*left_out, *left_out_of_train, *apart.left_out),
        chat=questions.chat,
    )
    _check_volumes(sweep, material)
    _check_targets(sweep.trial.lora.targets, base)
    if questions.chat and bases.has_chat_template(base) is False:
        raise InputError(where="search space", field="questions.chat", value=True,
                         allowed=f"false with {sweep.base}, whose tokenizer has no chat template")  # fmt: skip
    return material


def _check_volumes(sweep: SweepSpec, material: Material) -> None:
    """Every combination of the searched fields that shape a curriculum must reach its largest volume."""
    shaping = ("near_miss_share", "negatives", "positives", "negative_source.far_from", "labels")
    points: list[dict[str, Any]] = [{}]
    for field in shaping:
        if field in sweep.search:
            dimension = sweep.search[field]
            axis = values(field, dimension, sweep.trial.volumes)
            ends = [getattr(dimension, "low", None), getattr(dimension, "high", None)] if axis is None else axis
            points = [{**point, field: value} for point in points for value in ends]
    longest: dict[str, int] = {}
    for point in points:
        try:
            trial = sweep.trial_spec(point)
        except ValidationError:
            continue  # search.check has named it
        for role in ROLES:
            recipe = json.dumps([role, _recipe(trial, material) if role == "negative" else None], sort_keys=True)
            if recipe not in longest:
                longest[recipe] = len(curriculum_of(role, trial, material, None))
            largest = trial.head_volumes(role)[-1]
            if largest > longest[recipe]:
                allowed = f"at most {longest[recipe]}, the examples these questions give"
                if role == "negative":
                    allowed += f" at near_miss_share {trial.near_miss_share:g}"
                    allowed += f", far_from {trial.negative_source.far_from}" if trial.near_miss_share < 1 else ""
                raise InputError(
                    where="search space", field=f"trial.volumes ({role} head)", value=largest, allowed=allowed
                )


def _check_targets(targets: Sequence[str], base: bases.Base) -> None:
    """The layers to adapt must be the base's; where its configuration is not on this machine, the workers say so."""
    there = bases.linear_layers(base)
    wanted = () if tuple(targets) == ALL_LINEAR else targets
    missing = [target for target in wanted if there is not None and target not in there]
    if missing and there is not None:
        raise InputError(where="search space", field="trial.lora.targets", value=missing,
                         allowed=f"linear layers of {base.path}: {', '.join(sorted(there))}")  # fmt: skip


def needs_plausibility(trial: TrialSpec) -> bool:
    """Whether the base must score the training questions before negatives can be chosen."""
    return trial.near_miss_share > 0 and trial.negative_source.near_miss_from != "own"


def taught_questions(trial: TrialSpec, material: Material) -> tuple[Question, ...]:
    """The training questions, labelled as the trial wants them; ids, options and orders are the material's."""
    if trial.labels == "shuffled":
        return controls.shuffle_labels(material.train, seed=trial.seed)
    return material.train


def curriculum_of(
    role: Role, trial: TrialSpec, material: Material, plausibility: np.ndarray | None
) -> tuple[curriculum.Example, ...]:
    """The whole curriculum of one head, as long as the questions allow; a baseline's is that of its wrong answers.

    plausibility: (O,) nats, the base's log p of every option of the training questions; None stands for "all alike"
    where only the length matters.
    """
    train = taught_questions(trial, material)
    if role == "positive":
        return curriculum.positives(train, seed=trial.seed)
    if plausibility is None and needs_plausibility(trial):
        plausibility = np.zeros(sum(len(question.options) for question in material.train))
    source = trial.negative_source
    recipe = curriculum.NegativeRecipe(
        near_miss_share=trial.near_miss_share,
        near_miss_from=source.near_miss_from,
        far_from=source.far_from,
        per_question=source.per_question,
        contamination_share=trial.contamination_share,
    )
    found = curriculum.negatives(
        train, recipe=recipe, seed=trial.seed, plausibility=plausibility, others=material.others
    )
    return found.examples


def _recipe(trial: TrialSpec, material: Material) -> dict[str, Any]:
    """The fields that choose negatives, those that cannot matter left out, so that equal heads have equal keys."""
    source = trial.negative_source
    recipe: dict[str, Any] = _labels(trial) | {
        "near_miss_share": trial.near_miss_share,
        "per_question": source.per_question,
        "contamination_share": trial.contamination_share,
    }
    if trial.near_miss_share > 0:
        recipe["near_miss_from"] = source.near_miss_from
    if trial.near_miss_share < 1:
        recipe["far_from"] = source.far_from
        if source.far_from == "other_dataset":
            recipe["others"] = material.digests["others"]
    return recipe


def _head_recipe(role: Role, trial: TrialSpec, material: Material) -> dict[str, Any]:
    """What a head learns beyond the training questions and their order. A baseline's pairs are the negatives', each
    with its question's correct answer."""
    turns = {"chat": True} if material.chat else {}
    if role == "positive":
        return _labels(trial) | turns
    return _recipe(trial, material) | ({"beta": trial.beta} if role in WITH_BETA else {}) | turns


def _as_asked(material: Material, key: str) -> str:
    """A key of what is asked, which is another where it is asked in turns."""
    return f"{key}-chat" if material.chat else key


def _labels(trial: TrialSpec) -> dict[str, Any]:
    """What the labels add to any head's recipe: nothing where they are as given, so that older heads are found."""
    return {} if trial.labels == "given" else {"labels": trial.labels}


def trial_plan(material: Material, trial: TrialSpec) -> TrialPlan:
    """All keys of a trial; the model is not needed."""
    roles = (*ROLES, *trial.baselines)
    heads: dict[Role, HeadSpec] = {
        role: HeadSpec(
            role=role,
            base=material.identity,
            questions=material.digests["train"],
            recipe=_head_recipe(role, trial, material),
            learning_rate=trial.learning_rate,
            batch_size=trial.batch_size,
            lora=trial.lora,
            seed=trial.seed,
            precision=trial.precision,
        )
        for role in roles
    }
    evaluation = EvaluationSpec(
        base=material.identity,
        questions=material.digests["evaluate"],
        prefix=_as_asked(material, material.digests["shots"]),
        precision=trial.precision,
    )
    # Workers and ZeRO stage do not change a result, so they are not in its name; beta is in the keys of the heads that
    # have one. Nor are fields that came later and are not used, so that what older versions finished is found.
    without = {"resources", "zero_stage", "accumulation", "activation_checkpointing", "beta"}
    fields = trial.model_dump(mode="json", exclude=without)
    fields = {name: value for name, value in fields.items() if name not in LATER or value != LATER[name]}
    keys = [head.key for head in heads.values()]
    text = json.dumps([fields, keys, evaluation.key], sort_keys=True)
    identity = hashlib.sha256(material.identity.encode()).hexdigest()[:12]
    return TrialPlan(
        key=hashlib.sha256(text.encode()).hexdigest()[:12],
        base_key=_as_asked(material, f"base-{identity}-{trial.precision}"),
        evaluation_key=evaluation.key,
        prior_key=_prior_evaluation(material, trial).key if trial.prior else None,
        heads=heads,
        volumes={role: trial.head_volumes(role) for role in roles},
    )


def evaluation_order(plan: TrialPlan, material: Material) -> EvaluationOrder:
    """The questions every head of a trial is scored on."""
    return EvaluationOrder(key=plan.evaluation_key, questions=material.evaluate, shots=material.shots)


def prior_order(plan: TrialPlan, material: Material) -> EvaluationOrder | None:
    """The options of the evaluated questions after a bare "Answer:"; None where the trial does not ask for it."""
    if plan.prior_key is None:
        return None
    return EvaluationOrder(key=plan.prior_key, questions=material.unasked)


def _prior_evaluation(material: Material, trial: TrialSpec) -> EvaluationSpec:
    return EvaluationSpec(
        base=material.identity,
        questions=material.unasked_digest,
        prefix=_as_asked(material, questions_digest(())),
        precision=trial.precision,
    )


def plausibility_order(material: Material) -> EvaluationOrder:
    """The training questions, for the base to score before negatives are chosen by its score."""
    return EvaluationOrder(key=f"training-{material.digests['train'][:16]}", questions=material.train)


def head_orders(
    plan: TrialPlan, trial: TrialSpec, material: Material, plausibility: np.ndarray | None
) -> list[HeadOrder]:
    """All heads of a trial with their curricula; plausibility as in `curriculum_of`."""
    taught = {role: curriculum_of(role, trial, material, plausibility) for role in ROLES}
    correct = {question.id: question.correct.text for question in taught_questions(trial, material)}
    found = []
    for role, head in plan.heads.items():
        wrong: tuple[str, ...] = ()
        if role in ROLES:
            pairs = tuple((example.prompt, example.answer) for example in taught[role])
        else:
            pairs = tuple((example.prompt, correct[example.question_id]) for example in taught["negative"])
            wrong = tuple(example.answer for example in taught["negative"])
        found.append(
            HeadOrder(
                key=head.key,
                fields=head.model_dump(mode="json"),
                role=role,
                pairs=pairs,
                volumes=plan.volumes[role],
                learning_rate=trial.learning_rate,
                wrong=wrong,
                beta=trial.beta,
                base_key=plan.base_key,
            )
        )
    return found


def manner(trial: TrialSpec) -> Manner:
    """How a trial's workers do it."""
    return Manner(
        rank=trial.lora.rank,
        alpha=trial.lora.alpha,
        targets=trial.lora.targets,
        batch_size=trial.batch_size,
        accumulation=trial.accumulation,
        precision=trial.precision,
        zero_stage=trial.zero_stage,
        activation_checkpointing=trial.activation_checkpointing,
    )
