"""The pages of the documentation: their code blocks, headings and links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

_FENCE = re.compile(
    r"^(?P<above>[^\n]*)\n```(?P<kind>\w*) *(?P<noun>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
_NOT_RUN = re.compile(r"<!-- not run: (?P<reason>.+) -->")
_ANY_FENCE = re.compile(r"^[ >\t]*(```|~~~)", re.MULTILINE)
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_LINK = re.compile(r"\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A code block. `noun` is the second word after the backquotes, `reason` says why it is not run."""

    kind: str
    noun: str
    text: str
    reason: str


def pages() -> list[str]:
    """All pages, by their path from the root of the repository."""
    found = [*ROOT.glob("*.md"), *ROOT.glob("[a-z]*/README.md"), *(ROOT / "docs").rglob("*.md")]
    return sorted(path.relative_to(ROOT).as_posix() for path in found)


def read(page: str) -> str:
    """The source of a page."""
    return (ROOT / page).read_text("utf-8")


def blocks(page: str) -> Iterator[Block]:
    """The code blocks of a page, in order."""
    for fence in _FENCE.finditer("\n" + read(page)):
        marked = _NOT_RUN.fullmatch(fence["above"])
        yield Block(fence["kind"], fence["noun"], fence["text"], marked["reason"] if marked else "")


def fences(page: str) -> int:
    """How many lines of a page begin or end a code block, however it is written."""
    return len(_ANY_FENCE.findall(read(page)))


def anchors(page: str) -> set[str]:
    """The fragments by which the headings of a page can be linked to, as GitHub makes them."""
    prose = _FENCE.sub("", "\n" + read(page))
    words = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in _HEADING.findall(prose))
    return {heading.replace(" ", "-") for heading in words}


def links(page: str) -> Iterator[tuple[str, str]]:
    """The links of a page to files of the repository: path and fragment, either of which may be empty."""
    prose = re.sub(r"`[^`\n]*`", "", _FENCE.sub("", "\n" + read(page)))
    for link in _LINK.findall(prose):
        if "://" not in link:
            path, _, fragment = link.partition("#")
            yield path, fragment
