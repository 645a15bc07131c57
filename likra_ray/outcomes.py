"""Takes a sweep's results and its score tables, returns all that it found and the files of its report.

Reads the output folder and the Optuna study, writes the report alone; no Ray, no MLflow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np

from likra_ray import importances, results
from likra_ray.analysis import findings
from likra_ray.analysis.findings import Finding
from likra_ray.analysis.sweep_findings import LeftOut, SweepFindings, questions_left_out, sweep_findings
from likra_ray.material import Material
from likra_ray.records import TrialResult
from likra_ray.reporting.page import Setting, SweepFacts
from likra_ray.settings import resolved
from likra_ray.spec import SweepSpec
from likra_ray.storage import Storage


def found(
    storage: Storage,
    sweep: SweepSpec,
    material: Material,
    ended: Sequence[TrialResult],
    *,
    made: Sequence[Finding],
    study_url: str,
) -> SweepFindings | None:
    """All that a sweep's trials say; None where none ended well.

    made: the finding of every configuration, in the order of findings.configurations(ended).
    """
    grouped = findings.configurations(ended)
    if not grouped:
        return None
    configurations = [results.configuration(storage, list(by_seed.values())) for _, by_seed in grouped]
    keys = sorted(key for one in configurations for key in one.trials)
    return sweep_findings(
        configurations,
        rng=np.random.default_rng([int(key, 16) for key in keys]),
        importances=importances.fanova(sweep, study_url),
        left_out=[*questions_left_out(material.left_out), *trials_left_out(ended)],
        found=made,
    )


PASSED_THROUGH = "a longer trial of the same configuration and seed passed through all their volumes"
ENDS_BEFORE = "their seed ends at smaller volumes than others of the configuration, whose mean it would leave midway"


def trials_left_out(ended: Sequence[TrialResult]) -> list[LeftOut]:
    """Trials that no finding rests on: failed ones, by reason, those a longer trial passed through, and those of seeds
    that end before others of their configuration."""
    reasons: dict[str, int] = {}
    for result in ended:
        if result.status == "failed":
            reason = f"failed: {result.reason or 'no reason given'}"
            reasons[reason] = reasons.get(reason, 0) + 1
    kept = [one for _, by_seed in findings.configurations(ended) for one in by_seed.values()]
    keys, whose = {one.key for one in kept}, {results.whose(one) for one in kept}
    for result in ended:
        if result.status == "done" and result.key not in keys:
            reason = PASSED_THROUGH if results.whose(result) in whose else ENDS_BEFORE
            reasons[reason] = reasons.get(reason, 0) + 1
    return [LeftOut(what="trials", count=count, reason=reason) for reason, count in reasons.items()]


def facts(
    sweep: SweepSpec,
    material: Material,
    ended: Sequence[TrialResult],
    *,
    record: Mapping[str, Any],
    refinement: Sequence[str],
) -> SweepFacts:
    """What a report says besides the findings. record: sweep.json."""
    return SweepFacts(
        name=sweep.name,
        status=record["status"],
        began=record.get("began", ""),
        ended=record.get("ended", ""),
        base=sweep.base,
        train=len(material.train),
        evaluate=len(material.evaluate),
        shots=len(material.shots),
        objective={str(metric): str(mode) for metric, mode in sweep.objective.items()},
        results=tuple(ended),
        settings=settings(sweep),
        provenance=record.get("provenance", {}),
        left_out=material.left_out,
        refinement=tuple(refinement),
    )


def settings(sweep: SweepSpec) -> tuple[Setting, ...]:
    """Every value of a spec, and whether it is the default, another one that was given, or searched."""
    given = _fields(sweep.model_dump(mode="json", exclude_defaults=True))
    rows = []
    for field, value in resolved(sweep).items():
        searched = field.startswith("trial.") and field.removeprefix("trial.") in sweep.search
        own = any(field == other or field.startswith(f"{other}.") for other in given)
        rows.append(Setting(field, value, "searched" if searched else "given" if own else "default"))
    return tuple(rows)


def _fields(tree: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Dotted names of all that is not itself a non-empty mapping."""
    names: list[str] = []
    for key, value in tree.items():
        names += _fields(value, f"{prefix}{key}.") if isinstance(value, dict) and value else [f"{prefix}{key}"]
    return names


def trial_files(storage: Storage, result: TrialResult) -> dict[str, bytes]:
    """Score tables and learning curves of a trial that ended well, by path below its run in MLflow."""
    from likra_ray.reporting import figures

    tables = results.tables(storage, result)
    files = {"scores/base.arrow": tables.base.to_arrow()}
    for head, by_volume in {"positive": tables.positive, "negative": tables.negative, **tables.others}.items():
        files |= {f"scores/{head}/{volume}.arrow": table.to_arrow() for volume, table in by_volume.items()}
    return files | {"learning_curves.png": figures.learning_curves(results.alone(result), title=result.name)}


def at_a_glance(what: SweepFindings | None, ended: Sequence[TrialResult]) -> tuple[dict[str, float], dict[str, str]]:
    """Metrics and tags of a sweep's run in MLflow: its trials, its verdicts, the headline's height and phases."""
    done = sum(result.status == "done" for result in ended)
    metrics: dict[str, float] = {"trials_done": done, "trials_failed": len(ended) - done}
    tags = {}
    if what is not None:
        best = what.findings[what.headline]
        tags = {"headline": best.name} | {f"verdict/{one.subject}": one.sentence for one in what.verdicts}
        metrics["best/likra/accuracy"] = best.curves["likra"][-1].accuracy
        for arm, phase in best.phase.items():
            tags[f"phase/{arm}"] = phase.reason
            if phase.found and phase.midpoint is not None:
                metrics[f"phase/{arm}/midpoint"] = phase.midpoint
    return metrics, tags


class Said(NamedTuple):
    """The verdicts of a sweep as Markdown, for MLflow's descriptions."""

    short: str
    """A paragraph."""
    whole: str
    """A list: every verdict's sentence."""


def in_words(sweep: str, what: SweepFindings, *, ended: str) -> Said:
    """What a sweep that is done says. ended: ISO time."""
    from likra_ray.reporting.words import CLAIMS, SHOWN

    best = what.findings[what.headline]
    opening = f"**{sweep}**, ended {ended[:10]}. Headline configuration: {best.name}."
    claims = [(f"{CLAIMS[one.subject]}: **{SHOWN[one.found]}**.", one.sentence) for one in what.verdicts]
    return Said(
        short=" ".join([opening, *[claim for claim, _ in claims]]),
        whole="\n".join([f"{opening}\n", *[f"- {claim} {sentence}" for claim, sentence in claims]]),
    )


def phases(made: Sequence[Finding]) -> dict[str, dict[str, Any]]:
    """Every critical phase by configuration, then arm, as JSON has it."""
    return {finding.name: {arm: asdict(phase) for arm, phase in finding.phase.items()} for finding in made}


def write(storage: Storage, folder: str, files: Mapping[str, bytes]) -> None:
    """Write a report's files; pictures and data that only an older report had are removed."""
    for part in ("figures", "data"):
        for name in storage.names(f"{folder}/{part}"):
            if f"{part}/{name}" not in files:
                storage.remove(f"{folder}/{part}/{name}")
    for name, data in files.items():
        storage.write(f"{folder}/{name}", data)


def report_files(what: SweepFindings | None, about: SweepFacts) -> dict[str, bytes]:
    """report.html, figures/*.png and data/*.csv, by path below the sweep's folder."""
    from likra_ray.reporting.report import report

    return report(what, about)
