"""Answer tokens by volume: what the loss falls on, counted from the curriculum, kept beside the head."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from small import order, pairs

from likra_ray.heads import counts
from likra_ray.heads.base import LoadedBase
from likra_ray.heads.store import HeadStore
from likra_ray.storage import Storage


def naive(examples: tuple[tuple[str, str], ...]) -> int:
    """The random base reads bytes, one token each, and the answer starts with the space before it."""
    return sum(len(f" {answer}".encode()) for _, answer in examples)


def test_every_volume_counts_the_answers_before_it(tiny: LoadedBase) -> None:
    found = counts.answer_tokens(tiny.tokenizer, order("negative", 0, 4, 12, 32))
    assert found == {n: naive(pairs("negative")[:n]) for n in (0, 4, 12, 32)}


def test_a_pair_counts_both_answers(tiny: LoadedBase) -> None:
    wrong = tuple(answer for _, answer in pairs("negative"))
    both = replace(order("positive", 0, 4, 32), wrong=wrong)
    found = counts.answer_tokens(tiny.tokenizer, both)
    assert found == {n: naive(pairs("positive")[:n]) + naive(pairs("negative")[:n]) for n in (0, 4, 32)}


def test_a_curriculum_may_go_on_beyond_the_last_volume(tiny: LoadedBase) -> None:
    assert counts.answer_tokens(tiny.tokenizer, order("positive", 0, 4)) == {0: 0, 4: naive(pairs("positive")[:4])}


def test_counts_are_kept_and_grow(tiny: LoadedBase, tmp_path: Path) -> None:
    store = HeadStore(Storage(str(tmp_path)))
    key = order("positive", 0, 4).key
    assert counts.kept(store, key) == {}
    counts.keep(store, tiny.tokenizer, order("positive", 0, 4, 8))
    counts.keep(store, tiny.tokenizer, order("positive", 0, 16))
    expected = {n: naive(pairs("positive")[:n]) for n in (0, 4, 8, 16)}
    assert counts.kept(store, key) == expected
    assert list(counts.kept(store, key)) == [0, 4, 8, 16]
    before = (tmp_path / f"heads/{key}/answer_tokens.json").stat().st_mtime_ns
    counts.keep(store, None, order("positive", 0, 8))
    assert (tmp_path / f"heads/{key}/answer_tokens.json").stat().st_mtime_ns == before, "known volumes are not counted"
