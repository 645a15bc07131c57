"""What Optuna is asked and told: no point twice, whole curves for free, a queue that survives its driver."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest

from likra_ray import importances, results, settings, study
from likra_ray.records import CurvePoint, TrialResult
from likra_ray.spec import SweepSpec

SMOKE = Path(__file__).parents[1] / "search_spaces/smoke.yaml"


def sweep(*overrides: str) -> SweepSpec:
    return settings.load(SMOKE, overrides).sweep


def url(folder: Path) -> str:
    return f"sqlite:///{folder}/optuna.db"


def result(point: dict[str, float], accuracies: dict[int, float]) -> TrialResult:
    curve = [CurvePoint(volume=v, accuracy=a, interval=(a, a), questions=9, seeds=1) for v, a in accuracies.items()]
    return TrialResult(
        key="k",
        name="k",
        status="done",
        reason=None,
        spec={},
        sampled=dict(point),
        heads={},
        evaluation="e",
        curves={"likra": curve},
        metrics={"likra/accuracy": accuracies, "sft/accuracy": accuracies, "likra/accuracy_norm": accuracies},
        phase={},
        trained={},
        seconds={},
    )


@pytest.mark.parametrize("sampler", ["tpe", "random", "grid", "qmc", "nsga2"])
def test_every_sampler_asks_each_point_once_until_none_is_left(sampler: str, tmp_path: Path) -> None:
    spec = sweep(f"sampler={sampler}")
    opened, left = study.open_study(spec, url(tmp_path))
    assert left == []
    asked = []
    while (trial := study.ask_new(opened, spec)) is not None:
        asked.append(study.point(trial))
        assert len(asked) <= 9, asked
    # Points on the way of a running one are not asked; the largest volume of each share is always reached.
    assert len({tuple(sorted(point.items())) for point in asked}) == len(asked)
    assert {point["near_miss_share"] for point in asked if point["negatives"] == 32} == {0.0, 0.5, 1.0}


@pytest.mark.parametrize("sampler", ["tpe", "grid"])
def test_what_is_kept_from_call_to_call_changes_no_answer(sampler: str, tmp_path: Path) -> None:
    """Finished trials are read once; asked and told anew each time, the study answers the same."""
    spec = sweep(f"sampler={sampler}", "search.near_miss_share={low: 0.0, high: 1.0, step: 0.1}")
    answers = []
    for kept in (study.Measured(), None):
        (folder := tmp_path / str(len(answers))).mkdir()
        opened, _ = study.open_study(spec, url(folder))
        asked: list[object] = []
        for _ in range(14):
            trial = study.ask_new(opened, spec, kept)
            assert trial is not None
            place = study.point(trial)
            asked.append(place)
            height = 0.2 + place["near_miss_share"] / 10
            opened.tell(trial, [height, float(place["negatives"])])
            by_volume = dict.fromkeys((0, 8, 16, 32), height)
            asked.append(study.observe(opened, spec, result(place, by_volume), kept))
        answers.append(asked)
    assert answers[0] == answers[1]


WORDS = (
    "search={negative_source.near_miss_from: {choices: [own, most_plausible]}, labels: {choices: [given, shuffled]}}",
    "start_from=[{negative_source.near_miss_from: most_plausible, labels: given}]",
)


@pytest.mark.parametrize("sampler", ["tpe", "grid", "nsga2"])
def test_words_and_fields_within_fields_are_categories(sampler: str, tmp_path: Path) -> None:
    spec = sweep(*WORDS, f"sampler={sampler}")
    assert set(study.distributions(spec)) == {"negative_source.near_miss_from", "labels"}
    opened, _ = study.open_study(spec, url(tmp_path))
    opened.enqueue_trial(study.params(spec, spec.start_from[0]))
    asked = []
    while (trial := study.ask_new(opened, spec)) is not None:
        asked.append(study.point(trial))
    assert asked[0] == spec.start_from[0]
    trials = [spec.trial_spec(point) for point in asked]
    assert {(one.negative_source.near_miss_from, one.labels) for one in trials} == {
        (source, labels) for source in ("own", "most_plausible") for labels in ("given", "shuffled")
    }
    assert len(trials) == 4
    assert results.named(asked[0]) == "labels=given near_miss_from=most_plausible"


def test_params_and_points_are_each_others_inverse() -> None:
    spec = sweep()
    point = {"negatives": 16, "near_miss_share": 0.5}
    assert study.params(spec, point) == {"log2_negatives": 4.0, "near_miss_share": 0.5}
    trial = optuna.trial.create_trial(
        params=study.params(spec, point), distributions=study.distributions(spec), values=[0.5, 0.5]
    )
    assert study.point(trial) == point


@pytest.mark.parametrize("sampler", ["tpe", "random", "grid"])
def test_a_point_that_failed_is_asked_again_by_the_next_driver_alone(sampler: str, tmp_path: Path) -> None:
    spec = sweep(f"sampler={sampler}", "search={near_miss_share: {choices: [0.0, 0.5, 1.0]}}")
    opened, _ = study.open_study(spec, url(tmp_path))
    for kept in (study.Measured(), study.Measured()):
        asked = []
        while (trial := study.ask_new(opened, spec, kept)) is not None:
            asked.append(study.point(trial)["near_miss_share"])
            assert study.hear(opened, spec, trial, {}) is False
            assert len(asked) <= 3, asked
        assert sorted(asked) == [0.0, 0.5, 1.0]


@pytest.mark.parametrize("sampler", ["tpe", "random", "grid"])
def test_a_step_of_a_tenth_is_one_number(sampler: str, tmp_path: Path) -> None:
    """However Optuna adds it up."""
    spec = sweep(f"sampler={sampler}", "search={near_miss_share: {low: 0, high: 1, step: 0.1}}")
    opened, _ = study.open_study(spec, url(tmp_path))
    asked = []
    while (trial := study.ask_new(opened, spec)) is not None:
        asked.append(study.point(trial)["near_miss_share"])
        assert len(asked) <= 11, asked
    assert sorted(asked) == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]


def test_volumes_that_do_not_double_are_categories() -> None:
    space = study.distributions(sweep("trial.volumes=[0, 8, 24, 32]"))
    assert type(space["negatives"]).__name__ == "CategoricalDistribution"


def test_a_long_trial_tells_the_study_what_it_passed_once(tmp_path: Path) -> None:
    spec = sweep()
    opened, _ = study.open_study(spec, url(tmp_path))
    done = result({"negatives": 32, "near_miss_share": 0.5}, {0: 0.2, 8: 0.3, 16: 0.4, 32: 0.5})
    assert study.observe(opened, spec, done) == 2
    assert study.observe(opened, spec, done) == 0
    told = {study.point(trial)["negatives"]: trial.values for trial in opened.trials}
    assert told == {8: [0.3, 8.0], 16: [0.4, 16.0]}


def test_missing_is_not_told(tmp_path: Path) -> None:
    spec = sweep()
    opened, _ = study.open_study(spec, url(tmp_path))
    done = result({"negatives": 16, "near_miss_share": 0.5}, {0: 0.2, 8: float("nan"), 16: 0.4})
    assert study.observe(opened, spec, done) == 0 and not opened.trials


def test_what_a_dead_driver_left_running_is_handed_back(tmp_path: Path) -> None:
    spec = sweep()
    opened, _ = study.open_study(spec, url(tmp_path))
    trial = study.ask_new(opened, spec)
    assert trial is not None
    point = study.point(trial)
    again, left = study.open_study(spec, url(tmp_path))
    assert left == [(point, False)]
    again.enqueue_trial(study.params(spec, point))
    asked = study.ask_new(again, spec)
    assert asked is not None and study.point(asked) == point


def test_importances_name_the_field_that_matters(tmp_path: Path) -> None:
    spec = sweep()
    opened, _ = study.open_study(spec, url(tmp_path))
    assert importances.fanova(spec, url(tmp_path))[0] == {}
    for share in (0.0, 0.5, 1.0):
        by_volume = {0: 0.2, 8: 0.3 + 0.01 * share, 16: 0.5 + 0.01 * share, 32: 0.7 + 0.01 * share}
        study.tell(opened, spec, result({"negatives": 32, "near_miss_share": share}, by_volume))
    shares, reason = importances.fanova(spec, url(tmp_path))
    assert shares == {} and "9 finished trials" in reason
    study.tell(opened, spec, result({"negatives": 8, "near_miss_share": 0.0}, {8: 0.3}))
    shares, reason = importances.fanova(spec, url(tmp_path))
    assert list(shares["accuracy"])[0] == "negatives"
    assert shares["accuracy"]["negatives"] > 0.9
    assert sum(shares["negatives"].values()) == pytest.approx(1.0)
    assert "10 finished trials" in reason


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [((), "no study"), (("search={near_miss_share: {choices: [0.0, 1.0]}}",), "Fewer than two")],
)
def test_no_importances_and_why(overrides: tuple[str, ...], reason: str, tmp_path: Path) -> None:
    shares, why = importances.fanova(sweep(*overrides), url(tmp_path))
    assert shares == {} and reason in why
