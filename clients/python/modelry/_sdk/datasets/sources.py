"""Where data came from, as text without credentials."""

from __future__ import annotations

from modelry._sdk.values import connections
from modelry._sdk.values.texts import text_of


def without_credentials(source: object) -> str:
    """A source as text without credentials: those of a URL are taken out, those of connection strings are masked.

    What has none stays as it is.
    """
    return connections.without_credentials(text_of(source or ""))


def kind_of(source: str) -> str:
    """The kind of a source by its scheme, such as `s3`; `http` for both of its schemes, `local` for a path."""
    scheme, separator, _ = source.partition("://")
    if not source:
        return ""
    return {"https": "http"}.get(scheme, scheme) if separator else "local"
