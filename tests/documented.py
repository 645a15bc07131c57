"""Takes a page of the documentation, returns the commands and Python that a reader would copy from it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import yaml

ROOT = Path(__file__).parents[1]

PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "deploy/README.md",
    *sorted(path for path in (ROOT / "docs").glob("*.md") if path.name not in ("LOG.md", "changelog.md")),
    *sorted((ROOT / "docs/how_to").glob("*.md")),
]
"""All that tells a reader what to type; the log and the changelog tell what somebody typed once."""

PROGRAMS = ("likra_ray", "python", "make", "pip", "mlflow", "optuna-dashboard", "ray", "lm_eval", "aws", "docker",
            "kubectl", "chmod", "jupyter", "pytest", "export", "cd", "git", "curl", "sqlite3", "hf")  # fmt: skip
"""What a command begins with, .venv/bin/ left out. A block that begins otherwise is Python, data, or a picture."""

PICTURES = ("questions ──>", "┌ driver", "training   4 N", "/#/metric?runs=", "arc, openbookqa ")
"""How blocks begin that show something and are not to be typed."""

Kind = Literal["commands", "python", "data", "picture", "unknown"]


class Block(NamedTuple):
    """One code block."""

    page: str
    """Path below the root."""
    line: int
    """Of its first line, from 1."""
    kind: Kind
    text: str


class Command(NamedTuple):
    """One command, as it would be typed: notes beside it cut off, lines that go on joined."""

    page: str
    line: int
    text: str


def blocks(path: Path) -> Iterator[Block]:
    """Fenced and indented blocks, in order; an indented one follows an empty line."""
    page, lines = path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8").splitlines()
    at = 0
    while at < len(lines):
        fence = re.match(r"( *)(```+)(\w*)", lines[at])
        start = at + 1 if fence else at
        if fence:
            end = next(i for i in range(start, len(lines)) if lines[i].strip().startswith(fence[2]))
            found, at = lines[start:end], end + 1
        elif re.match(r" {4}\s*\S", lines[at]) and (at == 0 or not lines[at - 1].strip()):
            end = at
            while end < len(lines) and (lines[end].startswith("    ") or not lines[end].strip()):
                end += 1
            found, at = lines[start:end], end
        else:
            at += 1
            continue
        text = _dedented(found)
        if fence is None and re.match(r"[A-Z*(].*", text.split("\n")[0]) and _of_a_list(lines, start):
            continue  # a paragraph of a list item
        for offset, part in _parts(text, fenced=fence is not None):
            yield Block(page, start + 1 + offset, _kind(part, fence[3] if fence else ""), part)


def _parts(text: str, *, fenced: bool) -> Iterator[tuple[int, str]]:
    """An indented block of commands ends at an empty line, so that Python may follow; (lines before, text) of each."""
    if fenced or _kind(text, "") != "commands":
        yield 0, text
        return
    offset = 0
    for part in text.split("\n\n"):
        if part.strip():
            yield offset + part[: len(part) - len(part.lstrip("\n"))].count("\n"), part.strip("\n")
        offset += part.count("\n") + 2


def _dedented(lines: list[str]) -> str:
    margin = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    return "\n".join(line[margin:] for line in lines).strip("\n")


def _of_a_list(lines: list[str], at: int) -> bool:
    before = next((line for line in reversed(lines[:at]) if line.strip() and not line.startswith("    ")), "")
    return bool(re.match(r"\s*([-*]|\d+\.) ", before))


def _kind(text: str, language: str) -> Kind:
    first = text.split("\n")[0]
    if language in ("python", "py") or re.match(r"(from|import) \w", first):
        return "python"
    if language in ("sh", "bash", "shell", "console"):
        return "commands"
    if first.startswith(PICTURES):
        return "picture"
    if re.match(r"(\$ )?(\w+=\S+ )*(\.venv/bin/)?([\w-]+)( |$)", first) and _program(first) in PROGRAMS:
        return "commands"
    try:
        return "data" if isinstance(yaml.safe_load(text.replace("\t", " ")), dict | list) or language else "unknown"
    except yaml.YAMLError:
        return "data" if language in ("json", "jsonl", "csv", "yaml", "text") else "unknown"


def _program(command: str) -> str:
    words = [word for word in command.removeprefix("$ ").split() if not re.match(r"\w+=", word)]
    return words[0].removeprefix(".venv/bin/") if words else ""


def python(text: str) -> str:
    """A block's Python without the notes that stand three spaces or more beside it."""
    return "\n".join(re.sub(r"(?<=\S) {3,}(?!#).*$", "", line) for line in text.split("\n"))


def commands(path: Path) -> Iterator[Command]:
    """Of a page's blocks, and those in its prose: `like this --one`."""
    for block in blocks(path):
        if block.kind == "commands":
            yield from _typed(block)
    page, prose = path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")
    for block in blocks(path):
        for line in block.text.split("\n"):
            prose = prose.replace(line, " " * len(line), 1) if line.strip() else prose
    for found in re.finditer(r"(?<!`)`([^`]+)`(?!`)", prose):
        text = " ".join(found[1].split())
        if _program(text) in PROGRAMS and " " in text:
            yield Command(page, prose.count("\n", 0, found.start()) + 1, text)


def _typed(block: Block) -> Iterator[Command]:
    """Lines go on after a backslash, within quotes, and where they are indented."""
    text, began = "", block.line
    for number, line in enumerate([*block.text.split("\n"), ""], start=block.line):
        if text and not (text.endswith("\\") or _open(text) or line.startswith("  ")):
            yield Command(block.page, began, " ".join(text.split()))
            text = ""
        if not text:
            began = number
        text = (text.removesuffix("\\") + " " + _without_note(line.removeprefix("$ "), text)).strip()


def _open(text: str) -> bool:
    return text.count("'") % 2 == 1 or (text.count('"') - text.count('\\"')) % 2 == 1


def _without_note(line: str, before: str) -> str:
    """Up to two spaces outside quotes, or a comment."""
    quote = "'" if before.count("'") % 2 else '"' if before.count('"') % 2 else ""
    for at, letter in enumerate(line):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif (line[at : at + 2] == "  " and line[:at].strip()) or (letter == "#" and line[:at].strip() == line[:at]):
            return line[:at]
    return line
