"""Optuna's side of a sweep: its space, sampler, storage, and what is told to it for free. No Ray here.

A *point* is what the spec searches ({"negatives": 256, ...}); *params* are the same as Optuna samples it: volumes
that double are the parameter log2_negatives, so that their order and distance are known to the surrogate.

One head that passed n = 64 ... 512 has measured the same configuration at every smaller volume; `observe` gives
those to the study as finished trials, so that one head teaches the surrogate its whole curve.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState

from likra_ray.analysis.objectives import objective_value
from likra_ray.records import TrialResult
from likra_ray.search import DIGITS, values
from likra_ray.spec import Range, SweepSpec

log = logging.getLogger(__name__)

OBSERVED = "likra_ray.observed_in"
"""User attribute of a finished Optuna trial that was not run: the trial whose head passed this volume."""

KNOWN = "likra_ray.known"
"""User attribute of a failed Optuna trial that was not run: another measures, or measured, its point."""

ASKS = 32
"""Times the sampler is asked before a new point is drawn without it."""

LOG2 = "log2_"
"""What a parameter's name begins with where Optuna samples the logarithm."""


def distributions(sweep: SweepSpec) -> dict[str, BaseDistribution]:
    """Each searched field as Optuna samples it, by parameter."""
    found: dict[str, BaseDistribution] = {}
    for field, dimension in sweep.search.items():
        axis = values(field, dimension, sweep.trial.volumes)
        if axis is None:
            assert isinstance(dimension, Range)
            found[field] = FloatDistribution(dimension.low, dimension.high, log=dimension.log)
        elif field in ("negatives", "positives") and len(axis) > 1 and _doubles(axis):
            found[LOG2 + field] = FloatDistribution(math.log2(axis[0]), math.log2(axis[-1]), step=1)
        elif isinstance(dimension, Range) and dimension.step is not None:
            found[field] = FloatDistribution(dimension.low, dimension.high, step=dimension.step)
        else:
            found[field] = CategoricalDistribution(axis)
    return found


def _doubles(axis: Sequence[int]) -> bool:
    return all(after == 2 * before for before, after in zip(axis, axis[1:], strict=False))


def point(trial: optuna.trial.BaseTrial | FrozenTrial) -> dict[str, Any]:
    """What the spec calls the parameters of a trial of Optuna's."""
    return _point({name: _on_axis(value, trial.distributions[name]) for name, value in trial.params.items()})


def _point(params: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name.removeprefix(LOG2): round(2**value) if name.startswith(LOG2) else value for name, value in params.items()
    }


def _on_axis(value: Any, axis: BaseDistribution) -> Any:
    """A stepped range's value as search.values has it: Optuna's third step of .1 is .30000000000000004."""
    stepped = isinstance(axis, FloatDistribution) and axis.step is not None
    return round(value, DIGITS) if stepped else value


def params(sweep: SweepSpec, point: Mapping[str, Any]) -> dict[str, Any]:
    """What Optuna calls a point."""
    space = distributions(sweep)
    return {LOG2 + field if LOG2 + field in space else field:
            math.log2(value) if LOG2 + field in space else value for field, value in point.items()}  # fmt: skip


def sampler(sweep: SweepSpec) -> optuna.samplers.BaseSampler:
    """The sampler the spec names, seeded. A grid needs none: `ask_new` walks through it."""
    seed = sweep.sampler_seed
    if sweep.sampler in ("random", "grid"):
        return optuna.samplers.RandomSampler(seed=seed)
    if sweep.sampler == "qmc":
        return optuna.samplers.QMCSampler(seed=seed, scramble=True)
    if sweep.sampler == "nsga2":
        return optuna.samplers.NSGAIISampler(seed=seed)
    return optuna.samplers.TPESampler(seed=seed)


def storage(url: str) -> optuna.storages.RDBStorage:
    """Where the study lies; its one writer is the driver."""
    return optuna.storages.RDBStorage(url)


