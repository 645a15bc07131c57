"""What the store holds after orders were filled: the same heads, however the work was cut, and nothing made twice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small import BATCH, evaluation, fresh, ignore, lopsided, order, producer, shots

from likra_ray.heads import adapters
from likra_ray.heads.orders import ROLES, EvaluationOrder, HeadOrder, Role
from likra_ray.heads.produce import Producer
from likra_ray.heads.scoring import score
from likra_ray.heads.store import ADAPTER, HeadStore
from likra_ray.heads.training import Diverged, Step
from likra_ray.storage import Storage

VOLUMES = (0, 8, 16, 32)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> HeadStore:
    """Both heads in one run each, scored: what everything else is held to. Read only."""
    root = tmp_path_factory.mktemp("undisturbed")
    make(root, order("positive", *VOLUMES), order("negative", *VOLUMES))
    return HeadStore(Storage(str(root)))


def make(root: Path, *orders: HeadOrder, evaluated: EvaluationOrder | None = None, **changes: Any) -> Producer:
    """Fill orders in a process of its own, as it were: a fresh base, only the store is shared."""
    made = producer(root, **changes)
    for one in orders:
        made.head(one, evaluated or evaluation(), ignore)
    return made


def equal(one: Mapping[str, torch.Tensor] | None, other: Mapping[str, torch.Tensor] | None) -> bool:
    """Bit for bit, names too."""
    assert one is not None and other is not None
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def difference(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> float:
    """Largest over all tensors."""
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def store_of(root: Path) -> HeadStore:
    return HeadStore(Storage(str(root)))


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("volume", [8, 16])
def test_a_volume_inside_a_long_run_is_that_volume_trained_alone(
    undisturbed: HeadStore, tmp_path: Path, role: Role, volume: int
) -> None:
    made = make(tmp_path, order(role, 0, volume))
    key = f"{role}-small"
    assert equal(made.store.load(key, volume), undisturbed.load(key, volume))
    assert made.done.trained == {key: volume}
    assert not equal(undisturbed.load(key, 8), undisturbed.load(key, 16))


@pytest.mark.parametrize("role", ROLES)
def test_going_on_from_a_stored_volume_is_the_undisturbed_run(
    undisturbed: HeadStore, tmp_path: Path, role: Role
) -> None:
    key = f"{role}-small"
    trained = [make(tmp_path, order(role, 0, 8, *more)).done.trained[key] for more in ((), (16,), (16, 32))]
    assert trained == [8, 8, 16], "each goes on from the last"
    store = store_of(tmp_path)
    for volume in VOLUMES:
        assert equal(store.load(key, volume), undisturbed.load(key, volume)), volume
    for volume in VOLUMES[1:]:
        assert equal(store.load_optimizer(key, volume), undisturbed.load_optimizer(key, volume)), volume


def test_finer_volumes_go_on_from_the_ones_before_them(undisturbed: HeadStore, tmp_path: Path) -> None:
    """What a refinement asks for: nothing between stored volumes is trained twice."""
    make(tmp_path, order("negative", 0, 8, 24))
    made = make(tmp_path, order("negative", 0, 4, 8, 16, 24, 28, 32))
    assert made.done.trained == {"negative-small": 4 + 8 + 8}
    for volume in VOLUMES:
        assert equal(made.store.load("negative-small", volume), undisturbed.load("negative-small", volume))


def test_a_head_does_not_depend_on_the_one_made_before_it(undisturbed: HeadStore, tmp_path: Path) -> None:
    """One process makes the negative head first, then the positive; the fixture made them the other way round."""
    made = make(tmp_path, order("negative", 0, 8), order("positive", 0, 8))
    for role in ROLES:
        assert equal(made.store.load(f"{role}-small", 8), undisturbed.load(f"{role}-small", 8))


def test_other_seeds_and_rates_make_other_heads(undisturbed: HeadStore, tmp_path: Path) -> None:
    seed = make(tmp_path / "seed", order("negative", 0, 8), seed=1).store.load("negative-small", 8)
    rate = make(tmp_path / "rate", order("negative", 0, 8, learning_rate=2e-2)).store.load("negative-small", 8)
    assert not equal(seed, undisturbed.load("negative-small", 8))
    assert not equal(rate, undisturbed.load("negative-small", 8))


def test_training_one_head_leaves_the_other_bit_identical(tmp_path: Path) -> None:
    made = producer(tmp_path)
    beginning = {role: adapters.fingerprint(adapters.read(made.model, role)) for role in ROLES}
    made.head(order("positive", 0, 8), evaluation(), ignore)
    assert adapters.fingerprint(adapters.read(made.model, "negative")) == beginning["negative"]
    assert adapters.fingerprint(adapters.read(made.model, "positive")) != beginning["positive"]


def test_a_head_that_moves_the_other_is_refused(tmp_path: Path) -> None:
    made = producer(tmp_path)

    def meddle(_: Step) -> None:
        with torch.no_grad():
            next(iter(adapters.parameters(made.model, "negative").values())).add_(1e-3)

    with pytest.raises(RuntimeError, match="making positive-small moved the negative adapter"):
        made.head(order("positive", 0, 8), evaluation(), meddle)


def test_nothing_is_made_twice(tmp_path: Path) -> None:
    first = make(tmp_path, order("positive", 0, 8))
    assert (first.done.trained, first.done.scored) == ({"positive-small": 8}, {"positive-small": 1})
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    second = make(tmp_path, order("positive", 0, 8))
    first.head(order("positive", 0, 8), evaluation(), ignore)
    assert (second.done.trained, second.done.scored) == ({}, {})
    assert (first.done.trained, first.done.scored) == ({"positive-small": 8}, {"positive-small": 1})
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_another_evaluation_scores_and_does_not_train(tmp_path: Path) -> None:
    make(tmp_path, order("positive", 0, 4, 8))
    other = EvaluationOrder(key="evaluation-other", questions=lopsided()[:2])
    made = make(tmp_path, order("positive", 0, 4, 8), evaluated=other)
    assert (made.done.trained, made.done.scored) == ({}, {"positive-small": 2})
    table = made.store.table("positive-small", "evaluation-other", 8)
    assert table is not None and table.question_ids == ("two", "six")


def test_a_volume_between_stored_ones_is_made_alone(undisturbed: HeadStore, tmp_path: Path) -> None:
    key = "negative-small"
    make(tmp_path, order("negative", 0, 8, 32))
    store = store_of(tmp_path)
    written = {volume: modified(tmp_path, key, volume) for volume in (8, 32)}
    state = store.load_optimizer(key, 32)
    made = make(tmp_path, order("negative", *VOLUMES))
    assert store.volumes(key) == VOLUMES
    assert equal(store.load(key, 16), undisturbed.load(key, 16))
    assert {volume: modified(tmp_path, key, volume) for volume in (8, 32)} == written, "the others are not touched"
    assert equal(store.load_optimizer(key, 32), state)
    assert equal(state, undisturbed.load_optimizer(key, 32))
    assert made.done.scored == {key: 1}
    assert made.done.trained == {key: 8}, "from the volume before to the missing one and no further"


def modified(root: Path, key: str, volume: int) -> list[int]:
    folder = root / "heads" / key / "volumes" / str(volume)
    return [path.stat().st_mtime_ns for path in sorted(folder.iterdir())]


@pytest.mark.parametrize("damage", ["changed", "cut", "missing", "manifest"])
def test_a_damaged_head_is_set_aside_and_made_again(undisturbed: HeadStore, tmp_path: Path, damage: str) -> None:
    key, other = "positive-small", EvaluationOrder(key="evaluation-other", questions=lopsided()[:2])
    make(tmp_path, order("positive", 0, 8, 16))
    folder = tmp_path / "heads" / key / "volumes/8"
    data = (folder / ADAPTER).read_bytes()
    match damage:
        case "changed":
            (folder / ADAPTER).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        case "cut":
            (folder / ADAPTER).write_bytes(data[:100])
        case "missing":
            (folder / ADAPTER).unlink()
        case "manifest":
            (folder / "manifest.json").write_text("{")
    made = make(tmp_path, order("positive", 0, 8, 16), evaluated=other)
    assert (made.done.trained, made.done.scored) == ({key: 8}, {key: 2})
    name = "manifest.json" if damage in ("missing", "manifest") else ADAPTER
    assert made.store.damaged == [f"heads/{key}/volumes/8/{name}"]
    for volume in (8, 16):
        assert equal(made.store.load(key, volume), undisturbed.load(key, volume))


def test_a_damaged_state_is_not_gone_on_from(undisturbed: HeadStore, tmp_path: Path) -> None:
    make(tmp_path, order("negative", 0, 8))
    [state] = (tmp_path / "heads/negative-small").glob("optimizer-8-*")
    state.write_bytes(state.read_bytes()[:-4] + b"\0\0\0\1")
    made = make(tmp_path, order("negative", 0, 8, 16))
    assert made.done.trained == {"negative-small": 16}, "from the beginning"
    assert made.store.damaged == [f"heads/negative-small/{state.name}"]
    assert equal(made.store.load("negative-small", 16), undisturbed.load("negative-small", 16))


@pytest.mark.parametrize("damage", [b"", b"ARROW1", None])
def test_a_damaged_table_is_made_again(tmp_path: Path, damage: bytes | None) -> None:
    make(tmp_path, order("positive", 0, 4, 8))
    path = tmp_path / "heads/positive-small/scores/evaluation-small/4.arrow"
    before = path.read_bytes()
    path.unlink() if damage is None else path.write_bytes(damage)
    made = make(tmp_path, order("positive", 0, 4, 8))
    assert (made.done.trained, made.done.scored) == ({}, {"positive-small": 1})
    assert path.read_bytes() == before


def test_tables_are_the_scores_of_their_head(undisturbed: HeadStore) -> None:
    base = fresh()
    model = adapters.attach(base.model, rank=4, alpha=8, targets=("gate_proj", "up_proj", "down_proj"), seed=9)
    for role in ROLES:
        adapters.choose(model, role)
        for volume in VOLUMES[1:]:
            adapters.write(model, role, undisturbed.load(f"{role}-small", volume))
            expected = score(model, base.tokenizer, lopsided(), shots=shots()[:1])
            table = undisturbed.table(f"{role}-small", "evaluation-small", volume)
            assert table is not None
            assert table.logprob.tobytes() == expected.logprob.tobytes()
            assert table.meta == {"head": f"{role}-small", "volume": str(volume), "evaluation": "evaluation-small"}


def test_the_base_is_scored_once_and_with_no_adapter(tiny: Any, tmp_path: Path) -> None:
    made = make(tmp_path, order("positive", 0, 8))  # the adapter has moved by now
    made.base_table("base-small", evaluation())
    made.base_table("base-small", evaluation())
    producer(tmp_path).base_table("base-small", evaluation())
    assert made.done.scored == {"positive-small": 1, "base-small": 1}
    table = made.store.table("base-small", "evaluation-small", 0)
    expected = score(tiny.model, tiny.tokenizer, lopsided(), shots=shots()[:1])
    assert table is not None and table.logprob.tobytes() == expected.logprob.tobytes()


def test_volume_0_is_stored_and_is_the_beginning(undisturbed: HeadStore) -> None:
    model = adapters.attach(fresh().model, rank=4, alpha=8, targets=("gate_proj", "up_proj", "down_proj"), seed=0)
    for role in ROLES:
        assert equal(undisturbed.load(f"{role}-small", 0), adapters.read(model, role))
        assert undisturbed.table(f"{role}-small", "evaluation-small", 0) is None, "the base's table stands for it"


def test_steps_are_reported_as_they_are_made(tmp_path: Path) -> None:
    steps: list[Step] = []
    producer(tmp_path).head(order("positive", 0, 8, 16), evaluation(), steps.append)
    assert [step.examples for step in steps] == [4, 8, 12, 16]
    assert all(0 < step.loss < 10 for step in steps)


def test_a_run_that_diverges_keeps_what_it_had(undisturbed: HeadStore, tmp_path: Path) -> None:
    """NaN weights after 16 examples: volumes 0, 8 and 16 stay, and the next run makes the rest."""
    made = producer(tmp_path)

    def poison(step: Step) -> None:
        if step.examples == 20:
            with torch.no_grad():
                next(iter(adapters.parameters(made.model, "negative").values())).fill_(float("nan"))

    with pytest.raises(Diverged, match="loss is nan after 24 examples"):
        made.head(order("negative", *VOLUMES), evaluation(), poison)
    assert made.store.volumes("negative-small") == (0, 8, 16)
    again = make(tmp_path, order("negative", *VOLUMES))
    assert again.done.trained == {"negative-small": 16}
    assert equal(again.store.load("negative-small", 32), undisturbed.load("negative-small", 32))


def test_an_adapter_that_does_not_move_is_not_stored(tmp_path: Path) -> None:
    made = producer(tmp_path)
    with pytest.raises(RuntimeError, match="did not train"):
        made.head(order("positive", 0, 8, learning_rate=0.0), evaluation(), ignore)
    assert made.store.volumes("positive-small") == (0,)


@pytest.mark.parametrize("accumulation", [2, 4])
def test_accumulation_leaves_the_head_as_it_is(tmp_path: Path, accumulation: int) -> None:
    gentle = order("positive", 0, 32, learning_rate=1e-3)
    heads = [make(tmp_path / str(n), gentle, accumulation=n).store.load(gentle.key, 32) for n in (1, accumulation)]
    assert difference(*heads) < 1e-6


def test_a_base_held_in_bf16_gives_the_bits_of_autocast(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = make(tmp_path / "held", order("positive", 0, 8), precision="bf16")
    monkeypatch.setattr(adapters, "cast_base", lambda _: None)
    cast = make(tmp_path / "cast", order("positive", 0, 8), precision="bf16")
    weights = [
        {part.weight.dtype for part in made.model.modules() if isinstance(part, torch.nn.Linear)}
        for made in (held, cast)
    ]
    assert weights == [{torch.bfloat16, torch.float32}, {torch.float32}]
    for volume in (0, 8):
        one, other = (made.store.load("positive-small", volume) for made in (held, cast))
        assert all(torch.equal(one[name], other[name]) for name in one)
        assert all(tensor.dtype == torch.float32 for tensor in one.values())
    tables = [made.store.table("positive-small", evaluation().key, 8) for made in (held, cast)]
    assert tables[0] is not None and tables[1] is not None
    assert tables[0].logprob.tolist() == tables[1].logprob.tolist()


def test_bf16_moves_fp32_adapters(undisturbed: HeadStore, tmp_path: Path) -> None:
    made = make(tmp_path, order("positive", 0, 8), precision="bf16")
    found, expected = made.store.load("positive-small", 8), undisturbed.load("positive-small", 8)
    assert {tensor.dtype for tensor in found.values()} == {torch.float32}
    assert not equal(found, expected)
    table, exact = (store.table("positive-small", "evaluation-small", 8) for store in (made.store, undisturbed))
    assert table is not None and exact is not None
    assert 0 < abs(table.logprob - exact.logprob).max() < 0.1 * abs(exact.logprob).max()


def test_activation_checkpointing_recomputes_and_leaves_the_head_as_it_is(
    undisturbed: HeadStore, tmp_path: Path
) -> None:
    """Counted: calls of the first layer's forward in a training step. Scoring after it still uses its cache."""
    calls: list[bool] = []
    made = producer(tmp_path, activation_checkpointing=True)
    layer = made.model.get_base_model().model.layers[0].mlp
    layer.register_forward_pre_hook(lambda *_: calls.append(torch.is_grad_enabled()))
    made.head(order("positive", 0, 8), evaluation(), ignore)
    assert sum(calls) == 2 * (8 // BATCH), "once forward, once again in the backward pass"
    found, expected = made.store.load("positive-small", 8), undisturbed.load("positive-small", 8)
    assert difference(found, expected) < 1e-6
    table, exact = (store.table("positive-small", "evaluation-small", 8) for store in (made.store, undisturbed))
    assert table is not None and exact is not None
    assert abs(table.logprob - exact.logprob).max() < 1e-4


def test_a_base_that_had_other_adapters_is_as_it_was(undisturbed: HeadStore, tmp_path: Path) -> None:
    base = make(tmp_path / "before", order("negative", 0, 8), seed=1).detach()
    assert base is not None
    assert not [name for name, _ in base.model.named_parameters() if ".lora_" in name]
    made = producer(tmp_path / "made", base=base)
    made.head(order("positive", 0, 8), evaluation(), ignore)
    for volume in (0, 8):
        assert equal(made.store.load("positive-small", volume), undisturbed.load("positive-small", volume))
    table, same = (store.table("positive-small", evaluation().key, 8) for store in (made.store, undisturbed))
    assert table is not None and same is not None
    assert table.logprob.tolist() == same.logprob.tolist()


@pytest.mark.parametrize("manner", [{"precision": "bf16"}, {"activation_checkpointing": True}], ids=str)
def test_a_base_that_was_changed_is_not_given_to_another(tmp_path: Path, manner: dict[str, Any]) -> None:
    assert producer(tmp_path, **manner).detach() is None


def test_the_global_random_state_plays_no_part(undisturbed: HeadStore, tmp_path: Path) -> None:
    torch.manual_seed(77)
    before = torch.random.get_rng_state()
    made = make(tmp_path, order("negative", 0, 8))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert equal(made.store.load("negative-small", 8), undisturbed.load("negative-small", 8))


def test_a_key_is_described_once(tmp_path: Path) -> None:
    make(tmp_path, order("positive", 0, 4))
    path = tmp_path / "heads/positive-small/head.json"
    first = path.read_bytes()
    make(tmp_path, replace(order("positive", 0, 4), fields={"role": "changed"}))
    assert path.read_bytes() == first


@pytest.mark.parametrize("broken", ["save", "save_optimizer"])
def test_a_run_broken_off_while_it_stores_goes_on_from_the_volume_before(
    undisturbed: HeadStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    make(tmp_path, order("negative", 0, 8))

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(HeadStore, broken, interrupt)
        with pytest.raises(KeyboardInterrupt):
            make(tmp_path, order("negative", *VOLUMES))
    made = make(tmp_path, order("negative", *VOLUMES))
    assert made.done.trained == {"negative-small": 24}
    for volume in VOLUMES:
        assert equal(made.store.load("negative-small", volume), undisturbed.load("negative-small", volume))
