"""One head from every engine and any number of workers: plain PyTorch and ZeRO 0-3, on one process and on two.

Both sets of processes start once, for all tests of this file; a machine's first DeepSpeed compiles for half a minute.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from small import (
    ENGINES_AGREE,
    MANNER,
    TABLES_AGREE,
    baseline,
    evaluation,
    fresh,
    ignore,
    lopsided,
    order,
    producer,
)
from worker_script import PAIRED, STAGES, tables

from likra_ray.heads import adapters
from likra_ray.heads.orders import ROLES, Role
from likra_ray.heads.store import HeadStore
from likra_ray.records import ScoreTable
from likra_ray.storage import Storage

pytestmark = pytest.mark.slow

SECONDS = 280
"""For all of a script: it takes 24 s of CPU in each process, and the compiling; 220 s seen on a crowded machine."""

WORLDS = (1, 2)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> HeadStore:
    """All heads from plain PyTorch, in this process, without torch.distributed, a whole batch at a time."""
    root = tmp_path_factory.mktemp("reference")
    made = producer(root, roles=(*ROLES, *PAIRED))
    for role in PAIRED:
        made.head(baseline(role, 0, 16), evaluation(), ignore)
    for role in ROLES:
        made.head(order(role, 0, 8, 16, 24, 32), evaluation(), ignore)
    made.base_table("base-small", evaluation())
    return made.store


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """What worker_script.py left, by number of processes."""
    roots = {world: tmp_path_factory.mktemp(f"world{world}") for world in WORLDS}
    running = {world: start(world, root) for world, root in roots.items()}
    ends = time.monotonic() + SECONDS
    try:
        for world, process in running.items():
            process.wait(timeout=max(1.0, ends - time.monotonic()))
            said = (roots[world] / "output.txt").read_text(errors="replace")
            assert process.returncode == 0, f"{world} processes:\n{said[-6000:]}"
    finally:
        for process in running.values():
            process.terminate()
            process.wait(timeout=20)
    return roots


def start(world: int, root: Path) -> subprocess.Popen[bytes]:
    script = Path(__file__).with_name("worker_script.py")
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(world)]
    # What a killed process leaves: whoever compiles an extension waits for this lock for ever. No engine may.
    stale = root / "extensions/deepspeed_shm_comm/lock"
    stale.parent.mkdir(parents=True)
    stale.touch()
    environment = {
        **os.environ,
        "TORCH_EXTENSIONS_DIR": str(root / "extensions"),
        "OMP_NUM_THREADS": "1",
        "PYTHONWARNINGS": "ignore",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    with (root / "output.txt").open("wb") as output:
        return subprocess.Popen(
            [*launch, "--master-port", str(free_port()), str(script), str(root)],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
        )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def store(folder: Path) -> HeadStore:
    return HeadStore(Storage(str(folder)))


def assert_same_head(found: HeadStore, expected: HeadStore, key: str, volume: int) -> None:
    one, other = found.load(key, volume), expected.load(key, volume)
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, other[name], rtol=0, atol=ENGINES_AGREE, msg=lambda m, n=name: f"{n}: {m}")


def assert_same_table(found: ScoreTable | None, expected: ScoreTable | None) -> None:
    assert found is not None and expected is not None
    assert found.question_ids == expected.question_ids
    assert found.tokens.tolist() == expected.tokens.tolist()
    assert abs(found.logprob - expected.logprob).max() < TABLES_AGREE


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("name", STAGES)
@pytest.mark.parametrize("world", WORLDS)
def test_every_engine_makes_the_same_head(
    folders: dict[int, Path], reference: HeadStore, world: int, name: str, role: Role
) -> None:
    key, found = f"{role}-small", store(folders[world] / name)
    assert found.volumes(key) == (0, 16, 32)
    for volume in (16, 32):
        assert_same_head(found, reference, key, volume)
        assert_same_table(*(one.table(key, "evaluation-small", volume) for one in (found, reference)))
    beginning, end = (reference.load(key, volume) for volume in (0, 32))
    assert max(float((end[part] - beginning[part]).abs().max()) for part in end) > 1000 * ENGINES_AGREE


@pytest.mark.parametrize("name", STAGES)
@pytest.mark.parametrize("world", WORLDS)
def test_a_base_that_had_other_adapters_makes_the_same_bits(folders: dict[int, Path], world: int, name: str) -> None:
    found, expected = store(folders[world] / f"{name}-after-another"), store(folders[world] / name)
    for volume in (16, 32):
        one, other = (heads.load("positive-small", volume) for heads in (found, expected))
        assert one.keys() == other.keys() and all(torch.equal(one[part], other[part]) for part in one)
    for key, volume in (("positive-small", 16), ("positive-small", 32), ("base-small", 0)):
        table, same = (heads.table(key, "evaluation-small", volume) for heads in (found, expected))
        assert table is not None and same is not None
        assert table.logprob.tolist() == same.logprob.tolist()


@pytest.mark.parametrize("role", PAIRED)
@pytest.mark.parametrize("name", STAGES)
@pytest.mark.parametrize("world", WORLDS)
def test_every_engine_makes_the_same_baseline(
    folders: dict[int, Path], reference: HeadStore, world: int, name: str, role: Role
) -> None:
    """In 2 micro-batches a worker; kto's divergence is that of the whole batch wherever its pairs lie."""
    key, found = f"{role}-small", store(folders[world] / name)
    assert_same_head(found, reference, key, 16)
    assert_same_table(*(one.table(key, "evaluation-small", 16) for one in (found, reference)))
    beginning, end = (reference.load(key, volume) for volume in (0, 16))
    assert max(float((end[part] - beginning[part]).abs().max()) for part in end) > 1000 * ENGINES_AGREE


