"""What a user did that cannot run: one line that names the place, the value and what is allowed."""

from __future__ import annotations

import errno
import functools
from typing import Any

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)
"""Of an OSError: a disk is full, or may not be written. No work that goes on would be kept."""


class InputError(ValueError):
    """Input that is wrong before any resource is used; the command line exits 2 with this one line.

    where:   file and line, or "command line".
    field:   the field, dotted (``trial.batch_size``), or the id of a question.
    value:   what stands there.
    allowed: what may stand there, in words.
    """

    def __init__(self, *, where: str, field: str, value: object, allowed: str) -> None:
        self.where, self.field, self.value, self.allowed = where, field, value, allowed
        shown = repr(value)
        if len(shown) > 120:
            shown = shown[:117] + "..."
        line = f"{where}: {field}: got {shown}; allowed: {allowed}"
        super().__init__(" ".join(line.split()))

    def __reduce__(self) -> tuple[Any, ...]:
        """Its arguments have names, which pickle would forget on the way out of a worker."""
        named: dict[str, Any] = {"where": self.where, "field": self.field, "value": self.value, "allowed": self.allowed}
        return functools.partial(type(self), **named), ()


class Unreachable(InputError):
    """A source that may be right but does not answer from here: a dry run goes on without it."""
