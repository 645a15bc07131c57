"""What is in the store is whole and what was written, or it is not in the store."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from left_running import killed_after

from likra_ray.heads.store import ADAPTER, DamagedHead, HeadStore
from likra_ray.records import ScoreTable
from likra_ray.storage import Storage

TENSORS = {"a.lora_A.weight": torch.arange(6.0).reshape(2, 3), "a.lora_B.weight": torch.tensor([[-0.0], [1e-30]])}


@pytest.fixture
def store(tmp_path: Path) -> HeadStore:
    return HeadStore(Storage(str(tmp_path)))


def table(value: float = -1.5) -> ScoreTable:
    return ScoreTable(
        question_ids=("ä",),
        question=np.zeros(2, dtype=np.int32),
        kind=np.array([0, 1], dtype=np.int8),
        logprob=np.array([value, -2.25]),
        tokens=np.array([1, 2], dtype=np.int32),
        characters=np.array([3, 4], dtype=np.int32),
        bytes=np.array([5, 6], dtype=np.int32),
        meta={"head": "h"},
    )


def test_an_adapter_comes_back_bit_for_bit(store: HeadStore) -> None:
    store.save("head", 16, TENSORS, b"{}")
    back = store.load("head", 16)
    assert back.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert back[name].numpy().tobytes() == tensor.numpy().tobytes()
        assert back[name].shape == tensor.shape


def test_volumes_are_the_finished_ones_in_order(store: HeadStore) -> None:
    assert store.volumes("head") == ()
    for volume in (128, 16, 8, 1024):
        store.save("head", volume, TENSORS, b"{}")
    store.storage.write("heads/head/volumes/64/adapter_config.json", b"{}")  # never finished: no manifest
    store.storage.write("heads/head/volumes/notes/manifest.json", b"{}")
    assert store.volumes("head") == (8, 16, 128, 1024)
    store.discard("head", 128)
    store.discard("head", 4096)
    assert store.volumes("head") == (8, 16, 1024)
    assert store.volumes("other") == ()


def test_the_manifest_is_written_last(store: HeadStore, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    write = Storage.write

    def watched(self: Storage, name: str, data: bytes) -> None:
        written.append(name.rsplit("/", 1)[-1])
        write(self, name, data)

    monkeypatch.setattr(Storage, "write", watched)
    store.save("head", 8, TENSORS, b"{}")
    store.save_table("head", "evaluation", 8, table())
    assert written == [ADAPTER, "adapter_config.json", "manifest.json", "8.arrow", "8.sha256"]


def damaged(store: HeadStore, damage: str) -> None:
    folder = Path(store.storage.path("heads/head/volumes/8"))
    data = (folder / ADAPTER).read_bytes()
    match damage:
        case "one bit":
            (folder / ADAPTER).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        case "cut":
            (folder / ADAPTER).write_bytes(data[:-1])
        case "configuration":
            (folder / "adapter_config.json").write_bytes(b"[]")
        case "no file":
            (folder / ADAPTER).unlink()
        case "no manifest":
            (folder / "manifest.json").unlink()
        case "torn manifest":
            (folder / "manifest.json").write_text("{")
        case "empty manifest":
            (folder / "manifest.json").write_text("{}")
        case "list for manifest":
            (folder / "manifest.json").write_text("[]")
        case "binary manifest":
            (folder / "manifest.json").write_bytes(b"\xff\xfe\x00")
        case "no folder":
            store.storage.remove("heads/head/volumes/8")


@pytest.mark.parametrize(
    "damage",
    [
        "one bit",
        "cut",
        "configuration",
        "no file",
        "no manifest",
        "torn manifest",
        "empty manifest",
        "list for manifest",
        "binary manifest",
        "no folder",
    ],
)
def test_damage_is_named_by_its_place(store: HeadStore, damage: str) -> None:
    store.save("head", 8, TENSORS, b"{}")
    damaged(store, damage)
    with pytest.raises(DamagedHead, match="heads/head/volumes/8"):
        store.load("head", 8)
    store.save("head", 8, TENSORS, b"{}")  # made again, over what is left
    assert store.load("head", 8).keys() == TENSORS.keys()


def test_every_volume_keeps_its_state(store: HeadStore) -> None:
    for volume in (8, 16, 9, 100):
        store.save_optimizer("head", volume, {"m/exp_avg": torch.full((2,), float(volume))})
    for volume in (8, 9, 16, 100):
        found = store.load_optimizer("head", volume)
        assert found is not None and found["m/exp_avg"].tolist() == [volume, volume]
    assert store.load_optimizer("head", 10) is None
    assert store.load_optimizer("nobody", 8) is None


def test_a_damaged_state_is_none(store: HeadStore) -> None:
    store.save_optimizer("head", 8, {"m/exp_avg": torch.ones(2)})
    [path] = Path(store.storage.path("heads/head")).glob("optimizer-*")
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    assert store.load_optimizer("head", 8) is None


def test_a_state_written_twice_stays_whole(store: HeadStore) -> None:
    """The second writer crashed between two attempts, or made the same head again after damage."""
    store.save_optimizer("head", 8, {"m/exp_avg": torch.ones(2)})
    store.save_optimizer("head", 8, {"m/exp_avg": torch.zeros(2)})
    found = store.load_optimizer("head", 8)
    assert found is not None and found["m/exp_avg"].tolist() == [0, 0], "the last one written"
    assert len(list(Path(store.storage.path("heads/head")).glob("optimizer-*"))) == 1


@pytest.mark.parametrize(
    ("stored", "states", "asked", "stretches"),
    [
        ((), (), (0, 8, 16), [(0, 16)]),
        ((0, 8, 16), (8, 16), (0, 8, 16), []),
        ((0, 8, 16), (8, 16), (0, 8), []),
        ((0, 8, 16), (8, 16), (0, 8, 16, 32), [(16, 32)]),
        ((0, 8, 16), (16,), (0, 8, 16, 32), [(16, 32)]),
        ((0, 8), (), (0, 8, 16), [(0, 16)]),
        ((0, 8, 32), (32,), (0, 8, 16, 32), [(0, 16)]),
        ((0, 8, 32), (8, 32), (0, 8, 16, 32), [(8, 16)]),
        ((0, 8, 32), (8, 32), (0, 64), [(32, 64)]),
        ((0, 16), (8, 16), (0, 12), [(0, 12)]),
        ((8, 16), (8, 16), (0, 8, 16), [(0, 0)]),
        ((0, 16), (16, 32), (0, 16, 32, 64), [(16, 64)]),
        ((0, 32, 64, 128), (32, 64, 128), (0, 40, 48, 64, 96, 128), [(32, 48), (64, 96)]),
        ((0, 32, 64, 128), (32, 64, 128), (0, 16, 48, 160), [(0, 16), (32, 48), (128, 160)]),
        ((0, 32, 64), (), (0, 16, 48, 96), [(0, 96)]),
    ],
)
def test_where_to_go_on_from(
    store: HeadStore,
    stored: tuple[int, ...],
    states: tuple[int, ...],
    asked: tuple[int, ...],
    stretches: list[tuple[int, int]],
) -> None:
    """From a finished volume with its state to the last one missing before the next such; from 0 without one."""
    for volume in stored:
        store.save("head", volume, TENSORS, b"{}")
    for volume in states:
        store.save_optimizer("head", volume, {"m/exp_avg": torch.ones(1)})
    assert store.stretches("head", asked) == stretches
    assert store.resume_point("head", asked) == (stretches[0][0] if stretches else None)


def test_a_table_comes_back_bit_for_bit(store: HeadStore) -> None:
    assert store.table("head", "evaluation", 8) is None
    store.save_table("head", "evaluation", 8, table())
    back = store.table("head", "evaluation", 8)
    assert back is not None
    assert back.to_arrow() == table().to_arrow()
    assert store.table("head", "evaluation", 16) is None
    assert store.table("head", "evaluation-other", 8) is None


@pytest.mark.parametrize("damage", ["changed", "empty", "no table", "no checksum", "binary checksum", "another table"])
def test_a_damaged_table_is_none_until_made_again(store: HeadStore, damage: str) -> None:
    store.save_table("head", "evaluation", 8, table())
    path = Path(store.storage.path("heads/head/scores/evaluation/8.arrow"))
    checksum = path.with_suffix(".sha256")
    match damage:
        case "changed":
            path.write_bytes(path.read_bytes().replace(b"head", b"dead"))
        case "empty":
            path.write_bytes(b"")
        case "no table":
            path.unlink()
        case "no checksum":
            checksum.unlink()
        case "binary checksum":
            checksum.write_bytes(b"\xff\xff")
        case "another table":
            path.write_bytes(table(-9.0).to_arrow())
    assert store.table("head", "evaluation", 8) is None
    store.save_table("head", "evaluation", 8, table())
    assert store.table("head", "evaluation", 8) is not None


def test_a_key_is_described_once(store: HeadStore) -> None:
    store.describe("head", {"role": "positive", "seed": 0})
    store.describe("head", {"role": "negative"})
    assert json.loads(store.storage.read("heads/head/head.json")) == {"role": "positive", "seed": 0}


def test_two_that_replace_a_state_at_once_leave_one(store: HeadStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither removes what the other wrote after it looked; who comes later still replaces."""
    ones, zeros = ({"m/exp_avg": torch.full((2,), value)} for value in (1.0, 0.0))
    write = Storage.write

    def interleaved(self: Storage, name: str, data: bytes) -> None:
        monkeypatch.setattr(Storage, "write", write)
        HeadStore(self).save_optimizer("head", 8, zeros)  # all of the other's, between looking and writing
        write(self, name, data)

    monkeypatch.setattr(Storage, "write", interleaved)
    store.save_optimizer("head", 8, ones)
    found = store.load_optimizer("head", 8)
    assert found is not None and float(found["m/exp_avg"][0]) in (0.0, 1.0)
    store.save_optimizer("head", 8, ones)
    assert len(list(Path(store.storage.path("heads/head")).glob("optimizer-8-*"))) == 1


