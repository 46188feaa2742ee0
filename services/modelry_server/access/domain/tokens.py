"""The rules of API tokens."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from modelry_server.access.domain import journal
from modelry_server.access.domain.rights import caps, sight, width
from modelry_server.access.domain.token_texts import HINT, TextKind, digest_of, new_text
from modelry_server.access.domain.workspaces import judge_name
from modelry_server.access.entities import Principal, PrincipalKind, Token
from modelry_server.access.errors import GrantTooWide, PrincipalDisabled, RoleNotFound, TokenNotFound
from modelry_server.access.store import principals as principal_store
from modelry_server.access.store import tokens as store
from modelry_server.kernel import caller
from modelry_server.kernel.access import Access
from modelry_server.kernel.authority import Changed
from modelry_server.kernel.caller import Credential
from modelry_server.kernel.clock import Clock
from modelry_server.kernel.errors import FieldInvalid, LimitReached
from modelry_server.kernel.ids import new_id
from modelry_server.kernel.requests.fields import Fields
from modelry_server.kernel.requests.idempotency import Request, Requests
from modelry_server.kernel.requests.paging import Found, SortValue
from modelry_server.kernel.requests.times import in_words
from modelry_server.kernel.sql.database import Database
from modelry_server.kernel.sql.statements import Transaction
from modelry_server.permissions import Permission

GRACE_MS = 10 * 60 * 1000
"""How long the text before a rotation is accepted."""
INVITATION_MS = 7 * 86_400_000
"""How long the first token of a person lives at most that somebody else made, until the person exchanges it."""
MOST = 100
"""The most tokens of a principal that are in force."""
MOST_WORKSPACES = 100
DESCRIPTION_LENGTH = 250
_NO_TOKEN = "is required, because the caller is not known by an API token"


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """How long a token lives that does not say it, and how long one may live, in milliseconds."""

    usual_ms: int
    longest_ms: int


@dataclass(frozen=True, slots=True)
class Draft:
    """What a new token is to be."""

    description: str = ""
    role_cap: str = ""
    workspaces: Sequence[str] = ()
    expire_time: int | None = None
    lifetime_ms: int | None = None  # without it, until its end
    is_invitation: bool = False  # not for a caller to say


class Tokens:
    """Makes, reads, lists, rotates and revokes API tokens."""

    def __init__(self, db: Database, requests: Requests, access: Access, clock: Clock, lifetimes: Lifetimes) -> None:
        self._db = db
        self._requests = requests
        self._access = access
        self._clock = clock
        self._lifetimes = lifetimes

    def create(self, principal_id: str, draft: Draft, request: Request) -> tuple[Token, str]:
        """Makes a token, of the caller if there is no id. Returns it and its text, which is empty for a repetition.

        Raises FieldInvalid, PrincipalNotFound, PermissionMissing, PrincipalDisabled, RoleNotFound, GrantTooWide,
        LimitReached.
        """
        principal_id = _or_own(principal_id)
        text = new_text(TextKind.API_TOKEN)
        with self._db.write() as tx:
            journal.begin(tx)
            _require_present_text(tx)
            principal = self._giver(tx, principal_id)
            now = self._clock.now()
            is_invitation = principal.kind is PrincipalKind.USER and principal_id != sight.own_id()
            longest, why = self._lifetimes.longest_ms, ""
            if is_invitation:
                longest = min(longest, INVITATION_MS)
                why = "the first token of a person, made by another one, is an invitation, which the person exchanges"
            with Fields() as fields:
                fields.text("description", draft.description, longest=DESCRIPTION_LENGTH)
                fields.text("role_cap", draft.role_cap, longest=63)
                workspaces = fields.each(
                    "workspaces",
                    draft.workspaces,
                    lambda path, name: judge_name(fields, path, name),
                    most=MOST_WORKSPACES,
                )
                fields.request_id(request.request_id)
                _judge_end(fields, draft.expire_time, now, longest, why)

            def make() -> tuple[str, tuple[Token, str]]:
                if principal.is_disabled:
                    raise PrincipalDisabled(principal.principal_id)
                if draft.role_cap and caps.permissions_of(tx, draft.role_cap) is None:
                    raise RoleNotFound(draft.role_cap)
                caps.require_within(tx, draft.role_cap, workspaces)
                end = self._end(draft.expire_time, now, longest)
                if is_invitation:  # what the person has in force was never exchanged: see _giver
                    for each in store.in_force(tx, principal_id, now):
                        store.revoke(tx, each, now)
                        _write_down_revoked(tx, each, now)
                if (total := store.count(tx, principal_id, now) + 1) > MOST:
                    raise LimitReached("principal_id", "tokens in force", total, MOST)
                made = replace(draft, workspaces=workspaces, expire_time=end)
                if is_invitation:
                    made = replace(made, lifetime_ms=self._lifetimes.usual_ms, is_invitation=True)
                token = issue(tx, principal_id, made, text, now)
                return token.token_id, (token, text)

            return self._requests.once(
                tx, request, find=lambda known: (_found(tx, known), ""), make=make, existing=lambda: None
            )

    def get(self, token_id: str) -> Token:
        """The token with this id. Raises FieldInvalid, TokenNotFound."""
        with Fields() as fields:
            fields.id("token_id", token_id)
        with self._db.read() as tx:
            return self._seen(tx, token_id, Permission.TOKENS_READ)

    def page(
        self, principal_id: str, *, with_ended: bool, after: tuple[SortValue, ...] | None, limit: int
    ) -> Sequence[Found[Token]]:
        """Tokens of a principal, the newest first, after a sort key. Raises FieldInvalid, PrincipalNotFound."""
        principal_id = _or_own(principal_id)
        with self._db.read() as tx:
            sight.require_own(tx, self._access, principal_id, Permission.TOKENS_READ)
            found = store.page(
                tx,
                principal_id,
                after=(int(after[0] or 0), str(after[1])) if after else None,
                limit=limit,
                in_force_at=None if with_ended else self._clock.now(),
            )
        return [Found(token, (token.create_time, token.token_id)) for token in found]

    def rotate(self, token_id: str, expire_time: int | None) -> tuple[Token, str]:
        """Gives a token a new text and a new end. Returns it and the text.

        By means of the token itself, it lives at most as long from now on as it was made for. An invitation is
        exchanged so: the text before it, which another person knows, ends at once. Raises FieldInvalid, TokenNotFound,
        PermissionMissing, GrantTooWide.
        """
        own, token_id = _own_token(), _or_own_token(token_id)
        text = new_text(TextKind.API_TOKEN)
        with self._db.write() as tx:
            journal.begin(tx)
            _require_present_text(tx)
            before = self._seen(tx, token_id, Permission.TOKENS_CREATE)
            principal = self._giver(tx, before.principal_id, "token_id")
            now, is_own = self._clock.now(), token_id == own
            longest, why = self._lifetimes.longest_ms, ""
            if is_own and before.lifetime_ms < longest:
                longest, why = before.lifetime_ms, "a token gives itself no more than the time that it was made for"
            with Fields() as fields:
                _judge_end(fields, expire_time, now, longest, why)
            if before.revoke_time is not None or before.expire_time <= now or principal.is_disabled:
                raise TokenNotFound(token_id, "it has ended or was revoked; create another one")
            if before.is_invitation and not is_own:
                problem = "is an invitation, which only its person exchanges; create another one, which replaces it"
                raise FieldInvalid({"token_id": problem}, token_id=token_id)
            if not is_own:  # its text comes into the hands of the caller, as that of a new one does
                caps.require_within(tx, before.role_cap, before.workspaces)
            end = self._end(expire_time, now, longest, is_own=is_own)
            if end == before.expire_time:
                end -= 1  # by its end a text is told from the one before it
            lifetime = before.lifetime_ms
            if own and not is_own:  # who has a short token does not get a long one by way of another
                lifetime = min(lifetime, end - now)
            after = replace(before, hint=text[-HINT:], expire_time=end, lifetime_ms=lifetime, is_invitation=False)
            until = now if before.is_invitation else min(now + GRACE_MS, before.expire_time, end - 1)
            store.rotate(tx, after, digest_of(text), until)
            journal.write(
                tx,
                journal.Change(
                    "token.rotated",
                    "token",
                    token_id,
                    before=_told(before, before),
                    after=_told(after, before),
                    forget=Changed(credential_id=token_id),
                ),
                now=now,
            )
        return after, text

    def revoke(self, token_id: str) -> Token:
        """Revokes a token; one that was revoked stays so.

        Raises FieldInvalid, TokenNotFound, PermissionMissing, GrantTooWide.
        """
        own, token_id = _own_token(), _or_own_token(token_id)
        with self._db.write() as tx:
            journal.begin(tx)
            token = self._seen(tx, token_id, Permission.TOKENS_REVOKE)
            if token_id != own:  # a capped token ends none that may do more
                caps.require_within(tx, token.role_cap, token.workspaces)
            if token.revoke_time is not None:
                return token
            now = self._clock.now()
            store.revoke(tx, token_id, now)
            _write_down_revoked(tx, token_id, now)
        return replace(token, revoke_time=now)

    def revoke_all(self, principal_id: str) -> int:
        """Revokes all tokens of a principal, and refuses those that its issuer made until now.

        Returns how many of ours that were in force.
        Raises FieldInvalid, PrincipalNotFound, PermissionMissing, GrantTooWide.
        """
        principal_id = _or_own(principal_id)
        with self._db.write() as tx:
            journal.begin(tx)
            principal = sight.require_own(tx, self._access, principal_id, Permission.TOKENS_REVOKE)
            caps.require_none()
            now = self._clock.now()
            revoked = store.in_force(tx, principal_id, now)
            if not store.revoke_all(tx, principal_id, now) and not principal.issuer:
                return 0
            after = replace(principal, not_before=now + 1, update_time=now, revision=principal.revision + 1)
            principal_store.update(tx, after)
            for token_id in revoked:
                _write_down_revoked(tx, token_id, now)
            journal.write(
                tx,
                journal.Change(
                    "principal.tokens_revoked",
                    "principal",
                    principal_id,
                    before={"not_before": principal.not_before},
                    after={"not_before": after.not_before, "revoked_count": len(revoked)},
                    forget=Changed(principal_id=principal_id),
                ),
                now=now,
            )
        return len(revoked)

    def note_uses(self, token_ids: Sequence[str]) -> None:
        """Notes that tokens were used now. What is no token is left out, such as digests of other credentials."""
        if token_ids:
            with self._db.write() as tx:
                store.note_uses(tx, sorted(set(token_ids)), self._clock.now())

    def _giver(self, tx: Transaction, principal_id: str, field: str = "principal_id") -> Principal:
        """The principal, if the caller may have texts of its tokens: it is the caller, or one that can't sign in.

        Who is not the caller, and not owned by it, may do no more than the caller may, with all that it owns: who has
        a text can do all of it.
        """
        principal = sight.require_own(tx, self._access, principal_id, Permission.TOKENS_CREATE)
        if principal_id != sight.own_id():
            problem = ""
            if principal.issuer:
                problem = f"{principal.name!r} signs in by {principal.issuer!r}, and makes tokens without help"
            elif principal.kind is PrincipalKind.USER and store.count(
                tx, principal_id, self._clock.now(), with_invitations=False
            ):
                problem = (
                    f"{principal.name!r} is a person with a token, who makes and rotates tokens without help; if it is "
                    "lost, revoke all tokens of this person, and create another one"
                )
            if problem:
                raise FieldInvalid({field: problem}, principal_id=principal_id)
        if not sight.answers_for(principal):
            width.require_reached(tx, self._access, principal_id)
        return principal

    def _seen(self, tx: Transaction, token_id: str, permission: Permission) -> Token:
        """The token, if the caller answers for its principal or has the permission. Raises TokenNotFound."""
        token = store.find(tx, token_id)
        unseen = TokenNotFound(token_id)
        if token is None:
            raise unseen
        sight.require_own(tx, self._access, token.principal_id, permission, unseen=unseen)
        return token

    def _end(self, given: int | None, now: int, longest: int, *, is_own: bool = False) -> int:
        """When a token ends. Raises GrantTooWide if it would outlive the token of the caller, unless it is that one."""
        latest = None if is_own else caps.latest_end()
        if given is None:
            usual = now + min(self._lifetimes.usual_ms, longest)
            return usual if latest is None else min(usual, latest)
        if latest is not None and given > latest:
            raise GrantTooWide(
                f"expire_time: {in_words(given)} is after the end of the token of the caller, {in_words(latest)}; give "
                "an end until then, or none",
                expire_time=in_words(given),
                latest=in_words(latest),
            )
        return given


def _judge_end(fields: Fields, given: int | None, now: int, longest: int, why: str) -> None:
    if given is not None and not now < given <= now + longest:
        limits = f"{in_words(now)} to {in_words(now + longest)}"
        problem = f"{in_words(given)} is not within {longest / 86_400_000:g} days from now ({limits})"
        fields.refuse("expire_time", f"{problem}: {why}" if why else problem)


def _require_present_text(tx: Transaction) -> None:
    """Raises GrantTooWide if the caller is known by the text of a token before its rotation.

    Who has found an old text must not get a new one by it, which would live on. The two texts differ in their ends.
    """
    identity, own = caller.current().identity, _own_token()
    token = store.find(tx, own) if own else None
    if identity is not None and token is not None and round(identity.expire_time * 1000) != token.expire_time:
        raise GrantTooWide(
            "the token of the caller was rotated, and its text before that makes and rotates no tokens; use the new one"
        )


def issue(tx: Transaction, principal_id: str, draft: Draft, text: str, now: int) -> Token:
    """Writes a new token, which ends when the draft says, and writes it down."""
    end = now if draft.expire_time is None else draft.expire_time
    token = Token(
        new_id(),
        principal_id,
        draft.description,
        text[-HINT:],
        now,
        end,
        end - now if draft.lifetime_ms is None else draft.lifetime_ms,
        role_cap=draft.role_cap,
        workspaces=tuple(draft.workspaces),
        creator_id=sight.own_id(),
        is_invitation=draft.is_invitation,
    )
    store.add(tx, token, digest_of(text))
    after: dict[str, journal.Value] = {
        "principal_id": principal_id,
        "description": token.description,
        "role_cap": token.role_cap,
        "workspaces": list(token.workspaces),
        **_told(token, token),
    }
    journal.write(tx, journal.Change("token.created", "token", token.token_id, after=after), now=now)
    return token


def _told(token: Token, first: Token) -> dict[str, journal.Value]:
    """What a record says of the text of a token, and whether it is an invitation if it first was one."""
    told: dict[str, journal.Value] = {"hint": token.hint, "expire_time": token.expire_time}
    return told | {"invitation": token.is_invitation} if first.is_invitation else told


def _write_down_revoked(tx: Transaction, token_id: str, now: int) -> None:
    forget = Changed(credential_id=token_id)
    change = journal.Change("token.revoked", "token", token_id, after={"revoke_time": now}, forget=forget)
    journal.write(tx, change, now=now)


def _found(tx: Transaction, token_id: str) -> Token:
    token = store.find(tx, token_id)
    if token is None:
        raise TokenNotFound(token_id)
    return token


def _or_own(principal_id: str) -> str:
    """The id of a principal that a request gives, or that of the caller. Raises FieldInvalid."""
    with Fields() as fields:
        if principal_id:
            fields.id("principal_id", principal_id)
        elif not sight.own_id():
            fields.refuse("principal_id", "is required, because the server does not know the caller")
    return principal_id or sight.own_id()


def _own_token() -> str:
    identity = caller.current().identity
    return identity.credential_id if identity is not None and identity.credential is Credential.API_TOKEN else ""


def _or_own_token(token_id: str) -> str:
    """The id of a token that a request gives, or that of the caller's. Raises FieldInvalid."""
    own = _own_token()
    with Fields() as fields:
        if token_id:
            fields.id("token_id", token_id)
        elif not own:
            fields.refuse("token_id", _NO_TOKEN)
    return token_id or own
