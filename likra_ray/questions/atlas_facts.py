"""Takes the PyPI packages countryinfo and mendeleev, returns clean facts about countries and chemical elements.

countryinfo has stale, disputed and misplaced entries. Countries are the member states of the United Nations; a fact is
left out where it is known to be stale, disputed or misspelt (the tables below, by ISO 3166 code), where several
countries share it, and where one name gives the other away (Kuwait City). Names of provinces are those of countryinfo,
some of them of former divisions. Read at build time only: nothing here runs when the atlas is used.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from likra_ray.questions.atlas import digest


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


PROVINCES_PER_COUNTRY = 5
"""Ours: about a fifth of the atlas, so that provinces do not drown the rest."""

NOT_MEMBERS = _words(
    "AI AN AQ AS AW AX BL BM BQ BV CC CK CS CW CX EH FK FO GF GG GI GL GP GS GU HK HM IM IO JE KY MF MO MP MQ MS NC NF "
    "NU PF PM PN PR PS RE SH SJ SX TC TF TK TW UM VA VG VI WF YT"
)
"""Entries that are not member states of the United Nations."""

DUPLICATES = frozenset({"Burma", "Wales"})
"""Entries that carry the code of another."""

RENAMED = {"Swaziland": "Eswatini", "Republic of Macedonia": "North Macedonia"}

ARTICLE = frozenset(
    {"Bahamas", "Gambia", "Central African Republic", "Comoros", "Czech Republic", "Dominican Republic"}
    | {"Democratic Republic of the Congo", "Republic of the Congo", "Federated States of Micronesia", "Maldives"}
    | {"Marshall Islands", "Netherlands", "Philippines", "Solomon Islands", "United Arab Emirates"}
    | {"United Kingdom", "United States"}
)
"""Countries whose name takes "the" in a sentence."""

CLOUDED_CAPITALS = _words("BI BO GQ ID IL KZ LK NR SZ ZA")
"""Moved since, shared between cities, or disputed: Burundi, Bolivia, Equatorial Guinea, Indonesia, Israel, ..."""

MISSPELT_DEMONYMS = _words("CV KG MV TJ KN")
"""Cape Verdian, Kirghiz, Maldivan, Tadzhik, Kittian."""

STALE_CURRENCIES = _words("BG BY HR MR ST SL VE ZM ZW")
"""Replaced since: the euro in Bulgaria and Croatia; new codes after redenomination elsewhere."""

SHARED_CALLING_CODES = _words("RU")
"""+7 is Kazakhstan's too, which countryinfo writes with one digit more."""

TWO_CONTINENTS = _words("AM AZ CY EG GE ID KZ RU TL TR")
"""Countries on two continents, or counted to either."""

MISPLACED_PROVINCES = _words("AO CD CG GB SD SS TG TL ZW")
"""countryinfo gives them another country's provinces, a list of boroughs, or phrases for names."""

UNFIT_PROVINCES = frozenset(
    {"Abu Zaby", "Ad Dawhah", "Adis Abeba", "Al Qahirah", "Ar Riyad", "Astana", "Beyrouth", "Bratislavsky", "Kyyiv"}
    | {"La Habana", "Maale", "Masqat", "Region Metropolitana", "Sofiya-Grad", "Toshkent Shahri", "Toshkent Wiloyati"}
    | {"Wien", "Avtonomna Respublika Krym", "Kosovo-Pomoravlje", "Sevastopol", "Xankandi Sahari", "Charlotte"}
    | {"Collines", "Cordillera", "Federally Administered Tribal Areas", "High Rock", "Long Island", "Mountain", "Valle"}
    | {"Concepcion", "Isabel", "North Bank", "San Cristobal", "San Fernando", "San Miguel", "Sandy Point"}
    | {"Santa Ana", "Santa Rosa", "Savannah", "Stratford", "Trujillo"}
)
"""The capital in other letters (it would leak that fact), disputed, or the name of many a place."""

