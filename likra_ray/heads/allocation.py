"""Memory that is freed stays with the process: a forward pass asks for the same again a moment later.

glibc gives what is large back to the system and lets it be mapped anew, page by page, at the next request: with rows of
a thousand tokens some 40,000 pages a pass over 100 questions, a sixth of its time on a virtual machine (docs/LOG.md,
2026-11-27). A worker is a process of its own that makes heads until it ends, so it may keep what it had at most.
"""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Of mallopt(3)."""


def keep_freed() -> bool:
    """Let this process keep memory it frees; False where its C library has no such setting (it is not glibc)."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(mallopt(_MMAP_THRESHOLD, 1 << 30)) and bool(mallopt(_TRIM_THRESHOLD, (1 << 31) - 1))
