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


def test_a_group_that_waits_is_handed_the_next_trial() -> None:
    leases = Leases()
    leases.begin_group("group", "a")
    assert leases.given("group", 1) is None, "the first trial came with its start"
    leases.release_all("a", keep_group=True)
    assert leases.give("group", "b", "task of b")
    assert (leases.given("group", 1), leases.given("group", 2)) == ("task of b", None)
    leases.release_all("b", keep_group=True)
    assert leases.give("group", "c", "task of c")
    assert (leases.given("group", 1), leases.given("group", 2)) == (None, "task of c")
    assert leases.given("another", 1) is None


GROUPS: dict[str, tuple[list[tuple[str, bool]], list[str]]] = {
    # Trials that end, and whether their group is kept; whose rooms are told then, and whose wait.
    "none ended": ([], []),
    "all are kept": ([("a", True), ("b", True)], ["a's", "b's"]),
    "one failed": ([("a", False), ("b", True)], ["b's"]),
    "one of two works on": ([("b", True)], ["b's"]),
    "another trial ended": ([("c", True)], []),
}


@pytest.mark.parametrize("case", GROUPS)
def test_groups_that_wait_are_dismissed_and_those_that_work_are_not(case: str) -> None:
    ended, waiting = GROUPS[case]
    leases = Leases()
    for holder in ("a", "b"):
        leases.begin_group(f"{holder}'s", holder)
        leases.note_room(f"{holder}'s", f"{holder}'s")
        leases.note_room(holder, f"more of {holder}'s")
    for holder, kept in ended:
        more = [f"more of {holder}'s"] if holder != "c" else []
        assert leases.release_all(holder, kept) == more + ([] if kept else [f"{holder}'s"])
    assert (leases.dismiss(), leases.dismiss()) == (waiting, [])
    for holder in ("a", "b"):
        gone = f"{holder}'s" in waiting or (holder, False) in ended
        assert leases.give(f"{holder}'s", "d", "task") != gone


def test_at_the_end_nothing_is_held() -> None:
    leases = Leases()
    leases.acquire("head", "a")
    leases.begin_group("group", "a")
    leases.note_room("group", "the group's")
    leases.note_room("a", "more")
    assert (leases.end(), leases.end()) == (["the group's", "more"], [])
    assert leases.acquire("head", "b") and not leases.give("group", "b", "task")
