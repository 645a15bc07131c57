"""Wrong search spaces and question files, generated: what hypothesis draws from, and what a case may do.

A case starts from something valid, is changed in one to three places, and goes through the real command line in this
process. It ends in exit 2 with one line, or in exit 0; whatever it opened for writing is a finding.
"""

from __future__ import annotations

import contextlib
import copy
import json
import math
import sys
from collections.abc import Callable, Iterator
from typing import Any

import yaml
from hypothesis import strategies as st

QUESTIONS = 40

VALID: dict[str, Any] = {
    "name": "fuzz",
    "base": "random-tiny",
    "questions": {"train": "train.jsonl", "evaluate": [{"source": "evaluate.jsonl", "limit": 3}], "shots": 1},
    "trial": {
        "volumes": [0, 8, 16],
        "batch_size": 8,
        "learning_rate": 1.0e-3,
        "near_miss_share": 1.0,
        "lora": {"rank": 4, "alpha": 8, "targets": ["up_proj"]},
        "negative_source": {"near_miss_from": "own", "far_from": "own", "per_question": 1},
        "resources": {"workers": 1, "cpus": 1, "gpus": 0},
        "zero_stage": 0,
    },
    "search": {"negatives": {"low": 8, "high": 16}, "seed": {"choices": [0, 1]}},
    "start_from": [{"negatives": 8, "seed": 0}],
    "sampler": "tpe",
    "budget": {"trials": 2, "minutes": 5, "refinements": 0},
    "objective": {"accuracy": "max", "negatives": "min"},
}

MAPPING: dict[str, Any] = {
    "prompt": "Question: {question}\nAnswer:", "options": "choices.text", "answer": "key", "labels": "choices.label",
}  # fmt: skip
TABLE: dict[str, Any] = {"prompt": "{question}", "options": ["right", "wrong"], "answer": "first", "kinds": "far"}
MAPPED: dict[str, Any] = VALID | {
    "questions": {
        "train": {"source": "rows.jsonl", "mapping": {**MAPPING, "blank": None, "id": "id"}},
        "evaluate": [{"source": "folder", "split": "test", "limit": 3, "mapping": TABLE}],
    },
}
"""The same with both sources read through a mapping: a file, and a folder of CSV."""

ODD = [
    None, True, False, 0, -1, 1, 2, 3, 8, 16, 64, 10**9, 10**18, 10**30, -(10**30), 16**3000, 0.5, 1e-12, 1e308,
    -1e308, math.nan, math.inf, -math.inf, "", " ", "\n", "x", "max", "nan", "1e400", "a" * 5000, "a\0b",
    "\x1b[2J\x07", "é\u202e\u2028", "🙂", "\ud800", "../x", "/etc/passwd", "/dev/null", "/dev/zero", "~", "..", ".",
    "a/b", "a/b/c", "C:\\x", "s3://bucket/x", "http://u:p@h/", "train.jsonl", "folder.jsonl", "nowhere.jsonl",
    "missing.gguf", "arc", "${HOME}", "{}", "%s", [], [[]], [None], [0, 8, 8], {}, {"low": 0}, {"choices": []},
    {"low": 1, "high": 0}, {"low": 0.0, "high": 1.0, "step": 1e-12}, {"low": 0, "high": 10**15},
    "{question}", "{", "{}", "{question.__class__}", "{question[0]}", "{x!r}", "{x:>99999999}", "rows.jsonl", "folder",
    "first", "far", "choices", "choices.text", "choices.", ".", ["right", "right"], ["A", "B"], ["correct", "far"],
    {"low": math.nan, "high": 1}, {"choices": [True, 1, "1", 1.0]}, {"choices": [[1]]}, {"x": {"y": {"z": 1}}},
    b"\xff\x00", {1: 2}, {None: None}, {True: 1},
]  # fmt: skip
"""What may stand anywhere instead of what should."""

