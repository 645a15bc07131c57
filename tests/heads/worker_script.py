"""What test_engines.py starts on one or two processes: every engine fills the same orders, each in a folder of its own.

    python -m torch.distributed.run --nproc-per-node 2 tests/heads/worker_script.py FOLDER

Left in FOLDER: one store of heads per engine and ranks.json, what the ranks saw of each other.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import torch
import torch.distributed as dist
from small import baseline, evaluation, fresh, ignore, lopsided, order, producer, shots

from likra_ray.heads import adapters
from likra_ray.heads.orders import Role
from likra_ray.heads.scoring import score
from likra_ray.heads.training import Diverged
from likra_ray.records import ScoreTable

PAIRED: tuple[Role, ...] = ("dpo", "kto")
STAGES: dict[str, int | None] = {"plain": None, "zero0": 0, "zero2": 2, "zero3": 3}


def both_heads(root: Path, stage: int | None) -> None:
    """One base for both heads, as in a trial: positive, negative, the base itself, and an order filled before."""
    made = producer(root, zero_stage=stage)
    for role in ("positive", "negative", "positive"):
        made.head(order(role, 0, 16, 32), evaluation(), ignore)
    made.base_table("base-small", evaluation())
    assert made.done.trained == {"positive-small": 32, "negative-small": 32}
    assert made.done.scored == {"positive-small": 2, "negative-small": 2, "base-small": 1}


def baselines(root: Path, stage: int | None) -> None:
    """Pairs: one objective with a reference, and the one that also runs forward on mismatched pairs in every step."""
    made = producer(root, zero_stage=stage, accumulation=2, roles=PAIRED)
    for role in PAIRED:
        made.head(baseline(role, 0, 16), evaluation(), ignore)
    assert made.done.trained == {f"{role}-small": 16 for role in PAIRED}


def relay(root: Path, *stages: int | None, accumulation: int = 1) -> None:
    """8 examples under each engine in turn, every one going on from what the one before left."""
    for leg, stage in enumerate(stages, start=1):
        made = producer(root, zero_stage=stage, accumulation=accumulation)
        made.head(order("negative", 0, *range(8, 8 * leg + 1, 8)), evaluation(), ignore)
        assert made.done.trained == {"negative-small": 8}, "it began again"


def after_another(root: Path, stage: int | None) -> None:
    """A head on a base that another producer had before, which made a head of another seed."""
    before = producer(root / "before", seed=1, zero_stage=stage)
    before.head(order("negative", 0, 8), evaluation(), ignore)
    made = producer(root, base=before.detach(), zero_stage=stage)
    made.head(order("positive", 0, 16, 32), evaluation(), ignore)
    made.base_table("base-small", evaluation())


def tables() -> list[ScoreTable]:
    """Of all questions, and of fewer rows than ranks."""
    base = fresh()
    return [
        score(base.model, base.tokenizer, lopsided(), shots=shots(), row_tokens=64),
        score(base.model, base.tokenizer, lopsided()[:1]),
    ]


def divergence(root: Path) -> str:
    """The second example, which is the last rank's, has no finite loss: every rank must hear of it."""
    made = producer(root)
    bad = made.tokenizer("@")["input_ids"][0]
    hooked = made.model.get_output_embeddings()
    hooked.register_forward_hook(
        lambda _module, _inputs, logits: logits.index_fill(-1, torch.tensor([bad]), -torch.inf)
    )
    plain = order("negative", 0, 16)
    pairs = (plain.pairs[0], ("Q?", "a@b"), *plain.pairs[2:])
    try:
        made.head(replace(plain, pairs=pairs), evaluation(), ignore)
    except Diverged as error:
        return str(error)
    return "went on"


def main(root: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    for name, stage in STAGES.items():
        both_heads(root / name, stage)
        baselines(root / name, stage)
        after_another(root / f"{name}-after-another", stage)
    relay(root / "relay", None, 0, 2, 3)
    relay(root / "relay-back", 3, 1)
    relay(root / "half-way", 2, 2, accumulation=2)  # test_engines.py goes on from its 16 examples

    made = producer(root / "plain")
    made.head(order("positive", 0, 16), evaluation(), ignore)
    own = {
        "tables": [table.to_arrow().hex() for table in tables()],
        "trained": dict(made.done.trained),
        "diverged": divergence(root / "diverged"),
        "fresh": adapters.fingerprint(adapters.read(made.model, "negative")),
    }
    ranks: list[dict[str, object] | None] = [None] * dist.get_world_size()
    dist.all_gather_object(ranks, own)
    if dist.get_rank() == 0:
        (root / "ranks.json").write_text(json.dumps(ranks))
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
