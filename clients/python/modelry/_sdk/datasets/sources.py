"""Where data came from, as text without credentials."""

from __future__ import annotations

from modelry._sdk.values import urls
from modelry._sdk.values.texts import text_of


def without_credentials(source: object) -> str:
    """A source as text. An URL loses its user and password, and the values of query parameters that look like secrets.

    What is no URL stays as it is.
    """
    return urls.without_credentials(text_of(source or ""))


def kind_of(source: str) -> str:
    """The kind of a source by its scheme, such as `s3`; `http` for both of its schemes, `local` for a path."""
    scheme, separator, _ = source.partition("://")
    if not source:
        return ""
    return {"https": "http"}.get(scheme, scheme) if separator else "local"
