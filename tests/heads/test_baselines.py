"""Heads of the baselines: their steps, and that they keep every promise Likra's heads keep."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small import BATCH, BETA, LEARNING_RATE, MANNER, baseline, evaluation, fresh, ignore, order, producer

from likra_ray.heads import adapters
from likra_ray.heads.engines import BETAS, EPSILON
from likra_ray.heads.objectives import REFERENCED
from likra_ray.heads.orders import BASELINES, ROLES, HeadOrder, Role
from likra_ray.heads.pairs import Pair, mismatched, pairs_of
from likra_ray.heads.produce import Producer
from likra_ray.heads.store import HeadStore
from likra_ray.heads.tokens import encode
from likra_ray.heads.training import Step
from likra_ray.storage import Storage

VOLUMES = (0, 8, 16)


def make(root: Path, *orders: HeadOrder, **changes: Any) -> Producer:
    """Fill orders in a process of its own, as it were: a fresh base, only the store is shared."""
    made = producer(root, **{"roles": tuple(one.role for one in orders), **changes})
    for one in orders:
        made.head(one, evaluation(), ignore)
    return made


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> HeadStore:
    """Every baseline in one run each: what everything else is held to. Read only."""
    return make(tmp_path_factory.mktemp("undisturbed"), *(baseline(role, *VOLUMES) for role in BASELINES)).store


def equal(one: Mapping[str, torch.Tensor] | None, other: Mapping[str, torch.Tensor] | None) -> bool:
    """Bit for bit, names too."""
    assert one is not None and other is not None
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def difference(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> float:
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)


# --- the reference: every answer a pass of its own, formulas in plain torch, nothing shared with the loop


def token_logprobs(model: Any, tokenizer: Any, prompt: str, answer: str) -> torch.Tensor:
    """(tokens of the answer,) nats."""
    [(tokens, start)] = encode(tokenizer, [(prompt, answer)])
    logits = model(input_ids=torch.tensor([tokens]), use_cache=False).logits[0].float()
    chosen = torch.log_softmax(logits, dim=-1)[torch.arange(len(tokens) - 1), torch.tensor(tokens[1:])]
    return chosen[start - 1 :]


class Reference:
    """A head of its own, trained step by step as the formulas say."""

    def __init__(self, role: Role) -> None:
        self.role = role
        base = fresh()
        self.tokenizer = base.tokenizer
        self.model = adapters.attach(
            base.model, rank=MANNER.rank, alpha=MANNER.alpha, targets=MANNER.targets, seed=0, roles=(role,)
        )
        chosen = adapters.choose(self.model, role)
        self.optimizer = torch.optim.Adam(chosen, lr=LEARNING_RATE, betas=BETAS, eps=EPSILON)

    def both(self, pairs: list[Pair]) -> list[tuple[torch.Tensor, torch.Tensor]]:
        ask = [(pair.prompt, answer) for pair in pairs for answer in (pair.correct, pair.wrong)]
        found = [token_logprobs(self.model, self.tokenizer, *one) for one in ask]
        return list(zip(found[0::2], found[1::2], strict=True))

    def ratios(self, pairs: list[Pair]) -> list[tuple[torch.Tensor, torch.Tensor]]:
        with torch.no_grad(), self.model.disable_adapter():
            before = self.both(pairs)
        return [(c.sum() - rc.sum(), w.sum() - rw.sum())
                for (c, w), (rc, rw) in zip(self.both(pairs), before, strict=True)]  # fmt: skip

    def loss(self, pairs: list[Pair]) -> torch.Tensor:
        answers = self.both(pairs)
        correct = torch.cat([c for c, _ in answers])
        wrong = torch.cat([w for _, w in answers])
        sigmoid, n = torch.sigmoid, len(pairs)
        match self.role:
            case "mixture":
                return -torch.cat([correct, wrong]).mean()
            case "unlikelihood":
                return (-correct.sum() - torch.log(1 - wrong.exp()).sum()) / (len(correct) + len(wrong))
            case "npo":
                away = sum(-2 / BETA * torch.log(sigmoid(-BETA * w)) for _, w in self.ratios(pairs)) / n
                return away - correct.mean()
            case "dpo":
                return sum(-torch.log(sigmoid(BETA * (c - w))) for c, w in self.ratios(pairs)) / n
            case "kto":
                with torch.no_grad():
                    strange = [r for both in self.ratios(mismatched(pairs, len(pairs))) for r in both]
                    z = max(0.0, float(sum(strange)) / len(strange))
                values = [sigmoid(BETA * (c - z)) + sigmoid(BETA * (z - w)) for c, w in self.ratios(pairs)]
                return 1 - sum(values) / (2 * n)
            case "orpo":
                odds = [torch.log(c.mean().exp() / (1 - c.mean().exp()) / (w.mean().exp() / (1 - w.mean().exp())))
                        for c, w in answers]  # fmt: skip
                return -correct.mean() - sum(BETA * torch.log(sigmoid(one)) for one in odds) / n
        raise AssertionError(self.role)

    def step(self, pairs: list[Pair]) -> float:
        self.optimizer.zero_grad()
        loss = self.loss(pairs)
        loss.backward()
        self.optimizer.step()
        return float(loss.detach())


@pytest.mark.parametrize("role", BASELINES)
def test_a_step_is_adam_on_the_formula(undisturbed: HeadStore, tmp_path: Path, role: Role) -> None:
    steps: list[Step] = []
    made = producer(tmp_path, roles=(role,))
    made.head(baseline(role, 0, 8), evaluation(), steps.append)
    reference = Reference(role)
    pairs = pairs_of(baseline(role, 0, 8))
    losses = [reference.step(pairs[start : start + BATCH]) for start in (0, BATCH)]
    assert [step.loss for step in steps] == pytest.approx(losses, abs=2e-5)
    beginning = made.store.load(f"{role}-small", 0)
    found = made.store.load(f"{role}-small", 8)
    assert difference(found, beginning) > 0.01
    assert difference(found, adapters.read(reference.model, role)) < 2e-5


def test_the_first_step_of_dpo_and_kto_starts_from_the_base(tmp_path: Path) -> None:
    """At the base every ratio is 0 and so is the divergence: log 2, a half, and npo's 2 log 2 / beta."""
    first: dict[Role, float] = {}
    for role in REFERENCED:
        steps: list[Step] = []
        producer(tmp_path / str(role), roles=(role,)).head(baseline(role, 0, 4), evaluation(), steps.append)
        first[role] = steps[0].loss
    assert first["dpo"] == pytest.approx(math.log(2), abs=1e-5)
    assert first["kto"] == pytest.approx(0.5, abs=1e-5)
    assert first["npo"] > 2 * math.log(2) / BETA


