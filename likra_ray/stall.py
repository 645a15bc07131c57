"""A process that stands still is ended, with its stacks in the log and a last word to whoever waits for it.

A thread of this process looks at the clock, so it needs the interpreter: a process that holds it (or is stopped by a
signal) is Ray Train's to find, whose health check then goes unanswered (trial.py sets the same limit there).
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def watched(seconds: float, last_words: Callable[[str], object]) -> Iterator[Callable[[], None]]:
    """Yields `beat`, to be called whenever something moved; the process ends `seconds` after the last call.

    last_words: told first, in one line, how long nothing moved and where this thread stands; it has 10 seconds.
    """
    thread, last, over = threading.get_ident(), [time.monotonic()], threading.Event()

    def beat() -> None:
        last[0] = time.monotonic()

    def watch() -> None:
        while not over.wait(min(1.0, seconds / 4)):
            still = time.monotonic() - last[0]
            if still > seconds:
                faulthandler.dump_traceback(file=sys.__stderr__ or 2)
                speaker = threading.Thread(target=last_words, args=(said(still, thread),), daemon=True)
                speaker.start()
                speaker.join(10)
                os._exit(1)

    threading.Thread(target=watch, name="stall", daemon=True).start()
    try:
        yield beat
    finally:
        over.set()


def said(still: float, thread: int) -> str:
    """How long nothing moved, seconds, and the innermost place of a thread."""
    stack = traceback.extract_stack(sys._current_frames().get(thread))
    where = f"{os.path.basename(stack[-1].filename)}:{stack[-1].lineno} in {stack[-1].name}" if stack else "nowhere"
    return f"no pass through the model for {still:.0f} s, at {where}"
