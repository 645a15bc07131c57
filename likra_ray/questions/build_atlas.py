"""Writes the atlas: questions from facts by templates of ours, four wrong options each, the same bytes every time.

    python -m likra_ray.questions.build_atlas            write atlas.jsonl beside this module
    python -m likra_ray.questions.build_atlas --check    compare with what is there; exit 1 and say so if they differ

Needs the PyPI packages countryinfo and mendeleev (the extra `atlas`); their other versions may hold other facts and so
make another file. What order there is comes from SHA-256, never from a random number.

Each question has one correct option, three near-misses (right answers to the same relation about another subject of
the same side of the split: of the same subregion, then continent; close in atomic number; for symbols, domains and
codes with the same first letter where there are any) and one far option (an answer from the other half of the atlas,
of a form that does not suit the question).

Difficulty, measured once on 400 test questions drawn by hash (seven provinces a country then, 5-shot, sum of
log-probabilities): SmolLM2-135M-Instruct answers 48 % of five options, 51 % without the far one; capitals 100 %,
demonyms 86 %, symbols 78 %, subregions 43 %, provinces 39 %, calling codes 28 %, periods 8 %.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from likra_ray.questions.atlas import FACTS, FILE_NAME, digest, fact, side
from likra_ray.questions.atlas_facts import (
    Country,
    Element,
    fold,
    gives_away,
    read_countries,
    read_elements,
    slug,
)
from likra_ray.questions.files import dumps
from likra_ray.questions.prompts import ask
from likra_ray.records import Option, Question

BUILT_WITH = {"countryinfo": "1.0.1", "mendeleev": "1.3.0"}
"""Versions of the packages the bundled file was built with."""

NEAR_MISSES = 3

TEMPLATES: dict[str, str] = {
    "capital": "What is the capital of {}?",
    "capital_of": "Which country has {} as its capital?",
    "demonym": "What is the demonym for people from {}?",
    "demonym_of": "Which country do people with the demonym {} come from?",
    "continent": "On which continent is {}?",
    "region": "In which United Nations subregion is {}?",
    "currency": "What is the three-letter code of the currency of {}?",
    "currency_of": "Which country has the currency with the code {}?",
    "domain": "What is the internet country domain of {}?",
    "domain_of": "Which country has the internet domain {}?",
    "calling_code": "What is the international calling code of {}?",
    "calling_code_of": "Which country has the international calling code {}?",
    "province_of": "Which country has a region called {}?",
    "symbol": "What is the chemical symbol of {}?",
    "symbol_of": "Which chemical element has the symbol {}?",
    "number": "What is the atomic number of {}?",
    "number_of": "Which chemical element has the atomic number {}?",
    "symbol_by_number": "What is the symbol of the chemical element with the atomic number {}?",
    "number_by_symbol": "What is the atomic number of the chemical element with the symbol {}?",
    "period": "In which period of the periodic table is {}?",
    "group": "In which group of the periodic table is {}?",
}
"""By relation, in the order of the file."""

BY_FIRST_LETTER = frozenset({"currency", "domain", "symbol", "symbol_of"})
"""Relations whose near-misses share the answer's first letter where they can, or the letter alone would tell."""

CLOSE_NUMBERS = 6
"""Elements this close in atomic number are equally near. Ours: above 3, so that the answer is not the middle one."""

NUMERIC = frozenset({"number", "number_by_symbol", "calling_code"})
"""Relations answered by digits: none is far from another."""


@dataclass(frozen=True, kw_only=True)
class Ask:
    """One relation asked about one subject, without its wrong options."""

    relation: str
    subject: str
    about: str
    """What fills the template."""
    answer: str
    entity: Country | Element

    @property
    def id(self) -> str:
        """The question's id."""
        return f"atlas/{self.relation}/{self.subject}"


Pools = dict[tuple[str, str], dict[tuple[str, str], Ask]]
"""By (side, relation), then by (answer, entity): what may be offered. A country with five provinces is there once."""


def build() -> list[Question]:
    """The whole atlas, in the order of TEMPLATES, then of subjects.

    Raises ValueError if a question finds fewer than NEAR_MISSES near-misses, or two questions share a prompt.
    """
    asks = [*_about_countries(read_countries()), *_about_elements(read_elements())]
    asks.sort(key=lambda item: (list(TEMPLATES).index(item.relation), item.subject))
    pools: Pools = defaultdict(dict)
    for item in asks:
        pools[side(fact(item.id)), item.relation].setdefault((item.answer, item.entity.name), item)
    questions = [_question(item, pools) for item in asks]
    if len({question.prompt for question in questions}) < len(questions):
        raise ValueError("two questions of the atlas share a prompt")
    return questions