TEXTS = [
    "!!python/object/apply:os.system ['touch pwned']", "!!python/name:os.system", "!!set {a, b}",
    "!!binary aGFsbG8=", "!!timestamp 2001-99-99", "2001-99-99", "2026-11-24", "!!int abc", "!!float abc",
    "!!bool 3", "!!null 3", "! x", "!x y", "!exponent abc", "0x" + "F" * 6000, "9" * 6000, "1_000", "1:99:99",
    "0o8", ".nan", "-.inf", "1e99999", "1e3", "=", "<<", "*nothing", "&a [*a]", "&a {b: *a}", "[", "{", "}", "]",
    "'", '"', "|", ">", "%YAML 9.9", "---", "...", "\t", "?", "- - - -", ": :", "#", "[" * 3000,
    "[" * 3000 + "]" * 3000, "{a: " * 500 + "1" + "}" * 500, '"\\ud800"', '"\\x00"', "\x00", "\x07", "\ufeff",
    "\u2028", "\r", "@", "`", "a: b: c", "{<<: *nothing}", "{<<: 3}", "{? [a] : b}", "{? {a: 1} : b}",
]  # fmt: skip
"""YAML that may stand in place of a value, as text."""

BOMB = "\n".join(["a0: &a0 [x, x, x, x, x, x, x, x, x]",
                  *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10)), ""])  # fmt: skip
"""A billion values in a few hundred characters."""