@pytest.mark.parametrize("name", STAGES)
@pytest.mark.parametrize("world", WORLDS)
def test_every_engine_leaves_the_same_state(
    folders: dict[int, Path], reference: HeadStore, world: int, name: str
) -> None:
    found = store(folders[world] / name).load_optimizer("negative-small", 32)
    expected = reference.load_optimizer("negative-small", 32)
    assert found is not None and expected is not None
    assert found.keys() == expected.keys()
    for part, tensor in expected.items():
        torch.testing.assert_close(found[part], tensor, rtol=1e-3, atol=2e-8)


@pytest.mark.parametrize("name", STAGES)
@pytest.mark.parametrize("world", WORLDS)
def test_the_base_scores_alike_after_heads_were_made(
    folders: dict[int, Path], reference: HeadStore, world: int, name: str
) -> None:
    found = store(folders[world] / name).table("base-small", "evaluation-small", 0)
    assert_same_table(found, reference.table("base-small", "evaluation-small", 0))


@pytest.mark.parametrize(("name", "volumes"), [("relay", (8, 16, 24, 32)), ("relay-back", (8, 16))])
@pytest.mark.parametrize("world", WORLDS)
def test_engines_go_on_from_one_another(
    folders: dict[int, Path], reference: HeadStore, world: int, name: str, volumes: tuple[int, ...]
) -> None:
    """Another engine every 8 examples (worker_script.py): weights, moments and step count all pass over."""
    found = store(folders[world] / name)
    assert found.volumes("negative-small") == (0, *volumes)
    for volume in volumes:
        assert_same_head(found, reference, "negative-small", volume)


@pytest.mark.parametrize("world", WORLDS)
def test_one_plain_process_goes_on_from_zero_2(folders: dict[int, Path], reference: HeadStore, world: int) -> None:
    """The first half was made with 2 micro-batches a step."""
    assert_same_head(store(folders[world] / "half-way"), reference, "negative-small", 16)
    made = producer(folders[world] / "half-way")
    made.head(order("negative", 0, 16, 32), evaluation(), ignore)
    assert made.done.trained == {"negative-small": 16}
    assert_same_head(made.store, reference, "negative-small", 32)


def ranks(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / "ranks.json").read_text())
    return found


@pytest.mark.parametrize("world", WORLDS)
def test_every_rank_gets_the_same_table_as_one_process(folders: dict[int, Path], world: int) -> None:
    told = ranks(folders[world])
    assert len(told) == world
    assert all(rank["tables"] == told[0]["tables"] for rank in told), "bit for bit among ranks"
    found = [ScoreTable.from_arrow(bytes.fromhex(data)) for data in told[0]["tables"]]
    for one, alone in zip(found, tables(), strict=True):
        assert_same_table(one, alone)