HAMMER = """
import sys, torch
from likra_ray.heads.store import HeadStore
from likra_ray.storage import Storage
root, mine = sys.argv[1], float(sys.argv[2])
store = HeadStore(Storage(root))
for turn in range(60):
    store.describe("head", {"a": 1})
    store.save_optimizer("head", 8, {"m": torch.full((50_000,), mine)})
    store.save("head", 8, {"w": torch.ones(50_000)}, b"{}")
    store.load("head", 8)
    store.load_optimizer("head", 8)
"""


def test_two_processes_that_make_one_head_at_once_break_nothing(tmp_path: Path) -> None:
    """Two sweeps with a Ray of their own each: the same head, and states that differ (other worker counts)."""
    both = [
        subprocess.Popen([sys.executable, "-c", HAMMER, str(tmp_path), mine], stderr=subprocess.PIPE, text=True)
        for mine in ("0", "1")
    ]
    with killed_after(*both):
        for process in both:
            _, said = process.communicate(timeout=200)
            assert process.returncode == 0, said
    store = HeadStore(Storage(str(tmp_path)))
    assert store.volumes("head") == (8,) and store.load("head", 8)["w"].sum() == 50_000
    assert not store.damaged and not list(tmp_path.rglob("*.tmp"))
    state = store.load_optimizer("head", 8)
    assert state is not None and float(state["m"].min()) == float(state["m"].max())
