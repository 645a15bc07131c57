"""The store of heads: what was trained once is never trained again.

    heads/<key>/head.json                               the fields the key is made of
    heads/<key>/volumes/<n>/adapter_model.safetensors   as PEFT loads it, with adapter_config.json beside
    heads/<key>/volumes/<n>/manifest.json               written last: SHA-256 of every file of the volume
    heads/<key>/optimizer-<n>-<sha256>.safetensors      Adam's state at a volume, to go on from there
    heads/<key>/scores/<evaluation>/<n>.arrow           score table; <n>.sha256 written after it

A volume without a sound manifest does not exist. The base is the head called base-..., with scores at volume 0 only.

Every volume keeps its Adam's state, so that finer volumes can be measured later from the one before them, whichever it
is. It is two fp32 moments per parameter of the adapter, so a volume takes three times its adapter (measured: 12.2 MB of
state beside 6.1 MB for SmolLM2-135M, rank 8 on the MLPs).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import safetensors.torch
import torch

from likra_ray.records import ScoreTable
from likra_ray.storage import Storage

log = logging.getLogger(__name__)

ADAPTER = "adapter_model.safetensors"


class DamagedHead(RuntimeError):
    """What the store holds is torn or changed; it is set aside and made again."""


@dataclass(frozen=True)
class HeadStore:
    """Heads below one output folder, shared by all its sweeps."""

    storage: Storage
    damaged: list[str] = field(default_factory=list, compare=False)
    """Files found damaged through this object, each once, in the order they were."""

    def describe(self, key: str, spec: Mapping[str, object]) -> None:
        """Write the fields a head's key is made of, once."""
        if not self.storage.exists(f"heads/{key}/head.json"):
            self.storage.write(f"heads/{key}/head.json", json.dumps(spec, indent=1, sort_keys=True).encode())

    def volumes(self, key: str) -> tuple[int, ...]:
        """Finished volumes, increasing."""
        folder = f"heads/{key}/volumes"
        found = [int(name) for name in self.storage.names(folder) if name.isdigit()]
        return tuple(n for n in sorted(found) if self.storage.exists(f"{folder}/{n}/manifest.json"))

    def save(self, key: str, volume: int, adapter: Mapping[str, torch.Tensor], config: bytes) -> None:
        """Store an adapter at a volume; its manifest comes last."""
        folder = f"heads/{key}/volumes/{volume}"
        files = {
            ADAPTER: safetensors.torch.save(dict(adapter), metadata={"format": "pt"}),
            "adapter_config.json": config,
        }
        for name, data in files.items():
            self.storage.write(f"{folder}/{name}", data)
        checksums = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
        self.storage.write(f"{folder}/manifest.json", json.dumps(checksums, indent=1).encode())

    def load(self, key: str, volume: int) -> dict[str, torch.Tensor]:
        """The adapter at a volume. Raises DamagedHead where a file is missing or not what was written."""
        return dict(safetensors.torch.load(self.files(key, volume)[ADAPTER]))

    def files(self, key: str, volume: int) -> dict[str, bytes]:
        """The files of a volume as PEFT reads them, by name. Raises DamagedHead as `load`."""
        folder = f"heads/{key}/volumes/{volume}"
        try:
            checksums = json.loads(self.storage.read(f"{folder}/manifest.json"))
            files = {name: self.storage.read(f"{folder}/{name}") for name in checksums}
        except (FileNotFoundError, ValueError, TypeError) as error:
            self._note(f"{folder}/manifest.json")
            raise DamagedHead(f"{folder}: {error}") from None
        for name, data in files.items():
            if hashlib.sha256(data).hexdigest() != checksums[name]:
                self._note(f"{folder}/{name}")
                raise DamagedHead(f"{folder}/{name}: not what was written (SHA-256 differs)")
        if ADAPTER not in files:
            self._note(f"{folder}/manifest.json")
            raise DamagedHead(f"{folder}: no {ADAPTER} in its manifest")
        return files

    def save_optimizer(self, key: str, volume: int, state: Mapping[str, torch.Tensor]) -> None:
        """Keep Adam's state at a volume, in place of an earlier one of that volume."""
        data = safetensors.torch.save(dict(state))
        written = f"optimizer-{volume}-{hashlib.sha256(data).hexdigest()}.safetensors"
        # Listed before writing: two sweeps that make one head must not remove what the other has just written.
        before = [name for other, name in self._optimizers(key) if other == volume and name != written]
        self.storage.write(f"heads/{key}/{written}", data)
        for name in before:
            self._remove(f"heads/{key}/{name}")

    def load_optimizer(self, key: str, volume: int) -> dict[str, torch.Tensor] | None:
        """Adam's state at a volume; None where it is not kept, or damaged."""
        for other, name in self._optimizers(key):
            if other == volume:
                try:
                    data = self.storage.read(f"heads/{key}/{name}")
                except FileNotFoundError:
                    continue  # replaced since it was listed
                if hashlib.sha256(data).hexdigest() == name.rsplit("-", 1)[1].removesuffix(".safetensors"):
                    return dict(safetensors.torch.load(data))
                self._note(f"heads/{key}/{name}")
        return None

    def _optimizers(self, key: str) -> list[tuple[int, str]]:
        names = [name for name in self.storage.names(f"heads/{key}") if name.startswith("optimizer-")]
        return [(int(name.split("-")[1]), name) for name in names]

    def stretches(self, key: str, volumes: Iterable[int]) -> list[tuple[int, int]]:
        """What to train so that all of `volumes` exist: (from, to) in examples, increasing; [] where they do.

        A stretch begins at a finished volume that kept its state, or at 0, and ends at the last volume missing
        before the next one does.
        """
        there = set(self.volumes(key))
        kept = [n for n, _ in self._optimizers(key) if n in there]
        found: dict[int, int] = {}
        for missing in sorted(n for n in volumes if n not in there):
            found[max((n for n in kept if n < missing), default=0)] = missing
        return sorted(found.items())

    def resume_point(self, key: str, volumes: Iterable[int]) -> int | None:
        """The volume where training of `volumes` begins: None where all exist, 0 to start afresh."""
        return next((start for start, _ in self.stretches(key, volumes)), None)

    def discard(self, key: str, volume: int) -> None:
        """Set a damaged volume aside: without its manifest it does not exist."""
        self._remove(f"heads/{key}/volumes/{volume}/manifest.json")

    def discard_optimizer(self, key: str, volume: int) -> None:
        """Forget Adam's state at a volume: nothing goes on from there."""
        for other, name in self._optimizers(key):
            if other == volume:
                self._remove(f"heads/{key}/{name}")

    def check(self, key: str, volumes: Iterable[int], *, read: Iterable[int]) -> None:
        """Set aside what is damaged of what making `volumes` begins at, and of the volumes in `read`.

        What is set aside is missing from then on, so `stretches` has it made again.
        """
        wanted = set(read)
        while True:
            starts = {start for start, _ in self.stretches(key, volumes)} - {0}
            bad = [start for start in starts if self.load_optimizer(key, start) is None]
            for start in bad:
                self.discard_optimizer(key, start)
            for volume in (starts | wanted) & set(self.volumes(key)):
                try:
                    self.load(key, volume)
                except DamagedHead as error:
                    log.warning("%s; made again", error)
                    self.discard(key, volume)
                    bad.append(volume)
            if not bad:
                return

    def _remove(self, name: str) -> None:
        """Remove a file that another sweep may be removing too."""
        with contextlib.suppress(FileNotFoundError):
            self.storage.remove(name)

    def _note(self, name: str) -> None:
        log.warning("%s is damaged: not used", name)
        if name not in self.damaged:
            self.damaged.append(name)

    def save_table(self, key: str, evaluation: str, volume: int, table: ScoreTable) -> None:
        """Store a score table; its checksum comes last."""
        name = f"heads/{key}/scores/{evaluation}/{volume}"
        data = table.to_arrow()
        self.storage.write(f"{name}.arrow", data)
        self.storage.write(f"{name}.sha256", hashlib.sha256(data).hexdigest().encode())

    def scored(self, key: str, evaluation: str) -> set[int]:
        """Volumes that have a score table; none is read."""
        names = [name.partition(".") for name in self.storage.names(f"heads/{key}/scores/{evaluation}")]
        return {int(volume) for volume, _, ending in names if volume.isdigit() and ending == "sha256"}

    def table(self, key: str, evaluation: str, volume: int) -> ScoreTable | None:
        """A score table; None where there is none, or it is damaged (said in the log) and must be made again."""
        name = f"heads/{key}/scores/{evaluation}/{volume}"
        if not self.storage.exists(f"{name}.sha256"):
            return None
        try:
            data = self.storage.read(f"{name}.arrow")
        except FileNotFoundError:
            data = b""
        if hashlib.sha256(data).hexdigest().encode() != self.storage.read(f"{name}.sha256"):
            self._note(f"{name}.arrow")
            return None
        return ScoreTable.from_arrow(data)
