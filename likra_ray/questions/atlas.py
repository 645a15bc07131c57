"""Takes "train" or "test", returns the bundled questions about countries and chemical elements.

The file beside this module is built by `python -m likra_ray.questions.build_atlas` from the PyPI packages countryinfo
and mendeleev. A question's id is ``atlas/<relation>/<subject>``; the subject is what the FACT is about, whichever way
round it is asked: ``atlas/capital/france`` asks for Paris and ``atlas/capital_of/france`` asks for France.

Which side of the split a question is on depends on its fact alone (`fact`, then SHA-256), so:

- a fact and its reverse are on one side: capital and capital_of, demonym and demonym_of, domain, calling code and
  currency likewise; so are the ways to ask where a country lies (continent, region), the three names of an element
  (name, symbol, atomic number, each pair in both directions) and its place in the periodic table (period, group);
- no pair {what is asked about, answer} stands on both sides (tests/questions/test_atlas.py, four ways);
- no prompt occurs twice, and a prompt has one true answer, so an answer taken from another question is wrong here;
- the wrong options of a question are right answers of its own side only. Were they drawn from both, every test answer
  would have been met in training as wrong and never as right, and a head could tell by that alone.

Not prevented: what follows from other facts by rule (the period from the atomic number; the first letters of a
currency code and the domain from each other or from the country's name; a demonym from its country's name), and
answers from a small closed set (continent, region, period, group, country of a province), met as right and as wrong
on both sides, each for its own subjects.
"""

from __future__ import annotations

import hashlib
from importlib.resources import as_file, files
from typing import Literal

from likra_ray.errors import InputError
from likra_ray.questions.files import read_jsonl
from likra_ray.records import Question

Side = Literal["train", "test"]
FILE_NAME = "atlas.jsonl"
TEST_SHARE = 0.24
"""Share of facts held out. Ours: about a thousand test questions, a standard error of 1.5 points."""

FACTS: dict[str, str] = {
    "capital": "capital",
    "capital_of": "capital",
    "demonym": "demonym",
    "demonym_of": "demonym",
    "continent": "place",
    "region": "place",
    "currency": "currency",
    "currency_of": "currency",
    "domain": "domain",
    "domain_of": "domain",
    "calling_code": "calling_code",
    "calling_code_of": "calling_code",
    "province_of": "province",
    "symbol": "element",
    "symbol_of": "element",
    "number": "element",
    "number_of": "element",
    "symbol_by_number": "element",
    "number_by_symbol": "element",
    "period": "periodic_place",
    "group": "periodic_place",
}
"""By relation: the kind of fact it asks for. Relations with the same value and subject share one fact."""


def load_atlas(split: str) -> list[Question]:
    """The bundled questions of one side, in the file's order. Raises InputError for another split."""
    if split not in ("train", "test"):
        raise InputError(where="atlas", field="split", value=split, allowed="train, test")
    with as_file(files("likra_ray.questions") / FILE_NAME) as path:
        return [question for question in read_jsonl(path) if side(fact(question.id)) == split]


def fact(question_id: str) -> str:
    """``<kind of fact>/<subject>`` of an atlas question's id; the questions of one fact are never split.

    Raises ValueError for an id that is not of the atlas.
    """
    source, _, rest = question_id.partition("/")
    relation, _, subject = rest.partition("/")
    if source != "atlas" or relation not in FACTS or not subject:
        raise ValueError(f"{question_id!r} is not the id of an atlas question")
    return f"{FACTS[relation]}/{subject}"


def side(fact_name: str) -> Side:
    """The side a fact is on: the head of its SHA-256 as a share of 1, below TEST_SHARE or not."""
    return "test" if digest(fact_name) < TEST_SHARE * 2**64 else "train"


def digest(*parts: str) -> int:
    """The first 64 bits of the SHA-256 of the parts: an order that looks random and is the same everywhere."""
    return int.from_bytes(hashlib.sha256("\x1f".join(parts).encode()).digest()[:8], "big")
