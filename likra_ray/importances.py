"""How much of an objective each searched field explains, by Optuna's study of a sweep. No Ray here."""

from __future__ import annotations

import optuna
from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError

from likra_ray import study as studies
from likra_ray.spec import SweepSpec

FEWEST = 10
"""Finished trials (volumes passed on the way included) below which no importances are given: a forest of fewer says
more about its own draw than about the fields."""


def fanova(sweep: SweepSpec, url: str) -> tuple[dict[str, dict[str, float]], str]:
    """{objective: {searched field: share}}, largest first, and one sentence on what they rest on; {} where none are.

    fANOVA (Hutter, Hoos & Leyton-Brown 2014) by Optuna's forest, seeded: the share of an objective's variance over the
    space that a field explains by itself, all fields together 1. An objective that never varies has none.
    """
    if len(sweep.search) < 2:
        return {}, "Fewer than two fields are searched, so there is nothing to compare."
    try:
        study = optuna.load_study(study_name=sweep.name, storage=studies.storage(url))
    except KeyError:
        return {}, "There is no study of this sweep."
    except (optuna.exceptions.StorageInternalError, SQLAlchemyError):
        return {}, "The study of this sweep cannot be read."
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(trials) < FEWEST:
        return {}, f"{len(trials)} finished trials are too few for importances: at least {FEWEST} are asked."
    found = {}
    for number, metric in enumerate(sweep.objective):
        if len({trial.values[number] for trial in trials}) > 1:
            found[str(metric)] = _shares(study, number)
    return found, (
        f"fANOVA on {len(trials)} finished trials, volumes passed on the way included; where the sampler looked more "
        "often it counts for more."
    )


def _shares(study: optuna.Study, number: int) -> dict[str, float]:
    """Of one objective, by searched field."""
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    def value(trial: optuna.trial.FrozenTrial) -> float:
        return float(trial.values[number])

    shares = get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0), target=value)
    return {name.removeprefix(studies.LOG2): float(share) for name, share in shares.items()}
