"""Opaque page tokens that hold the last row's sort key. They carry no authority: rights are checked on every page."""

import base64
import hashlib
import hmac
import json
from binascii import Error as Base64Error
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeAlias, TypeVar

from google.protobuf.message import Message

from modelry_server.kernel import caller
from modelry_server.kernel.errors import FieldInvalid, InvalidArgument

LONGEST_TOKEN = 32_768
PAGE_BYTES = 3 << 20
"""The most that the things on a page may take, in bytes: with room to spare below what every client can receive."""

_SHORTEST_SECRET = 16
_VERSION = b"\x01"
_MAC_SIZE = 16
_PURPOSE = b"modelry page token\0"


_Item = TypeVar("_Item")
_Item_co = TypeVar("_Item_co", covariant=True)
_Message = TypeVar("_Message", bound=Message)
SortValue: TypeAlias = str | int | float | bool | None


class PageTokenInvalid(InvalidArgument):
    """A page token was not given out for this search: for another filter, order, workspace or caller, or not by us."""

    reason = "PAGE_TOKEN_INVALID"

    def __init__(self, token: str) -> None:
        begins = ascii(token[:12])
        super().__init__(
            f"page_token of {len(token)} characters that begins {begins} was not given out for this search; send the "
            "next_page_token of the page before with the same filter, order_by and workspace as the same caller, or "
            "leave it empty to begin again",
            field="page_token",
            length=len(token),
            begins=begins,
        )


@dataclass(frozen=True, slots=True)
class Page:
    """What to read: at most `size` rows after the row with the sort key `after`; from the first row if it is None."""

    size: int
    after: tuple[SortValue, ...] | None


@dataclass(frozen=True, slots=True)
class Found(Generic[_Item_co]):
    """What a search found, with the sort key by which the search goes on after it."""

    item: _Item_co
    key: tuple[SortValue, ...]


class Search(Protocol[_Item_co]):
    """Finds at most `limit` things after the one with the sort key `after`; from the first if it is None."""

    def __call__(self, *, after: tuple[SortValue, ...] | None, limit: int) -> Sequence[Found[_Item_co]]:
        """What was found, in order."""


class Pager:
    """Makes and reads page tokens. All processes that serve one search need the same secret, of 16 bytes or more."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) < _SHORTEST_SECRET:
            raise ValueError(f"the secret for page tokens has {len(secret)} bytes, {_SHORTEST_SECRET} are needed")
        self._secret = secret

    def answer(
        self, request: Message, search: Search[_Item], message: Callable[[_Item], _Message]
    ) -> tuple[list[_Message], str]:
        """The messages on the page that a request asks for, and the token of the next page, empty at the end.

        The request has the fields `page_size` and `page_token`; a token holds for requests that are equal in all
        others, of the same caller. Raises what `page` raises.
        """
        scope = _scope_of(request)
        page = self.page(request.page_size, request.page_token, scope=scope)  # type: ignore[attr-defined]
        found = search(after=page.after, limit=page.size + 1)
        messages = fitting((message(each.item) for each in found), page.size)
        more = len(found) > len(messages)
        return messages, self.token(scope, found[len(messages) - 1].key) if more else ""

    def page(
        self, page_size: int, page_token: str, *, scope: Sequence[str], default: int = 100, maximum: int = 1000
    ) -> Page:
        """What a request asks for. A `page_size` of 0 means `default`, above `maximum` is lowered.

        `scope` is what has to be equal for a token to hold, besides the caller: rpc, workspace, filter, order; not the
        page size.
        Raises FieldInvalid for a negative size, PageTokenInvalid.
        """
        if page_size < 0:
            raise FieldInvalid(
                {"page_size": f"{page_size} is negative; send 1 to {maximum}, or 0 for {default}"}, page_size=page_size
            )
        return Page(min(page_size or default, maximum), self._after(page_token, scope) if page_token else None)

    def token(self, scope: Sequence[str], after: Sequence[SortValue]) -> str:
        """The token for the page after the row with this sort key. Numbers come back exactly, infinities too.

        Raises ValueError for NaN, which has no place in an order, and for a key that no token holds (about 24,000 bytes
        as JSON, where a character takes up to 6): a store that sorts by long texts sorts by their beginning.
        """
        if any(value != value for value in after):
            raise ValueError(f"the sort key {after!r} contains NaN")
        payload = json.dumps(list(after), ensure_ascii=False, separators=(",", ":")).encode()
        token = _encoded(_VERSION + self._mac(scope, payload) + payload)
        if len(token) > LONGEST_TOKEN:
            raise ValueError(f"a sort key of {len(payload)} bytes makes a token of {len(token)}, over {LONGEST_TOKEN}")
        return token

    def _after(self, token: str, scope: Sequence[str]) -> tuple[SortValue, ...]:
        if len(token) > LONGEST_TOKEN or not token.isascii():
            raise PageTokenInvalid(token)
        try:
            content = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        except Base64Error:
            raise PageTokenInvalid(token) from None
        head = len(_VERSION)
        mac, payload = content[head : head + _MAC_SIZE], content[head + _MAC_SIZE :]
        # The decoder skips characters that it doesn't know and bits that are left over; one page has one token.
        genuine = hmac.compare_digest(mac, self._mac(scope, payload)) and content[:head] == _VERSION
        if not genuine or _encoded(content) != token:
            raise PageTokenInvalid(token)
        return tuple(json.loads(payload))

    def _mac(self, scope: Sequence[str], payload: bytes) -> bytes:
        # JSON in ASCII has no NUL, so that the parts can't run into each other.
        message = _PURPOSE + json.dumps([caller.current().subject, *scope]).encode() + b"\0" + payload
        return hmac.digest(self._secret, message, hashlib.sha256)[:_MAC_SIZE]


def fitting(messages: Iterable[_Message], size: int) -> list[_Message]:
    """The first of the messages: at most `size` of them, and at most 3 MiB together, but one in any case."""
    fitted: list[_Message] = []
    left = PAGE_BYTES
    for message in messages:
        left -= message.ByteSize()
        if len(fitted) == size or (fitted and left < 0):
            break
        fitted.append(message)
    return fitted


def _scope_of(request: Message) -> tuple[str, str]:
    """What must be equal in two requests for pages of one search."""
    alike = type(request)()
    alike.CopyFrom(request)
    for field in ("page_size", "page_token"):
        alike.ClearField(field)
    return request.DESCRIPTOR.full_name, alike.SerializeToString(deterministic=True).hex()


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