def main(arguments: Sequence[str] | None = None) -> int:
    """The command above. Returns its exit code."""
    parser = argparse.ArgumentParser(description="Build the bundled questions, or check them.")
    parser.add_argument("--check", action="store_true", help="compare with the bundled file instead of writing it")
    options = parser.parse_args(arguments)
    path = Path(__file__).with_name(FILE_NAME)
    data = dumps(build()).encode("utf-8")
    if not options.check:
        path.write_bytes(data)
        print(f"{FILE_NAME}: {len(data.splitlines())} questions written")
        return 0
    if not path.exists() or path.read_bytes() != data:
        versions = ", ".join(f"{name} {version}" for name, version in BUILT_WITH.items())
        print(f"{FILE_NAME} differs from what its builder makes (bundled: with {versions})", file=sys.stderr)
        return 1
    print(f"{FILE_NAME}: {len(data.splitlines())} questions, as built")
    return 0


def _about_countries(countries: Sequence[Country]) -> Iterator[Ask]:
    shared = {c.currency for c in countries if sum(c.currency == other.currency for other in countries) > 1}
    for country in countries:
        name, subject = country.name, slug(country.name)

        def make(relation: str, about: str, answer: str, c: Country = country, s: str = subject) -> Ask:
            return Ask(relation=relation, subject=s, about=about, answer=answer, entity=c)

        for relation in ("capital", "demonym", "currency", "domain", "calling_code"):
            value: str = getattr(country, relation)
            if value:
                yield make(relation, country.in_text, value)
            if value and not (relation == "currency" and value in shared):
                yield make(f"{relation}_of", value, name)
        if country.asks_continent and not gives_away(country.continent, [name]):
            yield make("continent", country.in_text, country.continent)
        if not gives_away(country.region, [name]):
            yield make("region", country.in_text, country.region)
        for province in country.provinces:
            yield make("province_of", province, name, country, f"{subject}:{slug(province)}")


def _about_elements(elements: Sequence[Element]) -> Iterator[Ask]:
    for element in elements:
        name, symbol, number = element.name, element.symbol, str(element.number)
        rows = [
            ("symbol", name.lower(), symbol),
            ("symbol_of", symbol, name),
            ("number", name.lower(), number),
            ("number_of", number, name),
            ("symbol_by_number", number, symbol),
            ("number_by_symbol", symbol, number),
            ("period", name.lower(), f"Period {element.period}"),
        ]
        if element.group is not None:
            rows.append(("group", name.lower(), f"Group {element.group}"))
        for relation, about, answer in rows:
            yield Ask(relation=relation, subject=slug(name), about=about, answer=answer, entity=element)


def _question(item: Ask, pools: Pools) -> Question:
    where = side(fact(item.id))
    near = _near_misses(item, pools[where, item.relation].values())
    options = [Option(text=item.answer, kind="correct"), *(Option(text=text, kind="near_miss") for text in near)]
    taken = [option.text for option in options]
    options.append(Option(text=_far(item, taken, lambda relation: pools[where, relation].values()), kind="far"))
    options.sort(key=lambda option: digest("order", item.id, option.text))
    return Question(id=item.id, prompt=ask(TEMPLATES[item.relation].format(item.about)), options=tuple(options))


def _near_misses(item: Ask, pool: Iterable[Ask]) -> list[str]:
    """The NEAR_MISSES nearest other answers of the pool, ties broken by hash."""
    near: dict[str, str] = {fold(item.answer): item.answer}
    for other in sorted(pool, key=lambda other: (*_distance(item, other), digest("near", item.id, other.entity.name))):
        near.setdefault(fold(other.answer), other.answer)
        if len(near) > NEAR_MISSES:
            return list(near.values())[1:]
    raise ValueError(f"{item.id}: fewer than {NEAR_MISSES} near-misses")


def _distance(item: Ask, other: Ask) -> tuple[int, int]:
    """(0 if the first letter should be and is the same, steps on the map or in the periodic table)."""
    letters = item.relation in BY_FIRST_LETTER and fold(item.answer)[0] != fold(other.answer)[0]
    here, there = item.entity, other.entity
    if isinstance(here, Element) and isinstance(there, Element):
        steps = abs(here.number - there.number) // CLOSE_NUMBERS
    elif isinstance(here, Country) and isinstance(there, Country):
        steps = 0 if here.region == there.region else 1 if here.continent == there.continent else 2
    else:
        raise ValueError(f"{item.id} and {other.id} are not of one sort")
    return int(letters), steps


def _far(item: Ask, taken: Sequence[str], pool_of: Callable[[str], Iterable[Ask]]) -> str:
    """An answer about an element for a country and the other way round, unlike every text taken."""
    barred = {fold(text) for text in taken}
    elemental = isinstance(item.entity, Element)
    relations = [
        relation
        for relation, kind in FACTS.items()
        if (kind in ("element", "periodic_place")) != elemental
        and not (relation in NUMERIC and item.relation in NUMERIC)
    ]
    relation = relations[digest("far", item.id) % len(relations)]
    for other in sorted(pool_of(relation), key=lambda other: digest("far", item.id, other.answer)):
        if fold(other.answer) not in barred:
            return other.answer
    raise ValueError(f"{item.id}: no far answer")


if __name__ == "__main__":
    sys.exit(main())
