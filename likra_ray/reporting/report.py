"""Takes what a sweep found, returns its report: one HTML page, its pictures as PNG, its data as CSV.

The page needs no network and no script; the same input gives the same bytes.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from likra_ray.analysis.sweep_findings import SweepFindings
from likra_ray.analysis.verdicts import Verdict
from likra_ray.reporting import drawing
from likra_ray.reporting.data import to_csv
from likra_ray.reporting.page import Panel, Section, SweepFacts, Table
from likra_ray.reporting.sections import RECOMPUTE, pictures, sections
from likra_ray.reporting.words import CLAIMS, SHOWN

PAGE = "report.html"
"""Name of the page, and of its template beside this file."""


def report(found: SweepFindings | None, facts: SweepFacts) -> dict[str, bytes]:
    """Every file of the report by its path below the sweep's folder: report.html, figures/NAME.png, data/NAME.csv.

    found: None where no trial ended well; the page then says what failed.
    """
    made = sections(found, facts)
    files = {PAGE: page(found, facts, made).encode()}
    for panel in pictures(made):
        if panel.drawing is not None:
            caption = f"{panel.caption.rests_on}. {panel.caption.intervals}".rstrip(". ") + "."
            title = f"{facts.name}: {panel.title}"
            files[f"figures/{panel.name}.png"] = drawing.png(
                panel.drawing, height=panel.height, title=title, caption=caption
            )
    named: list[Panel | Table] = [*pictures(made), *[table for section in made for table in section.tables]]
    for one in named:
        if one.name and one.data:
            files[f"data/{one.name}.csv"] = to_csv(one.data)
    return files


def page(found: SweepFindings | None, facts: SweepFacts, made: Sequence[Section]) -> str:
    """The HTML, its figures inline; whatever a user named is escaped."""
    verdicts: tuple[Verdict, ...] = found.verdicts if found is not None else ()
    headline = found.findings[found.headline] if found is not None and found.findings else None
    return _template().render(
        facts=facts,
        headline=headline,
        verdicts=[(CLAIMS[one.subject], SHOWN[one.found], one.sentence, RECOMPUTE[one.subject]) for one in verdicts],
        sections=made,
        picture=_picture,
        light=Markup(drawing.style_sheet(dark=False)),
        dark=Markup(drawing.style_sheet(dark=True)),
    )


def _picture(panel: Panel) -> Markup:
    assert panel.drawing is not None
    return Markup(drawing.svg(panel.drawing, name=panel.name, title=panel.title, height=panel.height))


@functools.cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("likra_ray.reporting", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(PAGE)
