"""Which points Tune is handed and when, and what Optuna hears: a stand-in for the driver, a real study."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from optuna.trial import TrialState
from ray.tune.execution.tune_controller import _get_max_pending_trials

from likra_ray import settings, study
from likra_ray.tuning import Points, Search, point

SMOKE = str(Path(__file__).parents[1] / "search_spaces/smoke.yaml")
SHARES = ["search={near_miss_share: {choices: [0.0, 0.5, 1.0]}}", "objective={accuracy: max}", "sampler=grid"]
FIRST, SECOND = [{"seed": 0}, {"seed": 1}], [{"seed": 2}]


class Standing:
    """What a search needs of a driver."""

    def __init__(self, folder: Path, remaining: int, *given: str) -> None:
        self.sweep = settings.load(SMOKE, list(given)).sweep
        self.study = study.open_study(self.sweep, f"sqlite:///{folder}/optuna.db")[0] if self.sweep.search else None
        self.measured, self.searched = study.Measured(), False
        self.book = SimpleNamespace(remaining=remaining)
        self.expected: list[int] = []
        self.found: list[bool] = []

    def expect(self, count: int, *, given: int = 0) -> None:
        self.expected.append(count)

    def chosen(self, new: bool) -> None:
        self.found.append(new)


def search(told: Standing, *rounds: list[dict[str, Any]]) -> Search:
    return Search(told, iter(rounds))  # type: ignore[arg-type]


def suggested(one: Search, name: str) -> Any:
    """The point, or what stands for there being none."""
    given = one.suggest(name)
    return point(given) if isinstance(given, dict) else given


def test_chosen_points_come_first_and_each_round_once_all_before_it_ended(tmp_path: Path) -> None:
    told = Standing(tmp_path, 2, *SHARES)
    one = search(told, FIRST, SECOND)
    assert told.expected == [2]
    assert [suggested(one, "a"), suggested(one, "b")] == [{"near_miss_share": 0.0}, {"near_miss_share": 0.5}]
    assert suggested(one, "c") is None and one.waits and not told.searched
    one.on_trial_complete("b", {"accuracy": 0.5})
    assert suggested(one, "c") is None and one.waits, "one still runs"
    one.on_trial_complete("a", error=True)
    assert not one.waits, "it is to be asked whether there is more"
    assert suggested(one, "c") == FIRST[0] and told.searched and told.expected == [2, 2]
    assert not one.waits and suggested(one, "d") == FIRST[1] and one.waits
    one.on_trial_complete("c", {"accuracy": 0.5})
    assert suggested(one, "e") is None
    one.on_trial_complete("d", error=True)
    assert suggested(one, "e") == SECOND[0] and told.expected == [2, 2, 1]
    one.on_trial_complete("e")
    assert suggested(one, "f") == Search.FINISHED and told.expected == [2, 2, 1, 0]
    assert [trial.state for trial in told.study.get_trials()] == [TrialState.FAIL, TrialState.COMPLETE]  # type: ignore[union-attr]


def test_a_space_without_a_new_point_ends_the_search_and_not_the_sweep(tmp_path: Path) -> None:
    told = Standing(tmp_path, 9, *SHARES)
    one = search(told, SECOND)
    assert [suggested(one, name)["near_miss_share"] for name in "abc"] == [0.0, 0.5, 1.0]
    assert suggested(one, "d") is None and suggested(one, "d") is None
    assert told.found == [True] * 3 + [False], "asked once more, and then no longer"
    for name in "abc":
        one.on_trial_complete(name, {"accuracy": 0.5})
    assert suggested(one, "d") == SECOND[0]


VOLUMES = ["search={negatives: {low: 8, high: 32, log: true}}", "objective={accuracy: max}", "sampler=grid"]


@pytest.mark.parametrize("ends_well", [True, False])
def test_what_a_long_trial_was_to_pass_is_asked_where_it_failed(ends_well: bool, tmp_path: Path) -> None:
    told = Standing(tmp_path, 4, *VOLUMES)
    told.study.enqueue_trial(study.params(told.sweep, {"negatives": 32}))  # type: ignore[union-attr]
    one = search(told)
    assert suggested(one, "a") == {"negatives": 32}
    assert suggested(one, "b") is None and one.waits, "the long one passes all others"
    one.on_trial_complete("a", {"accuracy": 0.5} if ends_well else None, error=not ends_well)
    if ends_well:
        assert suggested(one, "b") == Search.FINISHED
        return
    assert [suggested(one, "b"), suggested(one, "c")] == [{"negatives": 8}, {"negatives": 16}]
    assert suggested(one, "d") is None and one.waits, "32 is not asked again"


def test_points_that_the_study_knows_come_first_and_are_none_of_its_own(tmp_path: Path) -> None:
    told = Standing(tmp_path, 2, *SHARES)
    known = {"near_miss_share": 0.0}
    chosen = study.ask_new(told.study, told.sweep)  # type: ignore[arg-type]
    study.hear(told.study, told.sweep, chosen, {"accuracy": 0.5})  # type: ignore[arg-type]
    one = Search(told, iter([]), again=[known])  # type: ignore[arg-type]
    assert told.expected == [2]
    assert [suggested(one, "a"), suggested(one, "b")] == [known, {"near_miss_share": 0.5}]
    assert suggested(one, "c") is None and one.waits
    for name in "ab":
        one.on_trial_complete(name, {"accuracy": 0.5})
    assert suggested(one, "c") == Search.FINISHED and len(told.study.trials) == 2  # type: ignore[union-attr]
    (tmp_path / "less").mkdir()
    less = Search(Standing(tmp_path / "less", 1, *SHARES), iter([]), again=[known, known])  # type: ignore[arg-type]
    assert suggested(less, "a") == suggested(less, "b") == known and suggested(less, "c") is None, "all, and no new one"


@pytest.mark.parametrize("remaining", [0, 1])
def test_a_sweep_without_a_search_has_one_point(remaining: int, tmp_path: Path) -> None:
    one = search(Standing(tmp_path, remaining, "search={}"), SECOND)
    if remaining:
        assert suggested(one, "a") == {} and suggested(one, "b") is None
        one.on_trial_complete("a", {"accuracy": 0.5})
    assert suggested(one, "b") == SECOND[0]


REPORTED = {
    "both": ({"accuracy": 0.5, "negatives": 8}, [0.5, 8.0]),
    "one is missing": ({"accuracy": 0.5}, None),
    "one is no number": ({"accuracy": math.nan, "negatives": 8}, None),
    "none": ({}, None),
}


@pytest.mark.parametrize("case", REPORTED)
def test_a_trial_that_lacks_an_objective_failed(case: str, tmp_path: Path) -> None:
    reported, values = REPORTED[case]
    told = Standing(tmp_path, 1)
    one = search(told)
    one.suggest("a")
    one.on_trial_complete("a", reported)
    [trial] = told.study.get_trials()  # type: ignore[union-attr]
    assert (trial.values, trial.state) == (values, TrialState.COMPLETE if values else TrialState.FAIL)


def test_a_study_that_does_not_answer_fails_no_trial(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    told = Standing(tmp_path, 1, *SHARES)
    one = search(told)
    one.suggest("a")
    (tmp_path / "optuna.db").write_bytes(b"no database")
    told.study._storage._backend.remove_session()  # type: ignore[union-attr]
    with caplog.at_level(logging.WARNING, "likra_ray.study"):
        one.on_trial_complete("a", {"accuracy": 0.5})
    assert "did not hear how trial 0 ended" in caplog.text


def test_tune_starts_trials_side_by_side_and_is_told_while_the_search_waits_that_it_is_over(tmp_path: Path) -> None:
    one = search(Standing(tmp_path, 2, *SHARES), SECOND)
    seen = Points(one, at_once=2)
    seen._total_samples = 100  # Tune's, of an experiment it is given
    assert _get_max_pending_trials(seen) == 2, "as many as may run, or Tune would start one after the other"
    for name in "ab":
        assert not seen.is_finished()
        seen.searcher.suggest(name)
    assert seen.searcher.suggest("c") is None and seen.is_finished()
    for name in "ab":
        assert seen.is_finished()
        seen.on_trial_complete(name, {"accuracy": 0.5})
    assert not seen.is_finished()
