"""A GGUF file as a folder of safetensors: dequantised to fp32 once, in $LIKRA_CACHE, else ~/.cache/likra_ray."""

from __future__ import annotations

import hashlib
import shutil
import uuid
from pathlib import Path

from likra_ray.storage import cache_folder

LINE = 64
"""Bytes of a cache line, and of the widest vector that processors load at once. Mapped weights that begin between two
lines cost training a twentieth of its time (docs/LOG.md, 2026-11-28)."""


def converted(file: Path) -> Path:
    """The folder, named by the file and its SHA-256; made unless that was done before."""
    with file.open("rb") as source:
        digest = hashlib.file_digest(source, "sha256").hexdigest()[:16]
    target = cache_folder() / f"{file.stem}-{digest}"
    if not target.is_dir():
        _convert(file, target)
    for weights in target.glob("*.safetensors"):
        _align(weights)
    return target


def _convert(file: Path, target: Path) -> None:
    """Two processes may do it at once, the first to finish wins."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    folder, name = str(file.parent), file.name
    temporary = target.with_name(f"{target.name}.{uuid.uuid4().hex}.tmp")
    try:
        model = AutoModelForCausalLM.from_pretrained(
            folder,
            gguf_file=name,
            quantization_config=GgufConfig(dequantize=True),
            dtype=torch.float32,
            trust_remote_code=False,
        )
        model.save_pretrained(temporary)
        AutoTokenizer.from_pretrained(folder, gguf_file=name, trust_remote_code=False).save_pretrained(temporary)
        try:
            temporary.rename(target)
        except OSError:
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _align(weights: Path) -> None:
    """Let the data of a safetensors file begin at a multiple of LINE; so do tensors behind others of whole LINEs.

    Its header may end in spaces (the format's own rule); as it is written it ends at a multiple of eight. A file that
    is mapped meanwhile stays as it is for those who have it.
    """
    with weights.open("rb") as source:
        length = int.from_bytes(source.read(8), "little")
        spaces = -(8 + length) % LINE
        if not spaces:
            return
        header = source.read(length) + b" " * spaces
        aligned = weights.with_name(f"{weights.name}.{uuid.uuid4().hex}.tmp")
        with aligned.open("wb") as target:
            target.write(len(header).to_bytes(8, "little") + header)
            shutil.copyfileobj(source, target)
    aligned.replace(weights)
