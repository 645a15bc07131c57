"""A process that stands still is ended with last words; one that moves is not."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

STANDS = """
import sys, time
from pathlib import Path
from likra_ray import stall

def stuck():
    time.sleep(60)

with stall.watched({limit}, {last_words}) as beat:
    for _ in range({steps}):
        time.sleep({step})
        beat()
    {then}
print("ended by itself")
"""
SAYS = "Path(sys.argv[1]).write_text"
STEP = 0.2
"""Seconds between two beats: the limits are so much longer because a busy machine may let a process wait."""


@pytest.mark.parametrize(
    ("last_words", "limit", "steps", "then", "code", "said"),
    [
        (SAYS, 2.0, 2, "stuck()", 1, "no pass through the model for"),
        ("lambda said: 1 / 0", 2.0, 2, "stuck()", 1, None),
        (SAYS, 5.0, 35, "pass", 0, None),
    ],
    ids=["stands still", "cannot say why", "moves"],
)
def test_who_stands_still_is_ended(
    tmp_path: Path, last_words: str, limit: float, steps: int, then: str, code: int, said: str | None
) -> None:
    """limit: seconds. Who moves does so for longer than that."""
    script = STANDS.format(limit=limit, last_words=last_words, steps=steps, step=STEP, then=then)
    began = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "said")], capture_output=True, text=True, timeout=50
    )
    assert ended.returncode == code, ended.stderr
    assert time.monotonic() - began > max(limit, steps * STEP), "nobody is ended before the limit"
    if code:
        assert "in stuck" in ended.stderr, "the stacks are in the log"
    if said is not None:
        words = (tmp_path / "said").read_text()
        assert words.startswith(said) and words.endswith(" in stuck") and "\n" not in words