# --- what is promised of every head


@pytest.mark.parametrize("role", BASELINES)
def test_a_volume_inside_a_long_run_is_that_volume_trained_alone(
    undisturbed: HeadStore, tmp_path: Path, role: Role
) -> None:
    """From the 64 pairs of a block or the 8 asked for: the reference is the same to the last bit."""
    made = make(tmp_path, baseline(role, 0, 8))
    assert made.done.trained == {f"{role}-small": 8}
    assert equal(made.store.load(f"{role}-small", 8), undisturbed.load(f"{role}-small", 8))


@pytest.mark.parametrize("role", BASELINES)
def test_going_on_from_a_stored_volume_is_the_undisturbed_run(
    undisturbed: HeadStore, tmp_path: Path, role: Role
) -> None:
    make(tmp_path, baseline(role, 0, 8))
    made = make(tmp_path, baseline(role, *VOLUMES))
    assert made.done.trained == {f"{role}-small": 8}
    for volume in VOLUMES:
        assert equal(made.store.load(f"{role}-small", volume), undisturbed.load(f"{role}-small", volume)), volume
    assert equal(made.store.load_optimizer(f"{role}-small", 16), undisturbed.load_optimizer(f"{role}-small", 16))


@pytest.mark.parametrize("role", ["dpo", "kto", "orpo", "mixture"])
@pytest.mark.parametrize("accumulation", [2, 4])
def test_micro_batches_leave_the_head_as_it_is(tmp_path: Path, role: Role, accumulation: int) -> None:
    gentle = baseline(role, 0, 16, learning_rate=1e-3)
    heads = [make(tmp_path / str(n), gentle, accumulation=n).store.load(gentle.key, 16) for n in (1, accumulation)]
    assert difference(*heads) < 5e-6, "measured: 1.3e-6; 4 steps of 1e-3 were made"


