"""One holder at a time; nobody takes, or gives back, what another holds."""

from __future__ import annotations

import pytest

from likra_ray.heads.leases import Leases


def test_one_holder_at_a_time() -> None:
    leases = Leases()
    assert leases.acquire("head", "a")
    assert not leases.acquire("head", "b")
    assert leases.acquire("head", "a"), "asking again for one's own"
    assert leases.acquire("other head", "b")
    leases.release("head", "a")
    assert leases.acquire("head", "b")
    assert not leases.acquire("head", "a")


@pytest.mark.parametrize(("key", "holder"), [("head", "b"), ("nothing", "a"), ("nothing", "nobody")])
def test_what_another_holds_is_not_given_back(key: str, holder: str) -> None:
    leases = Leases()
    leases.acquire("head", "a")
    leases.release(key, holder)
    assert not leases.acquire("head", "b")


def test_the_first_last_words_are_told_once() -> None:
    leases = Leases()
    leases.say("a", "worker 1 hung")
    leases.say("a", "worker 0 waited for it")
    assert leases.last_words("b") is None
    assert [leases.last_words("a"), leases.last_words("a")] == ["worker 1 hung", None]


def test_what_a_dead_worker_found_damaged_is_told_once() -> None:
    leases = Leases()
    leases.note_damaged("a", ["x"])
    leases.note_damaged("a", ["x", "y"])
    assert (leases.damaged("b"), leases.damaged("a"), leases.damaged("a")) == ([], ["x", "y"], [])


def test_a_trial_that_ended_holds_nothing() -> None:
    leases = Leases()
    for key, holder in (("x", "a"), ("y", "a"), ("z", "b")):
        leases.acquire(key, holder)
    leases.release_all("a")
    leases.release_all("nobody")
    assert leases.acquire("x", "c")
    assert leases.acquire("y", "c")
    assert not leases.acquire("z", "c")


def test_the_rooms_of_a_trial_are_told_to_whoever_releases_it_once() -> None:
    leases = Leases()
    leases.note_room("a", "first")
    leases.note_room("b", "another's")
    leases.note_room("a", "second")  # of workers started again
    assert (leases.release_all("a"), leases.release_all("a")) == (["first", "second"], [])
    assert leases.release_all("b") == ["another's"]
