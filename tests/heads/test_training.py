"""The loop: which examples, which loss, which step, and when volumes are kept. Under plain PyTorch, in one process."""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from small import BATCH, LEARNING_RATE, MANNER, fresh, pairs

from likra_ray.heads import adapters, training
from likra_ray.heads.engines import BETAS, EPSILON, MOMENTS, PlainEngine
from likra_ray.heads.packing import ROW_TOKENS, Row, Tree, in_rows
from likra_ray.heads.tokens import Encoded, encode
from likra_ray.heads.training import Batches, Diverged, HeadRun, Step, one_answer, train


class Run:
    """A head in the making, and what the loop told about it."""

    def __init__(self, *, learning_rate: float = LEARNING_RATE) -> None:
        base = fresh()
        self.examples = encode(base.tokenizer, pairs("negative"))
        self.model = adapters.attach(base.model, rank=MANNER.rank, alpha=MANNER.alpha, targets=MANNER.targets, seed=0)
        chosen = adapters.choose(self.model, "negative")
        named = dict(zip(adapters.parameters(self.model, "negative"), chosen, strict=True))
        self.engine = PlainEngine(self.model, named, learning_rate)
        self.steps: list[Step] = []
        self.kept: dict[int, dict[str, torch.Tensor]] = {}

    def train(self, *volumes: int, start: int = 0, accumulation: int = 1, batch: int = BATCH) -> int:
        run = HeadRun(
            name="negative",
            engine=self.engine,
            lessons=one_answer(self.examples),
            start=start,
            volumes=volumes,
            on_volume=lambda seen: self.kept.update({seen: self.head()}),
            on_step=self.steps.append,
        )
        return train([run], batches=Batches(batch, accumulation))[0]

    def head(self) -> dict[str, torch.Tensor]:
        return adapters.read(self.model, "negative")


def difference(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> float:
    """Largest over all tensors; names must agree."""
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def nll(model: Any, example: Encoded) -> torch.Tensor:
    """-log p of the answer, summed, from the whole text in a pass of its own."""
    logits = model(input_ids=torch.tensor([example.tokens]), use_cache=False).logits[0]
    logprobs = torch.log_softmax(logits.float(), dim=-1)
    return -sum(logprobs[i - 1, example.tokens[i]] for i in range(example.answer_start, len(example.tokens)))


def test_rows_of_a_batch_do_not_change_its_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Examples that begin alike are merged, and what is merged is cut into rows."""
    kept, rows = [], []
    asked = training.pack

    def counted(trees: list[Tree]) -> Row:
        rows.append([len(tree.paths) for tree in trees])
        return asked(trees)

    monkeypatch.setattr(training, "pack", counted)
    for row_tokens in (1024, 150):
        monkeypatch.setattr(training, "in_rows", functools.partial(in_rows, row_tokens=row_tokens))
        run = Run()
        run.train(0, 16, batch=16)
        kept.append(run.kept[16])
    assert len(rows) > 2 and sum(rows[0]) == 16, "one row, then several"
    assert sum(max(row) > 1 for row in rows) > 2, "with merged examples"
    assert difference(*kept) < 1e-6


def test_ranks_make_as_many_rows_whatever_their_examples_share() -> None:
    """Rank 0 has one merged tree, rank 1 needs two rows: both go through the model twice."""
    run, length = Run(), ROW_TOKENS // 2
    alike, long = (7, 8, 9, 10), [tuple(range(start, start + 100)) * (length // 100 + 1) for start in (20, 130)]
    taught = [Encoded(alike, 3), Encoded(alike, 3), *(Encoded(tokens, 1) for tokens in long)]
    forward = [
        training._Forward([HeadRun("negative", run.engine, one_answer(taught), 0, (4,), print, print)],
                          contextlib.nullcontext, None, rank)
        for rank in (0, 1)
    ]  # fmt: skip
    found = [list(one.rows([{0: [0, 1]}, {0: [2, 3]}], lambda _: one_answer(taught).trees)) for one in forward]
    assert [[row[0][0] for row in rows] for rows in found] == [[[0], [1]], [[2], [3]]]


def test_a_step_is_adam_on_the_mean_over_the_batchs_answer_tokens() -> None:
    """The reference: every example alone, torch's Adam, nothing shared with the loop but the numbers."""
    reference = Run()
    optimizer = torch.optim.Adam(
        adapters.choose(reference.model, "negative"), lr=LEARNING_RATE, betas=BETAS, eps=EPSILON
    )
    losses = []
    for start in range(0, 12, BATCH):
        batch = reference.examples[start : start + BATCH]
        tokens = sum(len(example.tokens) - example.answer_start for example in batch)
        loss = sum(nll(reference.model, example) for example in batch) / tokens
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))

    run = Run()
    beginning = run.head()
    assert run.train(0, 12) == 12
    assert difference(run.head(), beginning) > 0.01
    assert difference(run.head(), reference.head()) < 1e-6
    assert [step.examples for step in run.steps] == [4, 8, 12]
    assert [step.loss for step in run.steps] == pytest.approx(losses, abs=1e-5)


