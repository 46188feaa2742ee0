"""The keyring of the system, by the package `keyring` of the user, if it is installed."""

from __future__ import annotations

import importlib
from typing import Any

from modelry._sdk.values import signals, texts
from modelry.errors import FailedPrecondition

_SERVICE = "modelry"


class Unusable(Exception):
    """What keeps logins can't be used; the text says why, and what to do."""


def require() -> None:
    """Raises FailedPrecondition if the package is not installed, or finds no keyring."""
    try:
        ring = _package()
    except Unusable as problem:
        raise FailedPrecondition(str(problem), reason="KEYRING_MISSING") from None
    if ring.get_keyring().priority <= 0:
        text = "this system has no keyring; log in without --keyring: a file that only you can read has the token then"
        raise FailedPrecondition(text, reason="KEYRING_MISSING")


def put(server: str, content: str) -> None:
    """Keeps a text for a server. Raises Unusable."""
    _ask("set_password", server, content)


def get(server: str) -> str | None:
    """The text for a server. Raises Unusable."""
    found: str | None = _ask("get_password", server)
    return found


def remove(server: str) -> None:
    """Forgets the text for a server. Raises Unusable."""
    if get(server) is not None:
        _ask("delete_password", server)


def _ask(what: str, *given: str) -> Any:
    package = _package()
    try:
        return getattr(package, what)(_SERVICE, *given)
    except Exception as problem:  # Each backend raises errors of its own.
        signals.pass_on(problem)
        raise Unusable(f"the keyring of this system can't be used: {texts.said_of(problem)}") from None


def _package() -> Any:
    try:
        return importlib.import_module("keyring")
    except ImportError:
        raise Unusable("the package keyring is not installed; run: pip install keyring") from None
