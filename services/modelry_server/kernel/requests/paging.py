"""Opaque page tokens and cursors that hold the sort key of a row.

They are encrypted (AES-SIV, RFC 5297), so a text that this installation did not make is refused, and nobody reads there
how much lies between two rows that it may see. They carry no authority: permissions are checked for each page.
"""

import base64
import hashlib
import json
from binascii import Error as Base64Error
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Generic, Protocol, TypeAlias, TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from google.protobuf.message import Message

from modelry_server.kernel import caller
from modelry_server.kernel.errors import FieldInvalid, InvalidArgument

LONGEST_TOKEN = 32_768
_BLOCK = 32
"""So many things are read at once where nothing says how large they are: few enough where each is large."""
_FIRST_SIZES = 8
"""The sizes of so many things are asked first: they tell of how many more it is worth to ask."""
_GROWTH = 4
"""So many times as many are asked next at most."""
PAGE_BYTES = 3 << 20
"""The most that the things on a page may take, in bytes: with room to spare below what every client can receive."""

_SHORTEST_SECRET = 16
_VERSION = b"\x02"
_PAGE_TOKEN, _CURSOR = "modelry page token", "modelry cursor"

_Item = TypeVar("_Item")
_Brief = TypeVar("_Brief")
_Item_co = TypeVar("_Item_co", covariant=True)
_Message = TypeVar("_Message", bound=Message)
SortValue: TypeAlias = str | int | float | bool | None


class PageTokenInvalid(InvalidArgument):
    """A page token is not valid for this request: it belongs to another request or caller, or was not made by us."""

    reason = "PAGE_TOKEN_INVALID"

    def __init__(self, token: str) -> None:
        begins = ascii(token[:12])
        super().__init__(
            f"page_token of {len(token)} characters that begins {begins} is not valid for this request; repeat the "
            "previous request, as the same caller, with its next_page_token, or leave page_token empty to begin again",
            field="page_token",
            length=len(token),
            begins=begins,
        )


