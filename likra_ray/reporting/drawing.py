"""What all pictures share: their size, letters and colours, and how one drawing becomes a PNG and an SVG.

A *drawing* is a function that draws on an empty figure. The same one gives the file figures/NAME.png, on white, and
the SVG in the report, whose colours are names that the page's style sheet fills in for a light or a dark screen.
Same drawing, same bytes: nothing here reads the clock, and no style of the reader's machine is used.
"""

from __future__ import annotations

import contextlib
import io
import re
import textwrap
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, FigureBase

Place = TypeVar("Place", int, float)
Drawing = Callable[["FigureBase"], None]

WIDTH, HEIGHT = 5.0, 3.5
"""Inches. 360 points: shown 366 pixels wide on a phone of 390, a letter of 10.5 points is 10.7 pixels high."""
LETTERS = 10.5
"""Points; no letter of any picture is smaller."""
DOTS_PER_INCH = 200
"""Of the PNG: 1000 pixels wide."""
LINE = 0.2
"""Inches that a line of a title or caption takes."""

INK, SOFT, GRID, PAPER = "#1b1f24", "#57606a", "#d8dee4", "#fdfdfd"
"""Text and axes, remarks, grid, ground."""


class Look(NamedTuple):
    """How an arm is drawn; told apart by colour (Okabe & Ito 2008, for every common colour vision) and by marker."""

    label: str
    colour: str
    marker: str


LOOKS = {
    "likra": Look("Likra", "#0072b2", "o"),
    "base_likra": Look("Base-Likra", "#b5578f", "D"),
    "sft": Look("SFT", "#d98c00", "s"),
    "positive_over_base": Look("SFT over base", "#7a6a00", "P"),
    "mixture": Look("Mixture", "#8c564b", "v"),
    "unlikelihood": Look("Unlikelihood", "#c8500a", "^"),
    "npo": Look("NPO", "#7d4bc2", "<"),
    "dpo": Look("DPO", "#00805f", ">"),
    "kto": Look("KTO", "#2a8fbd", "p"),
    "orpo": Look("ORPO", "#a3364e", "h"),
    "pmi_base": Look("PMI, base", "#57606a", "X"),
    "pmi_sft": Look("PMI, SFT", "#7a6a00", "*"),
    "base": Look("base", INK, ""),
}
"""By arm. The first three and the greys are met in every picture, the others beside them only."""

DARK = {
    INK: "#e6edf3", SOFT: "#9da7b1", GRID: "#363c44", PAPER: "#14171b", "#0072b2": "#5eb6ee", "#b5578f": "#e29ac6",
    "#d98c00": "#f0ad2e", "#7a6a00": "#cdbb4a", "#8c564b": "#cf9c91", "#c8500a": "#f58a4e", "#7d4bc2": "#b699ec",
    "#00805f": "#35c29b", "#2a8fbd": "#7fc8e8", "#a3364e": "#ea8a9f",
}  # fmt: skip
"""What each colour of a drawing becomes on a dark screen."""


def look(arm: str) -> Look:
    """An arm's look; a grey one for an arm that is not in LOOKS."""
    return LOOKS.get(arm, Look(arm, SOFT, "d"))


def png(drawing: Drawing, *, height: float = HEIGHT, title: str = "", caption: str = "") -> bytes:
    """The drawing on white, with a title above and a caption below so that the file explains itself."""
    above = "\n".join(textwrap.wrap(title, 56))
    below = "\n".join(textwrap.wrap(caption, 70))
    parts = [(above, LETTERS + 1, INK), (below, LETTERS - 2, SOFT)]
    rooms = [0.12 + LINE * (1 + text.count("\n")) if text else 0.01 for text, _, _ in parts]
    with _own_style():
        figure = _empty(height + sum(rooms))
        ratios = [rooms[0], height, rooms[1]]
        head, middle, foot = figure.subfigures(3, 1, squeeze=False, height_ratios=ratios, hspace=0)[:, 0]
        drawing(middle)
        for part, (text, size, colour) in zip((head, foot), parts, strict=True):
            part.text(0.02, 0.95, text, va="top", fontsize=size, color=colour)
        sink = io.BytesIO()
        figure.savefig(sink, format="png", dpi=DOTS_PER_INCH, facecolor=PAPER, metadata={"Software": None})
    return sink.getvalue()


def svg(drawing: Drawing, *, name: str, title: str, height: float = HEIGHT) -> str:
    """The drawing as one <svg> element to stand in a page: its ids begin with `name`, its text is text, its colours
    are the style sheet's (`style_sheet`), its size is that of the box it stands in."""
    with _own_style():
        figure = _empty(height)
        drawing(figure)
        sink = io.StringIO()
        nothing: dict[str, Any] = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(sink, format="svg", transparent=True, metadata=nothing)
    text = sink.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<(metadata|style)\b.*?</\1>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(href="|url\()#', rf"\g<1>#{name}-", text)
    for colour in DARK:
        text = text.replace(colour, f"var(--{colour[1:]})")
    start, end = text.split(">", 1)
    box = re.search(r'viewBox="[^"]*"', start)
    assert box is not None
    return f'<svg {box.group()} role="img" aria-label="{_quoted(title)}">{end.strip()}'


def style_sheet(*, dark: bool) -> str:
    """CSS declarations: each colour of the drawings by its name."""
    return "".join(f"--{light[1:]}:{DARK[light] if dark else light};" for light in DARK)


def _quoted(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")


@contextlib.contextmanager
def _own_style() -> Iterator[None]:
    """Matplotlib's defaults and ours, whatever the reader's machine is set to; `$` is a dollar."""
    import matplotlib

    own: dict[Any, Any] = {
        "text.parse_math": False,
        "svg.fonttype": "none",
        "svg.hashsalt": "likra_ray",
        "font.family": ["DejaVu Sans"],
        "font.size": LETTERS,
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": SOFT,
        "xtick.color": INK,
        "ytick.color": INK,
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "legend.frameon": False,
        "legend.handlelength": 2.2,
        "legend.columnspacing": 1.0,
        "legend.handletextpad": 0.5,
    }
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(own)
        yield


def _empty(height: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def gridded(axes: Axes, axis: Literal["x", "y"] = "y") -> Axes:
    """Thin lines across the axes, behind what is drawn."""
    axes.grid(axis=axis, color=GRID, linewidth=0.8)
    return axes


def legend(figure: FigureBase, axes: Axes, columns: int) -> None:
    """Above the axes, each label once."""
    handles, labels = axes.get_legend_handles_labels()
    kept = {label: handle for handle, label in reversed(list(zip(handles, labels, strict=True)))}
    ordered = list(dict.fromkeys(labels))
    figure.legend([kept[label] for label in ordered], ordered, loc="outside upper left", ncols=columns)


def shown_ticks(places: Sequence[Place], most: int) -> list[Place]:
    """At most `most` of increasing places: the first, the last, and others evenly between them."""
    if len(places) <= most:
        return list(places)
    step = (len(places) - 1) / (most - 1)
    return [places[round(index * step)] for index in range(most)]