REGIONS = {"ME": "Southern Europe", "RS": "Southern Europe"}
"""Montenegro and Serbia by the list of the United Nations (M49), where countryinfo differs from it."""

AMERICAS = {"South America": "South America", "Northern America": "North America"}
"""Continent of a subregion of the Americas; Central America and the Caribbean are North America."""

GENERIC = _words(
    "central centre centro center coast eastern east western west northern north southern south nord sud est ouest "
    "littoral litoral maritime plateau plateaux lower upper midland capital city district federal distrito nacional "
    "area territory highlands islands island iles delta gulf river national metropolitan region province"
)
"""Words that alone make no name: Central, Upper East, Distrito Federal."""


@dataclass(frozen=True, kw_only=True)
class Country:
    """One member state; a field is empty where the fact is not fit to be asked."""

    name: str
    continent: str
    region: str
    """Subregion of the United Nations."""
    asks_continent: bool
    """False where two answers could be right."""
    capital: str
    demonym: str
    currency: str
    """ISO 4217."""
    domain: str
    """With its dot."""
    calling_code: str
    """With its plus."""
    provinces: tuple[str, ...]

    @property
    def in_text(self) -> str:
        """The name as it stands in a sentence."""
        return f"the {self.name}" if self.name in ARTICLE else self.name


@dataclass(frozen=True, kw_only=True)
class Element:
    """One chemical element."""

    name: str
    symbol: str
    number: int
    period: int
    group: int | None
    """1 to 18; None for lanthanides and actinides, on whose group tables differ."""


@functools.cache
def fold(text: str) -> str:
    """For comparison: compatibility forms and accents folded, lower case, letters and digits only."""
    plain = unicodedata.normalize("NFKD", text).casefold()
    return "".join(character for character in plain if character.isalnum())


