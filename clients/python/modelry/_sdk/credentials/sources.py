"""Where the token of a call comes from. The first of these that there is:

1. the argument `token` of `Client` or `set_tracking_uri`, for that server;
2. `MODELRY_TOKEN`;
3. `MODELRY_TOKEN_FILE`, which is read again when it changes, and when a server refuses what was in it;
4. what `modelry login` has kept for that server.

Those of the environment are for the servers that the environment names, see `transport.signing`.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from modelry._sdk.credentials import logins, tokens
from modelry._sdk.credentials.token_files import TokenFile
from modelry._sdk.credentials.tokens import Token
from modelry.errors import InvalidArgument, Unauthenticated

TOKEN = "MODELRY_TOKEN"
TOKEN_FILE = "MODELRY_TOKEN_FILE"
NOT_SENT = "TOKEN_NOT_SENT"
"""The reason of errors of calls that were not made, because their token can't be used."""
_GIVEN = "that the program gave"


def checked(name: str, text: object) -> str:
    """A token that was given as an argument. Raises InvalidArgument for what can't be one, without showing it."""
    problem = tokens.problem_of(text) if isinstance(text, str) else f"is {type(text).__name__} and no text"
    if problem:
        raise InvalidArgument(f"{name} {problem}", reason="TOKEN_INVALID", metadata={"argument": name})
    assert isinstance(text, str)
    return text


def check_environment() -> None:
    """Raises InvalidArgument if `MODELRY_TOKEN` can't be a token."""
    text = os.environ.get(TOKEN, "").strip()
    if text and (problem := tokens.problem_of(text)):
        raise InvalidArgument(f"{TOKEN} {problem}", reason="SETTING_INVALID", metadata={"variable": TOKEN})


def unusable(text: str, **metadata: str) -> Unauthenticated:
    """The error of a call that was not made."""
    return Unauthenticated(f"{text}; nothing was sent", reason=NOT_SENT, metadata=metadata)


class Sources:
    """The sources of the tokens for one server, which is named by its `host:port`.

    `given` is the token of an argument, None if there is none; an empty one stands for calls without a token.
    `withheld` says why the tokens of the environment are not for this server. Empty: they are.
    """

    def __init__(self, server: str, *, given: Callable[[], str | None], withheld: Callable[[], str]) -> None:
        self.server = server
        self._given = given
        self._withheld = withheld
        self._file: tuple[str, TokenFile] | None = None
        self._last: tuple[str, str, Token] | None = None
        """The token of the environment that was used last, by variable and text."""

    def token(self, refused: Token | None = None) -> Token | None:
        """The token for the next call; None if there is none. Raises Unauthenticated if there is one that is unusable.

        `refused` is what the server has just refused: another one is then looked for in the same source.
        """
        given = self._given()
        if given is not None:
            return Token(given, _GIVEN, "give it another one") if given else None
        name, value = _named()
        if name and not self._withheld():
            return self._of_environment(name, value, again=refused is not None)
        return logins.token_for(self.server, refused.text if refused else "")

    @property
    def advice(self) -> str:
        """What to do where a server wants a token and none was sent."""
        name, _ = _named()
        if name and (why := self._withheld()):
            return (
                f"the token of {name} was not sent to {self.server}, because {why}; give this server its own: "
                f"`modelry login --server {self.server}`"
            )
        return (
            f"log in with `modelry login --server {self.server}`, or set {TOKEN} or {TOKEN_FILE} "
            "(docs/credentials.md says how)"
        )

    def _of_environment(self, name: str, value: str, *, again: bool) -> Token:
        text = value if name == TOKEN else self._of_file(value, again=again)
        last = self._last
        if last is not None and last[0] == name and last[1] == text:
            return last[2]
        if name == TOKEN and (problem := tokens.problem_of(text)):
            raise unusable(f"{TOKEN} {problem}", variable=TOKEN)
        if name == TOKEN:
            made = Token(text, f"of {TOKEN}", f"set {TOKEN} to another one")
        else:
            made = Token(text, f"in {value}", f"put another one into {value}, it is read again")
        self._last = name, text, made
        return made

    def _of_file(self, given: str, *, again: bool) -> str:
        if self._file is None or self._file[0] != given:
            self._file, self._last = (given, TokenFile(given)), None
        file = self._file[1]
        try:
            return file.read(again=again)
        except ValueError as problem:
            raise unusable(f"{TOKEN_FILE}={file.path} {problem}", variable=TOKEN_FILE, path=str(file.path)) from None


def _named() -> tuple[str, str]:
    """The variable of the environment that counts, and its value. Empty if there is none. Asked for each call."""
    for name in (TOKEN, TOKEN_FILE):
        if (value := os.environ.get(name)) and (value := value.strip()):
            return name, value
    return "", ""
