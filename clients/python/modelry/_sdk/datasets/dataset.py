"""What is recorded of data: its name, digest, source, schema and profile."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection
from typing import Any, Self

from modelry._sdk.datasets.sources import kind_of, without_credentials
from modelry._sdk.values.plain import plain
from modelry._sdk.values.texts import said_of, text_of
from modelry.errors import InvalidArgument

log = logging.getLogger("modelry")

_RECORDED = ("name", "digest", "source", "source_type", "schema", "profile")
LONGEST_SCHEMA = 500_000
"""The most characters of a schema; a server takes twice as many."""


class Dataset:
    """A dataset: a name, a digest, its source, its columns and its size. Schema and profile are JSON.

    Of a source that is an URL, user, password and other credentials are left out.
    """

    def __init__(
        self,
        name: str,
        *,
        digest: str,
        source: str = "",
        source_type: str = "",
        schema: str = "",
        profile: str = "",
    ) -> None:
        self.name = text_of(name)
        self.digest = text_of(digest)
        self.source = without_credentials(source)
        self.source_type = source_type or kind_of(self.source)
        self.schema = schema
        self.profile = profile
        self.data: Any = None
        """The rows, for `modelry.evaluate`; None if it does not have them. They are never recorded."""
        self.targets: Any = None
        """The targets of the rows: the name of a column, or as many values."""

    def holding(self, data: Any, targets: Any = None) -> Self:
        """Itself, with its rows and targets."""
        self.data, self.targets = data, targets
        return self

    def to_dict(self) -> dict[str, str]:
        """Everything that is recorded, by name."""
        return {name: getattr(self, name) for name in _RECORDED}

    def __repr__(self) -> str:
        return f"Dataset(name={self.name!r}, digest={self.digest!r}, source={self.source!r})"


def json_of(described: Any) -> str:
    """A schema, profile or source as JSON. What JSON does not have becomes text."""
    return json.dumps(plain(described), ensure_ascii=False)


def within(listed: list[Any]) -> tuple[list[Any], int]:
    """As many entries of a schema as fit, and how many are left out."""
    room = LONGEST_SCHEMA
    for kept, each in enumerate(listed):
        room -= len(json.dumps(each)) + 2
        if room < 0:
            return listed[:kept], len(listed) - kept
    return listed, 0


def undescribed(given: object, problem: Exception, *, name: str | None, source: str, digest: str | None) -> Dataset:
    """What is recorded of an object that can't be described: its name and source, with a warning."""
    from modelry._sdk.datasets.digests import digest_of

    log.warning(
        "dataset %r: %s can't be described (%s: %.200s), so its digest leaves the content out; give a `digest`",
        *(name or "dataset", type(given).__name__, type(problem).__name__, said_of(problem)),
    )
    name = name or "dataset"
    return Dataset(name, digest=digest or digest_of([text_of(name), without_credentials(source)]), source=source)


def require_first_rows(first_rows: object) -> None:
    """Raises InvalidArgument for a number of rows to read that is none."""
    if first_rows is None:
        return
    if isinstance(first_rows, bool) or not isinstance(first_rows, int) or first_rows < 1:
        wanted = "a whole number of rows, 1 or more, or None for all"
        raise InvalidArgument(
            f"first_rows must be {wanted}, not {first_rows!r}", fields={"first_rows": f"must be {wanted}"}
        )


def require_targets(targets: object, columns: Collection[str]) -> None:
    """Raises InvalidArgument if the targets are not among the columns."""
    if targets is None or text_of(targets) in columns:
        return
    there = ", ".join([*columns][:20]) + (f" and {len(columns) - 20} more" if len(columns) > 20 else "")
    raise InvalidArgument(
        f"targets={targets!r} is no column; there are {there}", fields={"targets": "must be the name of a column"}
    )


def warn_if_empty(name: str, rows: int) -> None:
    """Tells that a dataset has no rows, which is hardly what was meant to be recorded."""
    if not rows:
        log.warning("dataset %r has no rows; is it the data that was meant?", name)
