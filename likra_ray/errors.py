"""What a user did that cannot run: one line that names the place, the value and what is allowed."""

from __future__ import annotations


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


class Unreachable(InputError):
    """A source that may be right but does not answer from here: a dry run goes on without it."""
