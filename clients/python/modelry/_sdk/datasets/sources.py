"""Where data came from, as text without credentials."""

from __future__ import annotations

import re

from modelry._sdk.values.texts import text_of

_USER = re.compile(r"^([^/?#]*)@")
_UNESCAPED = re.compile(r"^[^/?#@]*:(?!\d*(?:[/?#]|$)).*@", re.DOTALL)
"""A user with a password in which `/`, `?` or `#` are not escaped, so that the host seems to end before the `@`."""
_SECRET = re.compile(
    r"([?&;](?:[^=&;#]*(?:pass|pwd|secret|token|key|sig|credential|auth)[^=&;#]*|sas|odbc_connect))=[^&;#]*",
    re.IGNORECASE,
)


def without_credentials(source: object) -> str:
    """A source as text. An URL loses its user and password, and the values of query parameters that look like secrets.

    What is no URL stays as it is.
    """
    text = text_of(source or "")
    scheme, separator, rest = text.partition("://")
    if not separator:
        return text
    rest = _UNESCAPED.sub("", rest) if _UNESCAPED.match(rest) else _USER.sub("", rest)
    return scheme + separator + _SECRET.sub(r"\1=", rest)


def kind_of(source: str) -> str:
    """The kind of a source by its scheme, such as `s3`; `http` for both of its schemes, `local` for a path."""
    scheme, separator, _ = source.partition("://")
    if not source:
        return ""
    return {"https": "http"}.get(scheme, scheme) if separator else "local"