def open_study(sweep: SweepSpec, url: str) -> tuple[optuna.Study, list[tuple[dict[str, Any], bool]]]:
    """The sweep's study, made or loaded, and every point it gave out, once, with whether it heard how that ended.

    What a dead driver left running is failed here. Points told as known, or passed on the way, were not given out.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    better: list[Literal["maximize", "minimize"]] = [
        "maximize" if mode == "max" else "minimize" for mode in sweep.objective.values()
    ]
    study = optuna.create_study(
        storage=storage(url), study_name=sweep.name, sampler=sampler(sweep), directions=better, load_if_exists=True
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.set_metric_names([str(metric) for metric in sweep.objective])  # what optuna-dashboard calls the axes
    asked: dict[str, tuple[dict[str, Any], bool]] = {}
    for trial in study.get_trials(states=(TrialState.RUNNING, TrialState.FAIL, TrialState.COMPLETE)):
        if trial.state == TrialState.RUNNING:
            study.tell(trial.number, state=TrialState.FAIL)
        if trial.params and not {OBSERVED, KNOWN} & trial.user_attrs.keys():
            place = point(trial)
            name, heard = repr(sorted(place.items())), trial.state == TrialState.COMPLETE
            asked[name] = (place, heard or (name in asked and asked[name][1]))
    return study, list(asked.values())


def waiting(study: optuna.Study) -> list[dict[str, Any]]:
    """Points in the study's queue."""
    queued = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
    return [_point(trial.system_attrs.get("fixed_params", {})) for trial in queued]


class Measured:
    """Which points the finished trials of a study have measured, and which it has given out since this was made. Each
    trial is read once, so that asking and telling cost the same however many there are."""

    def __init__(self) -> None:
        self._read: set[int] = set()
        self._given: set[frozenset[tuple[str, Any]]] = set()
        self._points: set[frozenset[tuple[str, Any]]] = set()
        self._largest: dict[frozenset[tuple[str, Any]], float] = {}

    def read(self, study: optuna.Study) -> None:
        """Read on, where trials have finished since."""
        for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
            if trial.number not in self._read:
                self._read.add(trial.number)
                there = point(trial)
                self._points.add(frozenset(there.items()))
                place, volume = _place(there)
                self._largest[place] = max(volume, self._largest.get(place, 0))

    def has(self, wanted: Mapping[str, Any]) -> bool:
        """Whether this very point has been measured."""
        return frozenset(wanted.items()) in self._points

    def give(self, wanted: Mapping[str, Any]) -> None:
        """This point is to be measured; where that fails, as it may each time, it is not given again."""
        self._given.add(frozenset(wanted.items()))

    def given(self, wanted: Mapping[str, Any]) -> bool:
        """Whether this very point was given out."""
        return frozenset(wanted.items()) in self._given

    def passed(self, wanted: Mapping[str, Any]) -> bool:
        """Whether a trial has measured this point, itself or on the way to a larger volume."""
        place, volume = _place(wanted)
        return self._largest.get(place, -1) >= volume


def _place(of: Mapping[str, Any]) -> tuple[frozenset[tuple[str, Any]], float]:
    """A point without its volume of negatives, and that: 0 where it is not searched."""
    return frozenset((field, value) for field, value in of.items() if field != "negatives"), of.get("negatives", 0)


def ask_new(study: optuna.Study, sweep: SweepSpec, measured: Measured | None = None) -> optuna.Trial | None:
    """A point nobody has measured or is measuring, as a running trial; None where none is left.

    Points in the queue come first, then the sampler is asked; where it insists on known points of a finite space, a
    random new one is taken. A grid is walked through in order. What a longer head has passed, or will pass, is known,
    and so is what failed. measured: of this study, kept from call to call.
    """
    measured = measured or Measured()
    trial = _asked_new(study, sweep, measured)
    if trial is not None:
        measured.give(point(trial))
    return trial


def _asked_new(study: optuna.Study, sweep: SweepSpec, measured: Measured) -> optuna.Trial | None:
    space = distributions(sweep)
    measured.read(study)
    running = [point(trial) for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))]
    queued = len(study.get_trials(deepcopy=False, states=(TrialState.WAITING,)))
    for _ in range(queued if sweep.sampler == "grid" else ASKS + queued):
        trial = study.ask(space)
        if not _known(measured, running, point(trial)):
            return trial
        trial.set_user_attr(KNOWN, True)
        study.tell(trial, state=TrialState.FAIL)
    left = [candidate for candidate in _grid(sweep) if not _known(measured, running, candidate)]
    if not left:
        return None
    rng = np.random.default_rng([sweep.sampler_seed, len(study.get_trials(deepcopy=False))])
    chosen = left[0 if sweep.sampler == "grid" else int(rng.integers(len(left)))]
    study.enqueue_trial(params(sweep, chosen))
    return study.ask(space)


