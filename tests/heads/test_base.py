"""Finding a base: the same name is the same weights, other weights are another name, and what is not there is said."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from small import fresh, lopsided

from likra_ray.errors import InputError
from likra_ray.heads import base, gguf
from likra_ray.heads.scoring import score


@pytest.fixture
def folder(tmp_path: Path, tiny: base.LoadedBase) -> Path:
    """The random base as a user's local folder."""
    tiny.model.save_pretrained(tmp_path / "mine")
    tiny.tokenizer.save_pretrained(tmp_path / "mine")
    return tmp_path / "mine"


def test_random_tiny_is_the_same_every_time() -> None:
    torch.manual_seed(3)
    first = fresh()
    state = torch.random.get_rng_state()
    second = fresh()
    assert torch.equal(torch.random.get_rng_state(), state)
    for one, other in zip(first.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_loaded_base_is_frozen_and_evaluates(tiny: base.LoadedBase) -> None:
    assert not tiny.model.training
    assert not any(parameter.requires_grad for parameter in tiny.model.parameters())
    assert {parameter.dtype for parameter in tiny.model.parameters()} == {torch.float32}


def test_random_tiny_reads_bytes_and_gives_them_back(tiny: base.LoadedBase) -> None:
    text = "Ααé 銀🙂 \n\t end"
    ids = tiny.tokenizer(text)["input_ids"]
    assert len(ids) == len(text.encode())
    assert tiny.tokenizer.decode(ids) == text


def test_a_local_folder_is_loaded_as_it_is(folder: Path, tiny: base.LoadedBase) -> None:
    found = base.resolve(str(folder))
    assert found.path == str(folder)
    assert found.identity.startswith("mine-")
    loaded = base.load(found)
    one, other = (score(b.model, b.tokenizer, lopsided()) for b in (loaded, tiny))
    assert one.logprob.tobytes() == other.logprob.tobytes()


@pytest.mark.parametrize("change", ["weight", "tokenizer", "config"])
def test_identity_changes_with_the_contents(folder: Path, change: str) -> None:
    before = base.resolve(str(folder)).identity
    assert base.resolve(str(folder)).identity == before
    (folder / "README.md").write_text("no part of it")
    assert base.resolve(str(folder)).identity == before
    match change:
        case "weight":
            path = folder / "model.safetensors"
            data = path.read_bytes()
            path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        case "tokenizer":
            path = folder / "tokenizer.json"
            path.write_text(path.read_text() + " ")
        case "config":
            config = json.loads((folder / "config.json").read_text())
            (folder / "config.json").write_text(json.dumps({**config, "rms_norm_eps": 1e-3}))
    assert base.resolve(str(folder)).identity != before


@pytest.mark.parametrize("name", ["", "no-such-alias", "a/b/c", "missing.gguf", "./missing/folder", "/missing/folder"])
def test_what_is_not_there_is_named_with_what_is_allowed(name: str) -> None:
    with pytest.raises(InputError) as caught:
        base.resolve(name)
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith(f"search space: base: got {name!r}; allowed: smollm2-135m, random-tiny")


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the folder has no config\.json"):
        base.resolve(str(tmp_path))


def test_a_gguf_file_is_converted_once(tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Named by content: the same bytes under the same name are found, other bytes are converted."""
    converted: list[Path] = []

    def convert(gguf: Path, target: Path) -> None:
        converted.append(gguf)
        target.mkdir(parents=True)

    monkeypatch.setattr(gguf, "_convert", convert)
    file = tmp_path / "model-Q4.gguf"
    file.write_bytes(b"GGUF one")
    first, again = base.resolve(str(file)), base.resolve(str(file))
    assert first == again
    assert Path(first.path).parent == own_cache
    assert first.identity.startswith("model-Q4-")
    file.write_bytes(b"GGUF two")
    assert base.resolve(str(file)).identity != first.identity
    assert len(converted) == 2


def test_two_processes_may_convert_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second to finish finds the first one's folder and leaves nothing of its own."""
    import transformers

    together = threading.Barrier(2, timeout=10)

    class Saved:
        def save_pretrained(self, folder: Path) -> None:
            Path(folder).mkdir(parents=True, exist_ok=True)
            (Path(folder) / "file").write_text("whole")

    def loaded(*_: Any, **__: Any) -> Saved:
        together.wait()
        return Saved()

    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", loaded)
    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", loaded)
    target = tmp_path / "cache" / "model-1"
    failures: list[Exception] = []

    def convert() -> None:
        try:
            gguf._convert(tmp_path / "model.gguf", target)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=convert) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert [path.name for path in target.parent.iterdir()] == ["model-1"]
    assert (target / "file").read_text() == "whole"


@pytest.mark.parametrize("names", [["a"], ["a", "a much longer name", "b"]], ids=str)
def test_mapped_weights_begin_where_a_cache_line_does(names: list[str], tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    weights = {name: torch.randn(3, 16) for name in names}
    save_file(weights, file, metadata={"format": "pt"})
    gguf._align(file)
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    with safe_open(file, framework="pt") as mapped:
        assert mapped.metadata() == {"format": "pt"}
        for name, tensor in weights.items():
            assert torch.equal(mapped.get_tensor(name), tensor)
            assert mapped.get_tensor(name).data_ptr() % gguf.LINE == 0
    once = file.read_bytes()
    gguf._align(file)
    assert file.read_bytes() == once, "aligned already"


def test_weights_that_are_pickles_are_refused_unread(folder: Path) -> None:
    """What would run on loading does not: the folder is judged by its names."""
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch pwned'\ntR.")
    with pytest.raises(InputError, match=r"weights as \*\.safetensors; it has pytorch_model.bin"):
        base.resolve(str(folder))
    (folder / "pytorch_model.bin").unlink()
    with pytest.raises(InputError, match="it has no weights"):
        base.resolve(str(folder))


@pytest.mark.parametrize("files", [["pytorch_model.bin", "config.json"], ["tf_model.h5"], ["README.md"]], ids=str)
def test_a_hub_model_of_pickles_is_refused(files: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "_commit", lambda _: "abc")
    monkeypatch.setattr(base, "_hub_files", lambda *_: files)
    with pytest.raises(InputError, match=r"weights as \*\.safetensors"):
        base.resolve("somebody/model")
    monkeypatch.setattr(base, "_hub_files", lambda *_: [*files, "model-00001-of-00002.safetensors"])
    assert base.resolve("somebody/model").revision == "abc"


def test_code_that_lies_beside_the_weights_is_not_run(folder: Path, tmp_path: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "model_type": "foreign",
        "auto_map": {"AutoConfig": "code.Foreign", "AutoModelForCausalLM": "code.Model"},
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "code.py").write_text(f"open({str(tmp_path / 'pwned')!r}, 'w')\nclass Foreign: ...\nclass Model: ...\n")
    found = base.resolve(str(folder))
    with pytest.raises(InputError, match="foreign|code"):
        base.linear_layers(found)
    with pytest.raises(ValueError):  # noqa: PT011  # transformers' own, of a worker
        base.load(found)
    assert not (tmp_path / "pwned").exists()


def test_a_configuration_that_is_none_is_one_line(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": 3')
    with pytest.raises(InputError) as caught:
        base.linear_layers(base.resolve(str(folder)))
    assert "\n" not in str(caught.value)