class CursorInvalid(InvalidArgument):
    """A cursor is damaged, or was made for another scope, such as another workspace."""

    reason = "CURSOR_INVALID"

    def __init__(self, cursor: str, *, field: str) -> None:
        begins = ascii(cursor[:12])
        super().__init__(
            f"{field} of {len(cursor)} characters that begins {begins} is not a cursor of this workspace; send a "
            "cursor that the server returned for it, or leave the field empty to start from the beginning",
            field=field,
            length=len(cursor),
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
    """Finds at most `limit` things after the one with the sort key `after`; from the first if it is None.

    Where things can be large they are read while the page is filled, see `completed` and `block_by_block`.
    """

    def __call__(self, *, after: tuple[SortValue, ...] | None, limit: int) -> Iterable[Found[_Item_co]]:
        """What was found, in order."""


class Pager:
    """Makes and reads page tokens and cursors.

    All processes that serve the same search need the same secret, of at least 16 bytes.
    """

    def __init__(self, secret: bytes) -> None:
        if len(secret) < _SHORTEST_SECRET:
            raise ValueError(f"the secret for page tokens has {len(secret)} bytes, {_SHORTEST_SECRET} are needed")
        self._cipher = AESSIV(hashlib.sha512(secret).digest())

    def answer(
        self, request: Message, search: Search[_Item], message: Callable[[_Item], _Message]
    ) -> tuple[list[_Message], str]:
        """The messages on the requested page, and the token of the next page, which is empty on the last page.

        The request has the fields `page_size` and `page_token`. A token is valid for the same caller and for requests
        that are equal in all other fields. Raises what `page` raises.
        """
        scope = _scope_of(request)
        page = self.page(request.page_size, request.page_token, scope=scope)  # type: ignore[attr-defined]
        messages: list[_Message] = []
        key: tuple[SortValue, ...] = ()
        left = PAGE_BYTES
        with closing(_each(search(after=page.after, limit=page.size + 1))) as found:
            for each in found:
                made = message(each.item)
                left -= made.ByteSize()
                if len(messages) == page.size or (messages and left < 0):
                    return messages, self.token(scope, key)
                messages.append(made)
                key = each.key
        return messages, ""

    def page(
        self, page_size: int, page_token: str, *, scope: Sequence[str], default: int = 100, maximum: int = 1000
    ) -> Page:
        """The requested page. A `page_size` of 0 means `default`; a size above `maximum` means `maximum`.

        A token is valid only for the scope and the caller that it was made for. The scope holds everything that
        decides which rows come in which order (rpc, workspace, filter, order), but not the page size.
        Raises FieldInvalid for a negative size, PageTokenInvalid.
        """
        if page_size < 0:
            raise FieldInvalid(
                {"page_size": f"{page_size} is negative; send 1 to {maximum}, or 0 for {default}"}, page_size=page_size
            )
        size = min(page_size or default, maximum)
        if not page_token:
            return Page(size, None)
        after = self._opened(_page_scope(scope), page_token)
        if after is None:
            raise PageTokenInvalid(page_token)
        return Page(size, after)

    def token(self, scope: Sequence[str], after: Sequence[SortValue]) -> str:
        """The token for the page after the row with this sort key. Numbers are kept exactly, infinities too.

        Raises ValueError for NaN, which has no place in an order, and for a key that is too long for a token (about
        24,000 bytes as JSON, where a character takes up to 6). So a store that sorts by long texts sorts by their
        beginning.
        """
        return self._sealed(_page_scope(scope), after)

    def cursor(self, scope: Sequence[str], key: Sequence[SortValue]) -> str:
        """A cursor that holds a sort key: valid for its scope and for every caller. Raises what `token` raises."""
        return self._sealed((_CURSOR, *scope), key)

    def read_cursor(self, scope: Sequence[str], cursor: str, *, field: str = "cursor") -> tuple[SortValue, ...]:
        """The sort key that a cursor holds. Raises CursorInvalid, which names the `field`."""
        key = self._opened((_CURSOR, *scope), cursor)
        if key is None:
            raise CursorInvalid(cursor, field=field)
        return key

    def _sealed(self, scope: Sequence[str], key: Sequence[SortValue]) -> str:
        if any(value != value for value in key):
            raise ValueError(f"the sort key {key!r} contains NaN")
        payload = json.dumps(list(key), ensure_ascii=False, separators=(",", ":")).encode()
        token = _encoded(_VERSION + self._cipher.encrypt(payload, _bound_to(scope)))
        if len(token) > LONGEST_TOKEN:
            raise ValueError(f"a sort key of {len(payload)} bytes makes a token of {len(token)}, over {LONGEST_TOKEN}")
        return token

    def _opened(self, scope: Sequence[str], token: str) -> tuple[SortValue, ...] | None:
        """The sort key of a token; None if it was not made for this scope with this secret."""
        if len(token) > LONGEST_TOKEN or not token.isascii():
            return None
        try:
            content = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        except Base64Error:
            return None
        # The decoder ignores unknown characters and spare bits. Comparing the encoding leaves one token for each key.
        if content[: len(_VERSION)] != _VERSION or _encoded(content) != token:
            return None
        try:
            payload = self._cipher.decrypt(content[len(_VERSION) :], _bound_to(scope))
        except InvalidTag:
            return None
        return tuple(json.loads(payload))


def completed(
    found: Sequence[Found[_Brief]],
    complete: Callable[[Sequence[_Brief]], Sequence[_Item]],
    sizes: Callable[[Sequence[_Brief]], Sequence[int]] | None = None,
) -> Iterator[Found[_Item]]:
    """The things of a page, read whole some at a time: who stops, because the page is full, has read few too many.

    `sizes` says about how many bytes each of them will take; then as many are read at once as fill a page.
    """
    for block in _blocks(found, sizes):
        for each, item in zip(block, complete([each.item for each in block]), strict=True):
            yield Found(item, each.key)


def _blocks(
    found: Sequence[Found[_Brief]], sizes: Callable[[Sequence[_Brief]], Sequence[int]] | None
) -> Iterator[Sequence[Found[_Brief]]]:
    if sizes is None:
        for begin in range(0, len(found), _BLOCK):
            yield found[begin : begin + _BLOCK]
        return
    begin, asked, step, left = 0, 0, _FIRST_SIZES, PAGE_BYTES
    while asked < len(found):
        some = sizes([each.item for each in found[asked : asked + step]])
        for end, size in enumerate(some, start=asked):
            if size > left and end > begin:
                yield found[begin:end]
                begin, left = end, PAGE_BYTES
            left -= size
        asked += len(some)
        # As many as fill the page if they are like these, but not all at once: they may be larger.
        step = min(max(1, left * len(some) // max(1, sum(some))), _GROWTH * len(some))
    if begin < len(found):
        yield found[begin:]


def block_by_block(
    read: Callable[[tuple[SortValue, ...] | None, int], Sequence[Found[_Item]]],
    after: tuple[SortValue, ...] | None,
    limit: int,
) -> Iterator[Found[_Item]]:
    """At most `limit` things after a sort key, read a few at a time; `read` reads so many after a sort key."""
    while limit:
        block = read(after, min(_BLOCK, limit))
        yield from block
        limit -= len(block)
        if len(block) < _BLOCK:
            return
        after = block[-1].key


def _each(found: Iterable[_Item]) -> Generator[_Item, None, None]:
    """All of them; closing this ends a generator behind it, too."""
    yield from found


def fitting(messages: Iterable[_Message]) -> tuple[list[_Message], bool]:
    """The first messages, at most 3 MiB together, but always at least one; and whether these are all."""
    fitted: list[_Message] = []
    left = PAGE_BYTES
    with closing(_each(messages)) as given:
        for message in given:
            left -= message.ByteSize()
            if fitted and left < 0:
                return fitted, False
            fitted.append(message)
    return fitted, True


def _page_scope(scope: Sequence[str]) -> tuple[str, ...]:
    return (_PAGE_TOKEN, caller.current().key, *scope)


def _scope_of(request: Message) -> tuple[str, str]:
    """Everything in a request that must stay the same from page to page."""
    alike = type(request)()
    alike.CopyFrom(request)
    for field in ("page_size", "page_token"):
        alike.ClearField(field)
    return request.DESCRIPTOR.full_name, alike.SerializeToString(deterministic=True).hex()


def _bound_to(scope: Sequence[str]) -> list[bytes]:
    return [json.dumps(list(scope)).encode()]


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