def places(tree: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value of a tree, the root left out."""
    children = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, child in children:
        yield (*before, key)
        yield from places(child, (*before, key))


def parent(tree: Any, place: tuple[Any, ...]) -> Any:
    for key in place[:-1]:
        tree = tree[key]
    return tree


@st.composite
def spaces(draw: st.DrawFn) -> bytes:
    """A search space that is wrong in one to three places, or by luck in none."""
    tree = copy.deepcopy(draw(st.sampled_from([VALID, MAPPED])))
    raw: dict[str, str] = {}
    for number in range(draw(st.integers(1, 3))):
        there = list(places(tree))
        if not there:
            break
        place = draw(st.sampled_from(there))
        holder, key = parent(tree, place), place[-1]
        match draw(st.sampled_from(["odd", "odd", "odd", "text", "text", "delete", "rename", "add", "move"])):
            case "odd":
                holder[key] = copy.deepcopy(draw(st.sampled_from(ODD)))
            case "text":
                holder[key] = f"RAW{number}"
                raw[f"RAW{number}"] = draw(st.sampled_from(TEXTS))
            case "delete":
                del holder[key]
            case "rename" if isinstance(holder, dict):
                new = draw(
                    st.sampled_from(["", " ", f"{key}s", str(key).upper(), "é", "__class__", 1, None, "a.b", "low"])
                )
                holder[new] = holder.pop(key)
            case "add" if isinstance(holder, dict):
                holder[draw(st.sampled_from(["x", "self", "model_config", "trial", 0, "\0"]))] = 1
            case _:
                other = draw(st.sampled_from(there))
                if place[: len(other)] != other and other[: len(place)] != place:
                    holder[key] = copy.deepcopy(parent(tree, other)[other[-1]])
    text = yaml.safe_dump(
        tree, allow_unicode=draw(st.booleans()), sort_keys=False, default_flow_style=draw(st.booleans())
    )
    for name, value in raw.items():
        text = text.replace(name, value)
    return draw(torn(text))


@st.composite
def torn(draw: st.DrawFn, text: str) -> bytes:
    """The text as bytes; of every four one is damaged as a whole."""
    data = text.encode("utf-8", "surrogatepass")
    at = draw(st.integers(0, len(data)))
    match draw(st.sampled_from(["whole"] * 24 + ["cut", "bytes", "twice", "bom", "crlf", "utf-16", "bomb", "empty"])):
        case "cut":
            return data[:at]
        case "bytes":
            return data[:at] + draw(st.binary(min_size=1, max_size=8)) + data[at:]
        case "twice":
            return data + data
        case "bom":
            return b"\xef\xbb\xbf" + data
        case "crlf":
            return data.replace(b"\n", b"\r\n")
        case "utf-16":
            return text.encode("utf-16", "surrogatepass")
        case "bomb":
            return data + BOMB.encode()
        case "empty":
            return draw(st.sampled_from([b"", b"\n", b"#", b"null", b"[]", b"1", b"\xff"]))
        case _:
            return data


SETS = [
    "", "=", "a", "=1", "a=", ".=1", "a..b=1", "trial=", "trial=1", "trial={}", "trial.volumes",
    "trial.volumes=[0, 8", "search=", "search.seed=", "search.seed={}", "search.seed.choices=3",
    "search.seed.choices=[0, 0]", "search.negatives.low=.nan", "search.x={choices: [1]}",
    "search.learning_rate={low: 1.0e-4, high: 1.0e-2, log: true}",
    "search.learning_rate={low: 0, high: 1, step: 1.0e-9}", "search.seed={low: 0, high: 1000000000000}",
    "search.weight={low: -1, high: 1}", "search.batch_size={low: 1, high: 16}", "budget.trials=1000000000",
    "budget.trials=1e3", "budget.minutes=.inf", "name=../x", "name=a/b", "name=.", "name=a b", "name=null",
    "base=../x", "base=/", "base=", "base=~", "base=x.gguf", "base=train.jsonl", "base=folder", "questions=3",
    "questions.train=[]", "questions.train=[train.jsonl, train.jsonl]", "questions.shots=64",
    "questions.train={source: arc, folder: ../../..}", "questions.train={source: arc, folder: \"a\\0b\"}",
    "questions.train={source: \"a\\0b.jsonl\"}", "questions.train={source: train.jsonl, split: ../x}",
    "questions.train={source: folder, mapping: {}}",
    "questions.train={source: rows.jsonl, mapping: {prompt: '{question}', options: choices.text, answer: key}}",
    "questions.train={source: rows.jsonl, mapping: {prompt: '{nothing}', options: choices.text, answer: key}}",
    "questions.train={source: rows.jsonl, mapping: {prompt: '{question}', options: question, answer: first}}",
    "questions.train={source: rows.jsonl, mapping: {prompt: '{question}', options: [id, key], kinds: [far, correct]}}",
    "questions.train={source: nobody/nothing, mapping: {prompt: '{x}', options: y, answer: first}}",
    "questions.train={source: \"a\\0b\", mapping: {prompt: '{x}', options: y, answer: first}}",
    "questions.train={source: arc, mapping: {prompt: '{x}', options: y, answer: first}}", "questions.chat=true",
    "questions.chat=maybe",
    "questions.train=folder.jsonl", "questions.evaluate=train.jsonl", "questions.options_visible=true",
    "trial.volumes=[0, 800000000000000000000000]", "trial.batch_size=1", "trial.accumulation=8", "trial.prior=true",
    "trial.baselines=[dpo, dpo]", "trial.resources.heads_at_once=true", "trial.resources.gpus=0.5",
    "trial.seed=99999999999999999999999999", "trial.lora.targets=[nothing]", "trial.lora.rank=512",
    "start_from=[{}]", "start_from=[{negatives: 8}]", "start_from=3", "objective={}", "objective={accuracy: up}",
    "sampler=grid", "!!python/name:os.system=1", "trial.lora=!!python/object/apply:os.system [id]",
    "trial.negative_source.far_from=other_dataset", "\ud800=1", "a\0=1",
]  # fmt: skip
"""What may stand behind --set."""

ROW: dict[str, Any] = {
    "id": "q", "prompt": "Question: Capital of France?\nAnswer:",
    "options": [{"text": "Paris", "kind": "correct"}, {"text": "Lyon", "kind": "near_miss"},
                {"text": "7", "kind": "far"}],
}  # fmt: skip


def rows(count: int = QUESTIONS, prefix: str = "q") -> list[dict[str, Any]]:
    """So many questions that are as they should be."""
    return [
        ROW | {"id": f"{prefix}{i}", "prompt": f"Question: Capital of land {prefix}{i}?\nAnswer:"} for i in range(count)
    ]


def mapped_rows(count: int = QUESTIONS) -> list[dict[str, Any]]:
    """So many rows that MAPPING reads."""
    choices = {"text": ["Paris", "Lyon", "7"], "label": ["A", "B", "C"]}
    return [
        {"id": f"m{i}", "question": f"Capital of land {i}?", "choices": dict(choices), "key": "A"} for i in range(count)
    ]


def table(count: int = 6) -> bytes:
    """So many rows that TABLE reads, as CSV."""
    return "".join(["question,right,wrong\n", *(f"Which is {i}?,this,that\n" for i in range(count))]).encode()


def lines(made: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in made).encode()


LINES = [
    "", " ", "null", "[]", "{}", "1", "NaN", "{", "}{", '{"id": NaN}', '{"id": "a", "id": "b"}', "[" * 100_000,
    "9" * 6000, '{"id": ' + "9" * 6000 + "}", "\ufeff{}", "\x00", "'", "Infinity", '{"id": "\\ud800"}',
    '{"a": ' * 2000 + "1" + "}" * 2000,
]  # fmt: skip
"""Lines that are no question."""


@st.composite
def question_files(draw: st.DrawFn, made_by: Callable[[int], list[dict[str, Any]]] = rows) -> bytes:
    """A question file, or one of rows, that is wrong in one to three places, or by luck in none."""
    made: list[Any] = copy.deepcopy(made_by(draw(st.sampled_from([1, 2, 9, 20, 20]))))
    for _ in range(draw(st.integers(1, 3))):
        number = draw(st.integers(0, len(made) - 1))
        row = made[number]
        action = draw(st.sampled_from(["odd", "odd", "odd", "delete", "add", "twin", "option", "options", "line"]))
        if action == "line" or not isinstance(row, dict):
            made[number] = draw(st.sampled_from(LINES))
            continue
        there = [place for place in places(row)]
        place = draw(st.sampled_from(there)) if there else ("id",)
        holder, key = parent(row, place), place[-1]
        match action:
            case "odd":
                odd = draw(st.sampled_from([one for one in ODD if not isinstance(one, bytes)]))
                holder[key] = copy.deepcopy(odd) if not isinstance(odd, int) or odd < 10**100 else 10**4000
            case "delete":
                del holder[key]
            case "add" if isinstance(holder, dict):
                holder[draw(st.sampled_from(["x", "", "label", "ID", "\0"]))] = draw(st.sampled_from([1, None, "x"]))
            case "twin":
                made.append(copy.deepcopy(row))
            case "option" if isinstance(row.get("options"), list) and row["options"]:
                row["options"].append(copy.deepcopy(row["options"][draw(st.integers(0, len(row["options"]) - 1))]))
            case "options":
                kind = draw(st.sampled_from(["correct", "near_miss", "far", "", "Correct"]))
                count = draw(st.sampled_from([0, 1, 2, 300]))
                row["options"] = [{"text": f"{i}", "kind": kind} for i in range(count)]
    text = "".join(f"{json.dumps(one) if isinstance(one, dict) else one}\n" for one in made)
    return draw(torn(text))


ACTS = {
    "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.symlink", "os.link", "os.chmod", "os.truncate", "os.system",
    "os.exec", "os.posix_spawn", "subprocess.Popen", "socket.connect", "shutil.rmtree",
}  # fmt: skip
"""Audit events of what a dry run may not do."""


class Watch:
    """What the interpreter itself says was opened for writing, made, moved, started or connected to, while `on`."""

    def __init__(self) -> None:
        self.on = False
        self.seen: list[str] = []
        sys.addaudithook(self._heard)

    def _heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event == "open":
            path, mode, flags = arguments
            writes = (
                isinstance(mode, str)
                and any(letter in mode for letter in "wax+")
                or isinstance(flags, int)
                and flags & 3
            )
            if writes and path not in ("/dev/null", b"/dev/null"):
                self.seen.append(f"open {path!r} {mode}")
        elif event in ACTS:
            self.seen.append(f"{event} {arguments!r}"[:200])

    @contextlib.contextmanager
    def watching(self) -> Iterator[list[str]]:
        self.seen, self.on = [], True
        try:
            yield self.seen
        finally:
            self.on = False
