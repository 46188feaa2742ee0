"""What opens doors in URLs: users with their passwords, and values of parameters whose name says so."""

from __future__ import annotations

import re

MASK = "***"

_IN_TEXT = re.compile(r"(?<=://)(?:(?!://)[^\s\"'<>])+")
"""A URL in a text, after its scheme, and until another one that it contains."""
_FOLDED = re.compile(
    r"(?:(?<=\bhttps:[/\\])|(?<=\bhttp:[/\\])|(?<=[\w.+-]{2}:[/\\])(?=[^/\\?#@:\s\"'<>]*:[^/\\\s]))"
    r"[/\\]?(?![/\\])(?P<rest>(?:(?!:[/\\]{2})[^\s\"'<>])+)",
    re.IGNORECASE | re.ASCII,
)
"""A URL with one slash, as a path that was made of it has: `Path("https://host")`. `\\\\` is how Python shows one `\\`.

One of another scheme than HTTP counts if it has a user and a password: `models:/name@alias` has none.
"""
_USER = re.compile(
    r"(?!git@(?![^/?#]*@)|\[|\$\{\w+\}(?::\$\{\w+\})?@)(?:[^/?#]*@|(?![^/?#@:]*:\d*(?:[/?#]|$))[^/?#@:]*:.*@)",
    re.DOTALL,
)
"""The user at the beginning. In a password `/`, `?` and `#` may not be escaped, so that the host seems to end there.

The user `git` of SSH is no secret unless a password follows, and neither is a variable such as `${TOKEN}`.
"""
_PARAMETER = re.compile(
    r"([?&;#](?:[^=?&;#]{0,64}(?:pass|pwd|secret|token|key|sig|credential|auth)[^=?&;#]{0,64}|sas|odbc_connect))="
    r"(?!\$\{\w+\}(?:[&;#]|$))[^&;#]+",
    re.IGNORECASE,
)


def without_user(url: str) -> str:
    """A URL without user and password. What is no URL stays as it is."""
    scheme, separator, rest = url.partition("://")
    return scheme + separator + _without_user(rest, "") if separator else _folded_masked(url, "")


def without_credentials(url: str) -> str:
    """A URL without user and password, and without the values of parameters whose name is that of a secret."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return _folded_masked(url, "", r"\1=")
    return scheme + separator + _PARAMETER.sub(r"\1=", _without_user(rest, ""))


def users_masked(text: str) -> str:
    """A text with `***` in the place of the user and password of each URL in it."""
    return _folded_masked(_IN_TEXT.sub(lambda found: _without_user(found[0], f"{MASK}@"), text), f"{MASK}@")


def masked(text: str) -> str:
    """A text with `***` in the place of what `without_credentials` leaves out of each URL in it."""
    shown = _IN_TEXT.sub(lambda found: _PARAMETER.sub(rf"\1={MASK}", _without_user(found[0], f"{MASK}@")), text)
    return _folded_masked(shown, f"{MASK}@", rf"\1={MASK}")


def _folded_masked(text: str, user: str, parameter: str = r"\g<0>") -> str:
    """A text with other ones in the place of the user and the secret parameters of each URL with one slash."""

    def shown(found: re.Match[str]) -> str:
        before = found[0][: found.start("rest") - found.start()]
        return before + _PARAMETER.sub(parameter, _without_user(found["rest"], user))

    return _FOLDED.sub(shown, text) if ":/" in text or ":\\" in text else text


def _without_user(rest: str, instead: str) -> str:
    """What follows the scheme of a URL, with another text in the place of its user."""
    user = _USER.match(rest)
    return instead + rest[user.end() :] if user else rest
