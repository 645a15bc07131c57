"""The report: everything found is in it, what is missing has its reason, nothing of it runs or leaves the page."""

from __future__ import annotations

import dataclasses
import importlib
import re
from html.parser import HTMLParser

import invented_sweep
import pytest

from likra_ray.analysis import arms
from likra_ray.analysis.near_miss import Effects
from likra_ray.analysis.sweep_findings import SweepFindings
from likra_ray.reporting.page import SweepFacts
from likra_ray.reporting.report import PAGE, page, report
from likra_ray.reporting.sections import pictures, sections
from likra_ray.reporting.words import CLAIMS

FORBIDDEN = {"script", "iframe", "link", "img", "object", "embed", "form", "base"}
VOID = {"meta", "br", "link", "img"}


class Reader(HTMLParser):
    """The page's elements, balanced or not, and its text by element."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        named = dict(attrs)
        self.ids += [value for name, value in attrs if name == "id" and value]
        self.links += [value or "" for name, value in attrs if name in ("href", "xlink:href", "src")]
        assert not any(name.startswith("on") for name in named), named
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text += f" {data}"


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    return reader


@pytest.fixture(scope="module")
def found() -> SweepFindings:
    return invented_sweep.sweep_findings()


@pytest.fixture(scope="module")
def files(found: SweepFindings) -> dict[str, bytes]:
    return report(found, invented_sweep.facts())


@pytest.fixture(scope="module")
def reader(files: dict[str, bytes]) -> Reader:
    return read(files[PAGE].decode())


def text_without_pictures(found: SweepFindings | None, facts: SweepFacts) -> str:
    """The words of a page; its pictures are drawn elsewhere."""
    made = sections(found, facts)
    bare = [dataclasses.replace(section, panels=tuple(dataclasses.replace(panel, drawing=None)
                                                      for panel in section.panels if panel.drawing is None))
            for section in made]  # fmt: skip
    return " ".join(read(page(found, facts, bare)).text.split())


def test_the_page_needs_nothing_and_runs_nothing(files: dict[str, bytes], reader: Reader) -> None:
    assert not reader.tags & FORBIDDEN
    for link in reader.links:
        assert link.startswith("#") or link in files, link
    assert not re.search(r"@import|url\((?!#)", files[PAGE].decode())


def test_ids_are_unique_and_every_anchor_is_there(reader: Reader) -> None:
    assert len(reader.ids) == len(set(reader.ids))
    assert {link[1:] for link in reader.links if link.startswith("#")} <= set(reader.ids)


def test_verdicts_come_first(found: SweepFindings, files: dict[str, bytes], reader: Reader) -> None:
    words = " ".join(reader.text.split())
    places = [words.index(" ".join(verdict.sentence.split())) for verdict in found.verdicts]
    assert places == sorted(places)
    assert places[-1] < words.index("Accuracy by the number of examples")
    for claim in CLAIMS.values():
        assert f"{claim}: " in words
    assert files[PAGE].count(b'<span class="chip">not decided</span>') == 1


def test_what_a_user_named_is_text(files: dict[str, bytes], reader: Reader) -> None:
    assert b"<script" not in files[PAGE]
    assert reader.text.count(invented_sweep.SCRIPT) >= 4, "a configuration, a verdict, a trial, a question"


def test_every_panel_has_picture_data_and_caption(found: SweepFindings, files: dict[str, bytes]) -> None:
    made = pictures(sections(found, invented_sweep.facts()))
    names = [panel.name for panel in made]
    assert len(names) == len(set(names))
    for panel in made:
        assert panel.drawing is not None, panel.name
        assert files[f"figures/{panel.name}.png"].startswith(b"\x89PNG")
        assert files[f"data/{panel.name}.csv"].count(b"\n") > 1
        assert panel.caption.shows and panel.caption.rests_on and panel.caption.recompute
    without = {"importances", "parallel_coordinates"}
    assert all(("95 %" in panel.caption.intervals) == (panel.name not in without) for panel in made)
    for panel in made:
        header = files[f"data/{panel.name}.csv"].splitlines()[0].decode()
        assert panel.name in without or ("low" in header and "high" in header)


def test_every_caption_names_functions_that_exist(found: SweepFindings) -> None:
    made = sections(found, invented_sweep.facts())
    captions = [panel.caption for panel in pictures(made)]
    captions += [table.caption for section in made for table in section.tables if table.caption is not None]
    names = {name for caption in captions for name in caption.recompute}
    assert len(names) > 10
    for name in names:
        module, _, function = name.rpartition(".")
        assert callable(getattr(importlib.import_module(module), function)), name


def test_everything_the_issue_asks_for_is_there(reader: Reader) -> None:
    for said in (
        "Learning curves and critical phases", "What an example is worth", "Data equivalence", "Near-misses",
        "Likelihoods: SFT against Likra", "Accuracy against negatives", "Which settings mattered",
        "Trials through their settings", "Controls", "Cost", "Settings and provenance", "How each arm counts",
        "What was left out, and why", "366c06131d2241c25d78d3991ad5f78f7b26ea43", "fANOVA over 14 points.",
        "midpoint's interval 0.68 to 0.31 doublings", "FAILED", "asked twice", arms.COUNTS["kto"],
    ):  # fmt: skip
        assert said in reader.text, said


def test_what_is_missing_is_a_dash_with_its_reason(reader: Reader) -> None:
    words = " ".join(reader.text.split())
    for said in (
        "— SFT's run ends at 512.",
        "— not comparable: no phase with near_miss_share 0",
        "— No critical phase.",
        "not reached, more than 512 reached in 31 % of the resamples",
        "at least 1",
        "2.9 [1.1, ∞]",
        "none below the base",
    ):
        assert said in words, said
    assert not re.search(r"\bnan\b(?!\])|None\b(?! was expected|\.)|\binf\b", words)


def test_a_sweep_of_one_configuration_says_why_the_rest_is_missing(found: SweepFindings) -> None:
    alone = dataclasses.replace(
        found,
        findings=(dataclasses.replace(found.findings[0], likelihoods={}, equivalence=(), needed=(), phase_ratio={}),),
        headline=0,
        effects=Effects(pairs=(), slopes=(), not_compared={"near_miss_share": "one value only"}),
        importances={},
        importances_reason="Fewer than 8 finished trials.",
        controls=(),
        left_out=(),
    )
    facts = invented_sweep.facts(results=(), left_out=(), refinement=(), provenance={})
    text = text_without_pictures(alone, facts)
    for said in (
        "— There is one configuration, shown above.",
        "— near_miss_share: one value only",
        "— Fewer than 8 finished trials.",
        "— It takes two finished trials and a setting that differs between them.",
        "— This sweep holds no control configuration",
        "— Nothing: every question offered and every trial stands in the numbers above.",
        "— No likelihoods were estimated.",
        "— The ledger holds no versions.",
    ):
        assert said in text, said


def test_a_sweep_that_failed_says_what_failed() -> None:
    facts = invented_sweep.facts(results=invented_sweep.facts().results[-1:], status="failed")
    files = report(None, facts)
    text = " ".join(read(files[PAGE].decode()).text.split())
    assert "No trial ended well, so nothing was found." in text
    assert f"ValueError: {invented_sweep.SCRIPT}" in text
    assert not any(name.startswith("figures/") for name in files)


def test_the_same_findings_are_the_same_words(found: SweepFindings) -> None:
    """Pictures are held to the same in test_figures."""
    facts = invented_sweep.facts()
    assert text_without_pictures(found, facts) == text_without_pictures(invented_sweep.sweep_findings(), facts)