def slug(text: str) -> str:
    """For ids: ASCII lower case, words joined by hyphens."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return "-".join(re.findall(r"[a-z0-9]+", plain))


def read_countries() -> list[Country]:
    """Member states in order of their names, each with the facts that are fit to be asked."""
    from countryinfo import all_countries

    entries = [entry.info() for entry in all_countries()]
    members = {entry["ISO"]["alpha2"]: entry for entry in entries if _is_member(entry)}
    provinces = _provinces(entries, members)
    once = {
        field: _once(_field(code, entry, field) for code, entry in members.items())
        for field in ("capital", "demonym", "domain", "calling_code")
    }

    def unique(field: str, code: str) -> str:
        value = _field(code, members[code], field)
        return value if fold(value) in once[field] else ""

    countries = [
        Country(
            name=_name(entry),
            continent=_continent(entry),
            region=_region(entry),
            asks_continent=code not in TWO_CONTINENTS,
            capital=unique("capital", code),
            demonym=unique("demonym", code),
            currency=_field(code, entry, "currency"),
            domain=unique("domain", code),
            calling_code=unique("calling_code", code),
            provinces=provinces.get(code, ()),
        )
        for code, entry in members.items()
    ]
    return sorted(countries, key=lambda country: country.name)


def read_elements() -> list[Element]:
    """All 118, by atomic number."""
    from mendeleev.fetch import fetch_table

    table = fetch_table("elements").sort_values("atomic_number")
    return [
        Element(
            name=str(row["name"]),
            symbol=str(row["symbol"]),
            number=int(row["atomic_number"]),
            period=int(row["period"]),
            group=None if row["group_id"] != row["group_id"] or _in_f_block(row) else int(row["group_id"]),
        )
        for row in table.to_dict("records")
    ]


def _in_f_block(row: Mapping[str, Any]) -> bool:
    return 57 <= int(row["atomic_number"]) <= 71 or 89 <= int(row["atomic_number"]) <= 103


def _is_member(entry: Mapping[str, Any]) -> bool:
    code = (entry.get("ISO") or {}).get("alpha2")
    return bool(code) and code not in NOT_MEMBERS and entry["name"] not in DUPLICATES


def _name(entry: Mapping[str, Any]) -> str:
    name = str(entry["name"]).removeprefix("The ")
    return RENAMED.get(name, name)


def _region(entry: Mapping[str, Any]) -> str:
    code = entry["ISO"]["alpha2"]
    return REGIONS.get(code) or str(entry.get("intermediateregion") or entry["subregion"])


def _continent(entry: Mapping[str, Any]) -> str:
    return AMERICAS.get(_region(entry), "North America") if entry["region"] == "Americas" else str(entry["region"])


def _field(code: str, entry: Mapping[str, Any], field: str) -> str:
    """One fact as it is written in a question, or nothing where it is unfit for a reason of its own."""
    name = _name(entry)
    if field == "capital":
        capital = str(entry.get("capital") or "")
        return "" if code in CLOUDED_CAPITALS or gives_away(capital, [name]) else capital
    if field == "demonym":
        demonym = str(entry.get("demonym") or "")
        odd = code in MISSPELT_DEMONYMS or re.search(r"[,/]", demonym) or fold(demonym) == fold(name)
        return "" if odd else demonym
    if field == "currency":
        currencies = entry.get("currencies") or []
        return "" if code in STALE_CURRENCIES or len(currencies) != 1 else str(currencies[0])
    if field == "domain":
        return next((str(domain) for domain in entry.get("tld") or [] if str(domain).isascii()), "")
    codes = [re.sub(r"\D", "", str(number)) for number in entry.get("callingCodes") or []]
    return f"+{codes[0]}" if len(codes) == 1 and code not in SHARED_CALLING_CODES else ""


def _once(values: Iterable[str]) -> frozenset[str]:
    """The folded values that occur exactly once; the empty one never."""
    counts = Counter(fold(value) for value in values)
    return frozenset(value for value, count in counts.items() if count == 1 and value)


def gives_away(text: str, names: Sequence[str]) -> bool:
    """Whether one of two texts stands inside the other, so that the answer could be read off the question."""
    return any(fold(text) in fold(name) or fold(name) in fold(text) for name in names if fold(name) and fold(text))


def _provinces(
    entries: Sequence[Mapping[str, Any]], members: Mapping[str, Mapping[str, Any]]
) -> dict[str, tuple[str, ...]]:
    """By country code: up to PROVINCES_PER_COUNTRY names found in one country only, chosen by hash, in order.

    Shared names are looked for in all entries, territories and duplicates included, within one entry too.
    """
    tidy = {id(entry): [_province(str(name)) for name in entry.get("provinces") or []] for entry in entries}
    once = _once(name for names in tidy.values() for name in names)
    countries = "\n".join(fold(_name(entry)) for entry in entries)
    capitals = frozenset(fold(str(entry.get("capital") or "")) for entry in entries)
    chosen: dict[str, tuple[str, ...]] = {}
    for code, entry in members.items():
        own = [_name(entry), str(entry.get("capital") or ""), str(entry.get("demonym") or "")]
        names = [
            name
            for name in tidy[id(entry)]
            if fold(name) in once - capitals and fold(name) not in countries and not gives_away(name, own)
        ]
        if code not in MISPLACED_PROVINCES:
            chosen[code] = tuple(
                sorted(sorted(names, key=lambda name: digest("province", name))[:PROVINCES_PER_COUNTRY])
            )
    return chosen


def _province(name: str) -> str:
    """The name without what stands in brackets, or nothing where it is no plain name of its own."""
    plain = re.sub(r"\s*\([^)]*\)", "", name).strip()
    words = re.findall(r"[^\W\d_]+", plain.lower())
    odd = re.search(r"[',;/.(\d]| or | and |^Saint |^St ", plain) or len(plain) < 4 or len(words) > 4
    return "" if odd or plain in UNFIT_PROVINCES or all(word in GENERIC for word in words) else plain