@pytest.mark.parametrize("accumulation", [2, 4])
def test_micro_batches_leave_the_head_as_it_is(accumulation: int) -> None:
    whole, split = Run(learning_rate=1e-3), Run(learning_rate=1e-3)
    whole.train(0, 16)
    split.train(0, 16, accumulation=accumulation)
    assert difference(whole.head(), split.head()) < 1e-6
    assert [step.loss for step in split.steps] == pytest.approx([step.loss for step in whole.steps], abs=1e-5)


@pytest.mark.parametrize(
    ("volumes", "start", "kept", "steps"),
    [
        ((0, 8, 16), 0, [0, 8, 16], [4, 8, 12, 16]),
        ((0, 8, 16), 8, [8, 16], [12, 16]),
        ((8,), 0, [8], [4, 8]),
        ((0, 8), 8, [8], []),
        ((0, 4, 8), 0, [0, 4, 8], [4, 8]),
    ],
)
def test_every_volume_from_the_start_is_kept_once(
    volumes: tuple[int, ...], start: int, kept: list[int], steps: list[int]
) -> None:
    run = Run()
    assert run.train(*volumes, start=start) == volumes[-1] - start
    assert list(run.kept) == kept
    assert [step.examples for step in run.steps] == steps


def test_loss_falls_on_what_is_learnt() -> None:
    run = Run()
    run.examples = [*run.examples[:BATCH]] * 8
    run.train(0, 32)
    losses = [step.loss for step in run.steps]
    assert all(later < earlier for earlier, later in itertools.pairwise(losses))
    assert losses[-1] < losses[0] - 0.5


@pytest.mark.parametrize("poisoned", [0, 9, 31])
def test_a_loss_that_is_no_number_ends_the_run(poisoned: int) -> None:
    run = Run()
    mark = 256
    tokens = (*run.examples[poisoned].tokens[:-1], mark)
    run.examples[poisoned] = Encoded(tokens, run.examples[poisoned].answer_start)
    head = run.model.get_output_embeddings()  # this token has no probability, so its example has no finite loss
    head.register_forward_hook(lambda _module, _inputs, logits: logits.index_fill(-1, torch.tensor([mark]), -torch.inf))
    steps = poisoned // BATCH
    with pytest.raises(Diverged, match=f"loss is (inf|nan) after {(steps + 1) * BATCH} examples: lower the learning"):
        run.train(0, 16, 32)
    assert len(run.steps) == steps, "only sound steps are reported"
    assert list(run.kept) == [0, 16][: 1 + steps // 4], "nothing is kept after it"


def test_a_huge_learning_rate_diverges() -> None:
    run = Run(learning_rate=1e30)
    with pytest.raises(Diverged, match="lower the learning rate"):
        run.train(0, 32)


def test_state_goes_on_in_another_engine() -> None:
    """Bit for bit: 16 then 16 more in another engine is 32 at once; without Adam's moments it is not."""
    undisturbed, first = Run(), Run()
    undisturbed.train(0, 16, 32)
    first.train(0, 16)
    state = first.engine.state()
    assert set(state) == {f"{name}/{moment}" for name in first.head() for moment in MOMENTS}
    assert all(bool(tensor.any()) for name, tensor in state.items() if "lora_B" in name)
    ends = []
    for kept in (state, {name: torch.zeros_like(tensor) for name, tensor in state.items()}):
        second = Run()
        adapters.write(second.model, "negative", first.head())
        second.engine.load_state(kept, 16 // BATCH)
        second.train(16, 32, start=16)
        ends.append(second.head())
    assert difference(ends[0], undisturbed.head()) == 0
    assert difference(ends[1], undisturbed.head()) > 1e-4


def test_closing_leaves_no_gradient() -> None:
    run = Run()
    nll(run.model, run.examples[0]).backward()
    assert any(parameter.grad is not None for parameter in run.model.parameters())
    run.engine.close()
    assert all(parameter.grad is None for parameter in run.model.parameters())