@pytest.mark.parametrize("world", WORLDS)
def test_a_loss_that_one_rank_cannot_compute_ends_all(folders: dict[int, Path], world: int) -> None:
    assert [rank["diverged"][:28] for rank in ranks(folders[world])] == ["loss is inf after 4 examples"] * world


@pytest.mark.parametrize("world", WORLDS)
def test_every_rank_begins_alike(folders: dict[int, Path], world: int) -> None:
    model = adapters.attach(fresh().model, rank=4, alpha=8, targets=("gate_proj", "up_proj", "down_proj"), seed=0)
    expected = adapters.fingerprint(adapters.read(model, "negative"))
    assert [rank["fresh"] for rank in ranks(folders[world])] == [expected] * world
    assert all(rank["trained"] == {} for rank in ranks(folders[world])), "what a store has is not made again"


PLAIN_PEFT = """
import sys, torch
from peft import PeftModel
from transformers import AutoModelForCausalLM
base, head, prompts, out = sys.argv[1:]
model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), head).eval()
with torch.no_grad():
    torch.save([model(torch.tensor([ids])).logits[0] for ids in eval(prompts)], out)
assert not any(name.startswith("likra_ray") for name in sys.modules)
"""
"""What somebody does with a head who has peft and transformers alone: base, head and prompts in, logits out."""

PEFT_AGREES = 1e-5
"""Largest difference of a logit between plain peft and ours, the adapter being the same file (measured: 0)."""


@pytest.mark.parametrize("role", ROLES)
def test_what_zero_3_saved_from_two_processes_is_a_head_for_plain_peft(
    folders: dict[int, Path], role: Role, tmp_path: Path
) -> None:
    """Partitioned over both while it trained, gathered when stored: whole, moved, and the same function elsewhere."""
    held, key = store(folders[2] / "zero3"), f"{role}-small"
    base = fresh()
    base.model.save_pretrained(tmp_path / "base")
    ids = [base.tokenizer(f"{question.prompt} {question.correct.text}")["input_ids"] for question in lopsided()]
    head = held.storage.path(f"heads/{key}/volumes/32")
    plain = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run(
        [sys.executable, "-I", "-c", PLAIN_PEFT, str(tmp_path / "base"), head, repr(ids), str(tmp_path / "logits.pt")],
        check=True, timeout=SECONDS, cwd=tmp_path, env=plain,
    )  # fmt: skip
    theirs = torch.load(tmp_path / "logits.pt", weights_only=True)

    model = adapters.attach(base.model, rank=4, alpha=8, targets=MANNER.targets, seed=0, roles=(role,))
    with torch.no_grad():
        before = [model(torch.tensor([one])).logits[0] for one in ids]
        adapters.write(model, role, held.load(key, 32))
        ours = [model(torch.tensor([one])).logits[0] for one in ids]
    differ = max(float((one - other).abs().max()) for one, other in zip(ours, theirs, strict=True))
    moved = max(float((one - other).abs().max()) for one, other in zip(ours, before, strict=True))
    print(f"{role}: logits differ by {differ:.1e}, the head moved them by {moved:.1e}")
    assert differ < PEFT_AGREES < 1e-3 * moved


@pytest.mark.parametrize("role", ROLES)
def test_zero_3_over_two_processes_makes_the_head_of_zero_0(folders: dict[int, Path], role: Role) -> None:
    third, none = store(folders[2] / "zero3"), store(folders[2] / "zero0")
    key = f"{role}-small"
    for volume in (16, 32):
        assert_same_head(third, none, key, volume)
        found, expected = (one.table(key, "evaluation-small", volume) for one in (third, none))
        assert_same_table(found, expected)
        assert found is not None and expected is not None
        one, other = third.load(key, volume), none.load(key, volume)
        adapter = max(float((one[name] - other[name]).abs().max()) for name in one)
        print(f"{role} {volume}: adapters {adapter:.1e}, tables {abs(found.logprob - expected.logprob).max():.1e} nat")


def test_deepspeed_comes_without_mlflow_which_can_be_imported_afterwards() -> None:
    script = (
        "import sys; from likra_ray.heads.engines import _deepspeed; _deepspeed()\n"
        "assert 'deepspeed' in sys.modules and 'mlflow' not in sys.modules\n"
        "import mlflow; assert mlflow.__version__; _deepspeed(); assert sys.modules['mlflow'] is mlflow\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr[-3000:]
