"""Memory that is freed stays with the process: a forward pass asks for the same again a moment later.

glibc gives what is large back to the system and lets it be mapped anew, page by page, at the next request: with rows of
a thousand tokens some 40,000 pages a pass over 100 questions, a sixth of its time on a virtual machine (docs/LOG.md,
2026-11-27). A worker on a CPU makes heads until its process ends, so it may keep the most it had at once.
"""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Of mallopt(3)."""


def keep_freed() -> bool:
    """Let this process keep memory it frees from now on; False where its C library does not take that.

    A glibc that refuses a threshold above 32 MiB is asked for that; other libraries have no such setting.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    taken = [
        mallopt(_TRIM_THRESHOLD, (1 << 31) - 1),
        mallopt(_MMAP_THRESHOLD, 1 << 30) or mallopt(_MMAP_THRESHOLD, 1 << 25),
    ]
    return all(taken)
