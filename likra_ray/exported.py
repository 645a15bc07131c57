"""Takes a finished trial, returns the files of its heads as peft, transformers and likra_model.py read them.

export.py writes them into a folder; the ledger gives MLflow those of the trial the report opens with. Reads the store
of heads, writes nothing.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import likra_ray
from likra_ray.errors import InputError, scrubbed
from likra_ray.heads import base as bases
from likra_ray.heads.store import DamagedHead, HeadStore
from likra_ray.material import Material, named
from likra_ray.records import TrialResult
from likra_ray.reporting.model_card import CardFacts, model_card
from likra_ray.spec import SweepSpec, TrialSpec
from likra_ray.storage import Storage

log = logging.getLogger(__name__)

ABOUT = "likra.json"
"""In a folder of exported heads: base, arms, weight, and where the heads come from."""

LICENCES = {"smollm2-135m": "apache-2.0"}
"""Of bases that have an alias, as their hub pages say it."""

SHAPING = ("near_miss_share", "negative_source", "contamination_share", "labels", "learning_rate", "batch_size", "lora",
           "seed", "precision")  # fmt: skip
"""Fields of a trial that shape its heads."""


def files(
    storage: Storage, sweep: SweepSpec, material: Material, result: TrialResult, *, volume: int | None = None
) -> dict[str, bytes]:
    """By path below the folder: README.md, likra.json, and for every role its adapter, its configuration and the card.

    volume: examples every head has seen, None: each at its last. Raises InputError for a volume that some head has not;
    DamagedHead for a torn head.
    """
    spec = TrialSpec.model_validate(result.spec)
    roles = [role for role in result.heads if role != "base"]
    volumes = {role: _volume(spec, role, volume) for role in roles}
    hub_id = _hub_id(sweep, material)
    store = HeadStore(storage)
    made: dict[str, bytes] = {}
    for role in roles:
        for name, data in store.files(result.heads[role], volumes[role]).items():
            made[f"{role}/{name}"] = data if name != "adapter_config.json" else _config(data, hub_id)
    about = {
        "base": sweep.base,
        "base_identity": material.identity,
        "heads": roles,
        "volumes": volumes,
        "weight": spec.weight,
        "sweep": sweep.name,
        "trial": result.key,
        "version": likra_ray.__version__,
        "chat": material.chat,
    }
    made[ABOUT] = json.dumps(about, indent=1).encode()
    card = model_card(_facts(sweep, material, result, volumes)).encode()
    made["README.md"] = card
    return made | {f"{role}/README.md": card for role in roles}


def whole(storage: Storage, sweep: SweepSpec, material: Material, result: TrialResult) -> dict[str, bytes]:
    """As `files`, each head at its last volume; nothing where a head is gone or torn, which is told in the log."""
    try:
        return files(storage, sweep, material, result)
    except (DamagedHead, OSError) as error:
        log.warning("the heads of trial %s are not in MLflow: %s", result.key, scrubbed(str(error)))
        return {}


def _volume(spec: TrialSpec, role: Any, volume: int | None) -> int:
    there = spec.head_volumes(role)[1:]
    if volume is None:
        return there[-1]
    if volume not in there:
        raise InputError(where="command line", field=f"--volume ({role} head)", value=volume,
                         allowed=f"one of {list(there)}")  # fmt: skip
    return volume


def _hub_id(sweep: SweepSpec, material: Material) -> str | None:
    """Of the base; None for one that is on no hub."""
    name = bases.ALIASES.get(sweep.base, sweep.base)
    local = name == bases.RANDOM_TINY or name.endswith(".gguf") or Path(material.base).is_dir()
    return None if local else name


def _config(data: bytes, hub_id: str | None) -> bytes:
    """adapter_config.json with the base's hub id in place of a folder of the machine that trained it."""
    return json.dumps(json.loads(data) | {"base_model_name_or_path": hub_id}, indent=1, sort_keys=True).encode()


def _facts(sweep: SweepSpec, material: Material, result: TrialResult, volumes: dict[str, int]) -> CardFacts:
    spec = TrialSpec.model_validate(result.spec)
    hub_id = _hub_id(sweep, material)
    fields = spec.model_dump(mode="json")
    questions = sweep.questions
    return CardFacts(
        base=hub_id or sweep.base,
        identity=material.identity,
        on_hub=hub_id is not None,
        licence=LICENCES.get(sweep.base),
        sweep=sweep.name,
        trial=result.key,
        name=result.name,
        heads=volumes,
        training=f"{named(questions.train)}, {len(material.train)} questions to draw from",
        evaluation=f"{named(questions.evaluate)}, {len(material.evaluate)} questions, {questions.shots}-shot"
        f"{', as turns of a chat' if questions.chat else ''}",
        settings={field: fields[field] for field in SHAPING},
        curves=result.curves,
        phase=result.phase,
        weight=spec.weight,
        version=likra_ray.__version__,
    )
