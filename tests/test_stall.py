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

with stall.watched(0.5, {last_words}) as beat:
    for _ in range(8):
        time.sleep(0.2)
        beat()
    {then}
print("ended by itself")
"""
SAYS = "Path(sys.argv[1]).write_text"


@pytest.mark.parametrize(
    ("last_words", "then", "code", "said"),
    [
        (SAYS, "stuck()", 1, "no pass through the model for"),
        ("lambda said: 1 / 0", "stuck()", 1, None),
        (SAYS, "pass", 0, None),
    ],
    ids=["stands still", "cannot say why", "moves"],
)
def test_who_stands_still_is_ended(tmp_path: Path, last_words: str, then: str, code: int, said: str | None) -> None:
    script = STANDS.format(last_words=last_words, then=then)
    began = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "said")], capture_output=True, text=True, timeout=50
    )
    assert ended.returncode == code, ended.stderr
    assert time.monotonic() - began > 8 * 0.2, "what moved was not ended"
    if code:
        assert "in stuck" in ended.stderr, "the stacks are in the log"
    if said is not None:
        words = (tmp_path / "said").read_text()
        assert words.startswith(said) and words.endswith(" in stuck") and "\n" not in words