def _known(measured: Measured, running: Sequence[Mapping[str, Any]], wanted: Mapping[str, Any]) -> bool:
    """Whether another trial, finished or running, measures this point, itself or on the way to a larger volume, or one
    has failed at it."""
    place, volume = _place(wanted)
    return (
        measured.given(wanted)
        or measured.passed(wanted)
        or any(_place(other)[0] == place and _place(other)[1] >= volume for other in running)
    )


def _grid(sweep: SweepSpec) -> list[dict[str, Any]]:
    """Every point of a finite space; [] where an axis is continuous."""
    axes = {field: values(field, dimension, sweep.trial.volumes) for field, dimension in sweep.search.items()}
    if any(axis is None for axis in axes.values()):
        return []
    return [dict(zip(axes, place, strict=True)) for place in itertools.product(*(axis or [] for axis in axes.values()))]


def hear(study: optuna.Study, sweep: SweepSpec, trial: optuna.Trial, reported: Mapping[str, Any]) -> bool:
    """Tell the study how a trial it gave out ended: whether well. reported: its objectives; one that lacks any failed.

    Where the study does not answer, the log says what it missed, and the next `open_study` brings it up to the trials'
    records; it fails by itself what never ended, so of a failure nothing is said.
    """
    values = [float(reported.get(metric, math.nan)) for metric in sweep.objective]
    ended_well = all(math.isfinite(value) for value in values)
    with _answering(f"how trial {trial.number} ended" if ended_well else None):
        study.tell(trial, values) if ended_well else study.tell(trial, state=TrialState.FAIL)
    return ended_well


@contextlib.contextmanager
def _answering(what: str | None) -> Iterator[None]:
    """A study that does not answer fails nothing: the log says what it missed, in one line, unless that is None."""
    try:
        yield
    except optuna.exceptions.StorageInternalError as error:
        if what is not None:
            log.warning("Optuna's study did not hear %s: %s", what, str(error.__cause__ or error).partition("\n")[0])


def tell(study: optuna.Study, sweep: SweepSpec, result: TrialResult) -> None:
    """Give the study a finished trial that it did not hear of, and what that trial passed."""
    _add(study, sweep, result, dict(result.sampled), None)
    observe(study, sweep, result)


def observe(study: optuna.Study, sweep: SweepSpec, result: TrialResult, measured: Measured | None = None) -> int:
    """Tell the study every smaller volume a finished trial passed, unless it knows; returns how many.

    A refinement's trials teach nothing about the space: their volumes are none of its points. measured: as of ask_new.
    """
    dimension = sweep.search.get("negatives")
    if dimension is None or set(result.sampled) != set(sweep.search):
        return 0
    measured = measured or Measured()
    told = 0
    with _answering(f"what trial {result.key} passed"):
        measured.read(study)
        for volume in values("negatives", dimension, sweep.trial.volumes) or []:
            passed = {**result.sampled, "negatives": volume}
            if volume < result.sampled["negatives"] and not measured.has(passed):
                told += _add(study, sweep, result, passed, volume)
    return told


def _add(
    study: optuna.Study, sweep: SweepSpec, result: TrialResult, place: Mapping[str, Any], volume: int | None
) -> bool:
    """Add what a trial measured at one of its volumes (None: its last) as a finished Optuna trial, unless it is NaN."""
    found = [objective_value(result, metric, volume) for metric in sweep.objective]
    if not all(math.isfinite(value) for value in found):
        return False
    observed = {} if volume is None else {OBSERVED: result.key}
    study.add_trial(
        optuna.trial.create_trial(
            params=params(sweep, place), distributions=distributions(sweep), values=found, user_attrs=observed
        )
    )
    return True
