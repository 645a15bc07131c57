"""What a user did that cannot run: one line that names the place, the value and what is allowed."""

from __future__ import annotations

import errno
import functools
import os
import re
from typing import Any

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)
"""Of an OSError: a disk is full, or may not be written. No work that goes on would be kept."""


class Failed(RuntimeError):
    """Work that failed for a reason that says all there is to say; the command line exits 1 with this one line."""


class Missing:
    """What stands where a field is missing."""

    def __repr__(self) -> str:
        return "nothing"


MISSING = Missing()


class InputError(ValueError):
    """Input that is wrong before any resource is used; the command line exits 2 with this one line.

    where:   file and line, or "command line".
    field:   the field, dotted (``trial.batch_size``), or the id of a question.
    value:   what stands there; MISSING where nothing does.
    allowed: what may stand there, in words.
    """

    def __init__(self, *, where: str, field: str, value: object, allowed: str) -> None:
        self.where, self.field, self.value, self.allowed = where, field, value, allowed
        line = f"{where}: {_cut(field, 200)}: got {_cut(_shown(value), 120)}; allowed: {_cut(allowed, 900)}"
        printable = "".join(
            letter if letter.isprintable() or letter.isspace() else repr(letter)[1:-1] for letter in line
        )
        super().__init__(scrubbed(" ".join(printable.split())))

    def __reduce__(self) -> tuple[Any, ...]:
        """Its arguments have names, which pickle would forget on the way out of a worker."""
        named: dict[str, Any] = {"where": self.where, "field": self.field, "value": self.value, "allowed": self.allowed}
        return functools.partial(type(self), **named), ()


def _shown(value: object) -> str:
    """Its repr, where it has one: a whole number of thousands of digits has none, nor has what is nested too deep."""
    try:
        return repr(value)
    except (ValueError, RecursionError):
        return f"a {type(value).__name__} too large to show"


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."


class Unreachable(InputError):
    """A source that may be right but does not answer from here: a dry run goes on without it."""


def without_secret(uri: str) -> str:
    """The address without what may be secret: user, password and query. Paths of local files stay as they are.

    Everything up to the last @ goes, so that a password with a slash or another @ goes too.
    """
    scheme, separator, rest = uri.partition("://")
    if not separator or scheme.split("+")[0] in ("sqlite", "file"):
        return uri
    return f"{scheme}://{re.split(r'[?#]', rest.rpartition('@')[2], maxsplit=1)[0]}"


_NAMED_SECRET = re.compile(r"(SECRET|TOKEN|PASSWORD|PASSWD|CREDENTIALS?|ACCESS_KEY|API_KEY)(_ID)?$")
_IN_ADDRESS = re.compile(r"(\w[\w+.-]*://)[^\s/'\"@]*(?::[^\s'\"]*)?@")
_SHORTEST = 8
"""Characters of a secret worth the name: shorter values are switches (HF_HUB_DISABLE_IMPLICIT_TOKEN=1)."""


def scrubbed(text: str) -> str:
    """A message fit to be shown and stored: passwords in addresses, and the values of environment variables whose
    names say that they are secret, become ***."""
    text = _IN_ADDRESS.sub(r"\1***@", text)
    for name, value in os.environ.items():
        if len(value) >= _SHORTEST and value in text and _NAMED_SECRET.search(name):
            text = text.replace(value, "***")
    return text
