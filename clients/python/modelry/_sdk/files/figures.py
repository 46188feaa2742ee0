"""Figures of Matplotlib, seaborn, Plotly and Altair as the bytes of a file, in the format of its extension."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import PurePosixPath
from typing import Any

from modelry._sdk.values import signals
from modelry._sdk.values.texts import said_of
from modelry.errors import InvalidArgument

_ACCEPTED = "a figure or axes of Matplotlib, a grid of seaborn, a figure of Plotly or a chart of Altair"
_DEEPEST, _MOST_PARTS = 4, 10_000
"""How deep axes may lie in lists, and of how many parts of data a figure is looked for."""


def of_figure(given: Any, path: str, **options: Any) -> tuple[bytes, str]:
    """A figure in the format of the extension, and what whoever looks at it must know, if anything.

    It takes what has a figure: a figure or axes of Matplotlib, also in lists, arrays, tuples and dictionaries, as
    `plt.subplots` and `plt.subplot_mosaic` give them; a grid or a `Plot` of seaborn; a display of scikit-learn; a
    figure of Plotly; a chart of Altair. `options` go to the function of the library that saves. Without an extension
    the format is PNG, or HTML for Plotly and Altair. Raises InvalidArgument for anything else, for axes of several
    figures, and if a package is missing that the format needs.
    """
    ending = PurePosixPath(path).suffix.lstrip(".").lower()
    if hasattr(given, "to_html") and hasattr(given, "to_json"):
        if hasattr(given, "to_image"):
            return _of_plotly(given, path, ending or "html", options), ""
        if hasattr(given, "to_dict") and hasattr(given, "save"):
            return _of_altair(given, path, ending or "html", options), ""
    if callable(getattr(given, "save", None)) and type(given).__module__.startswith("seaborn."):
        out = io.BytesIO()
        given.save(out, format=ending or "png", **options)
        return out.getvalue(), ""
    figure = given if hasattr(given, "savefig") else _figure_of(given)
    out = io.BytesIO()
    figure.savefig(out, format=ending or "png", **options)
    return out.getvalue(), _emptiness(figure)


def _of_plotly(figure: Any, path: str, ending: str, options: dict[str, Any]) -> bytes:
    if ending in {"html", "htm"}:
        return str(figure.to_html(**{"include_plotlyjs": "cdn", **options})).encode()
    if ending == "json":
        return str(figure.to_json(**options)).encode()
    try:
        return bytes(figure.to_image(format=ending, **options))
    except Exception as problem:
        signals.pass_on(problem)
        # Kaleido and the browser that it drives fail in many ways, which differ between releases.
        raise InvalidArgument(
            f"{path!r}: Plotly can't write {ending!r} ({said_of(problem)}); it needs the package kaleido and a Chrome "
            "browser (pip install kaleido, then kaleido_get_chrome), or use the extension .html or .json"
        ) from None


def _of_altair(chart: Any, path: str, ending: str, options: dict[str, Any]) -> bytes:
    if ending in {"html", "htm"}:
        return str(chart.to_html(**options)).encode()
    if ending == "json":
        return str(chart.to_json(**options)).encode()
    out = io.BytesIO() if ending != "svg" else io.StringIO()
    try:
        chart.save(out, format=ending, **options)
    except (ImportError, ValueError) as problem:
        raise InvalidArgument(
            f"{path!r}: Altair can't write {ending!r} ({said_of(problem)}); .png, .svg and .pdf need the package "
            "vl-convert-python; .html and .json need nothing"
        ) from None
    content = out.getvalue()
    return content if isinstance(content, bytes) else content.encode()


def _figure_of(given: Any) -> Any:
    """The one figure of Matplotlib that something belongs to."""
    found = {id(figure): figure for figure in _figures(given, [])}
    if len(found) > 1:
        raise InvalidArgument(f"these axes are of {len(found)} figures; log each figure by itself")
    if not found:
        raise InvalidArgument(f"figure must be {_ACCEPTED}, not {type(given).__name__}; log an array with log_image")
    return next(iter(found.values()))


def _figures(given: Any, inside: list[Any]) -> Iterator[Any]:
    if hasattr(given, "savefig"):
        yield given
    elif callable(get := getattr(given, "get_figure", None)):
        yield _outermost(get())
    elif hasattr(given, "figure_"):  # a display of scikit-learn
        yield given.figure_
    elif len(inside) < _DEEPEST and (isinstance(given, Sequence | Mapping) or hasattr(given, "ravel")):
        parts: Iterable[Any] = given.values() if isinstance(given, Mapping) else getattr(given, "flat", given)
        for part in islice(parts, _MOST_PARTS):
            yield from _figures(part, [*inside, given])


def _outermost(figure: Any) -> Any:
    while figure is not None and not hasattr(figure, "savefig"):  # a figure within a figure
        figure = getattr(figure, "_parent", None) or figure.figure
    if figure is None:
        raise InvalidArgument("these axes belong to no figure any more; log them before they are removed")
    return figure


def _emptiness(figure: Any) -> str:
    figure = figure.gcf() if hasattr(figure, "gcf") else getattr(figure, "figure", figure)  # of pyplot, of a grid
    parts = [getattr(figure, name, [True]) for name in ("axes", "texts", "images", "lines", "subfigs", "legends")]
    if any(len(part) for part in parts):
        return ""
    return "nothing is drawn in this figure; log it before plt.show(), which may begin a new one"