def test_every_objective_makes_another_head(undisturbed: HeadStore) -> None:
    marks = {adapters.fingerprint(undisturbed.load(f"{role}-small", 16)) for role in BASELINES}
    assert len(marks) == len(BASELINES)


def test_beta_makes_another_head(undisturbed: HeadStore, tmp_path: Path) -> None:
    made = make(tmp_path, replace(baseline("dpo", 0, 8), beta=2.0))
    assert not equal(made.store.load("dpo-small", 8), undisturbed.load("dpo-small", 8))


def test_references_are_scored_once_for_all_baselines(tmp_path: Path) -> None:
    made = producer(tmp_path, roles=("npo", "dpo", "kto", "orpo"))
    scored = []
    for role in made.roles:
        made.head(baseline(role, 0, 8), evaluation(), ignore)
        scored.append(made.done.scored["base-small"])
    assert scored == [1, 1, 2, 2], "one table for npo and dpo, kto's mismatched pairs beside it, none for orpo"
    again = make(tmp_path, *(baseline(role, 0, 8) for role in made.roles))
    assert (again.done.trained, again.done.scored) == ({}, {})


def test_what_a_head_needs_of_the_base_is_asked_until_the_head_is_there(tmp_path: Path) -> None:
    made = producer(tmp_path, roles=("kto",))
    asked = made.references(baseline("kto", 0, 8))
    assert len(asked) == 2
    made.base_table("base-small", *asked)
    assert made.done.scored == {"base-small": 2}
    made.head(baseline("kto", 0, 8), evaluation(), ignore)
    assert made.done.scored == {"base-small": 2, "kto-small": 1}
    assert made.references(baseline("kto", 0, 8)) == []


def test_only_the_adapters_asked_for_are_attached(tmp_path: Path) -> None:
    made = producer(tmp_path, roles=("positive", "dpo"))
    assert set(made.model.peft_config) == {"positive", "dpo"}
    with pytest.raises(ValueError, match="no role"):
        producer(tmp_path, roles=())


def test_likras_heads_do_not_know_of_the_baselines(tmp_path: Path) -> None:
    alone = make(tmp_path / "alone", *(order(role, 0, 8) for role in ROLES)).store
    beside = make(tmp_path / "beside", baseline("kto", 0, 8), *(order(role, 0, 8) for role in ROLES)).store
    for role in ROLES:
        assert equal(alone.load(f"{role}-small", 8), beside.load(f"{role}-small", 8))


def test_a_baseline_that_moves_another_head_is_refused(tmp_path: Path) -> None:
    made = producer(tmp_path, roles=("positive", "negative", "dpo"))

    def meddle(_: Step) -> None:
        with torch.no_grad():
            next(iter(adapters.parameters(made.model, "negative").values())).add_(1e-3)

    with pytest.raises(RuntimeError, match="making dpo-small moved the negative adapter"):
        made.head(baseline("dpo", 0, 8), evaluation(), meddle)


@pytest.mark.parametrize("role", ["dpo", "kto"])
def test_recomputation_and_bf16_work_on_pairs(undisturbed: HeadStore, tmp_path: Path, role: Role) -> None:
    expected = undisturbed.load(f"{role}-small", 8)
    recomputed = make(tmp_path / "recomputed", baseline(role, 0, 8), activation_checkpointing=True).store
    assert difference(recomputed.load(f"{role}-small", 8), expected) < 1e-6
    coarse = make(tmp_path / "coarse", baseline(role, 0, 8), precision="bf16").store.load(f"{role}-small", 8)
    assert {tensor.dtype for tensor in coarse.values()} == {torch.float32}
    assert not equal(coarse, expected)


def test_a_damaged_reference_is_scored_again(undisturbed: HeadStore, tmp_path: Path) -> None:
    made = producer(tmp_path, roles=("dpo",))
    [block] = made.references(baseline("dpo", 0, 8))
    made.base_table("base-small", block)
    path = Path(made.store.storage.path(f"heads/base-small/scores/{block.key}/0.arrow"))
    path.write_bytes(path.read_bytes()[:-1])
    made.head(baseline("dpo", 0, 8), evaluation(), ignore)
    assert HeadStore(Storage(str(tmp_path))).table("base-small", block.key, 0) is not None
    assert equal(made.store.load("dpo-small", 8), undisturbed.load("dpo-small", 8))
