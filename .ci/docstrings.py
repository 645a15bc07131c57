"""The house's docstrings as Markdown, for the site: a griffe extension that mkdocs.yml names.

Lines that begin with a parameter's name become a list, columns stay columns. Nothing in the sources changes.
"""

from __future__ import annotations

import re
from typing import Any

import griffe


class Prose(griffe.Extension):
    """Rewrites each docstring as it is read."""

    def on_instance(self, *, obj: Any, **others: Any) -> None:
        if obj.docstring is None:
            return
        names = {one.name for one in obj.parameters} if obj.is_function else set()
        obj.docstring.value = markdown(obj.docstring.value, names)


def markdown(text: str, names: set[str]) -> str:
    """A docstring's paragraphs, each rewritten where it is a list or stands in columns."""
    return "\n\n".join(_paragraph(part, names) for part in text.split("\n\n"))


def _paragraph(text: str, names: set[str]) -> str:
    lines = text.split("\n")
    if any(_named(line, names) for line in lines):
        return _list(lines, names)
    in_columns = sum(bool(re.search(r"\S {3,}\S", line)) for line in lines)
    if in_columns and not text.startswith("    "):
        return "\n".join(f"    {line}" for line in lines)
    return text


def _list(lines: list[str], names: set[str]) -> str:
    found: list[str] = []
    inside = False
    for line in lines:
        name = _named(line, names)
        if name:
            found += [*([""] if found and not inside else []), f"- **{name}**: {line.split(':', 1)[1].strip()}"]
            inside = True
        elif inside and line.startswith(("Raises", "Returns")):
            found += ["", line]
            inside = False
        else:
            found.append(f"  {line.strip()}" if inside else line)
    return "\n".join(found)


def _named(line: str, names: set[str]) -> str | None:
    """The parameters that a line begins with, where it does: `source: ...`, `positive, negative: ...`."""
    before, colon, _ = line.partition(":")
    return before if colon and before and all(name.strip() in names for name in before.split(",")) else None
