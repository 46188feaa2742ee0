"""Whose a credential is, and what its principal may do. Whatever is wrong with a credential, the answer is the same."""

import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from modelry_server.access.domain import journal
from modelry_server.access.domain import principals as people
from modelry_server.access.domain.rights import caps, grants
from modelry_server.access.domain.token_texts import HINT, TextKind, digest_of, kind_of
from modelry_server.access.entities import ExternalIdentity, Principal, PrincipalKind
from modelry_server.access.store import identities as store
from modelry_server.access.store import principals as principal_store
from modelry_server.access.store import state
from modelry_server.kernel import caller
from modelry_server.kernel.authority import Grants, Known
from modelry_server.kernel.caller import NOBODY, Credential, Identity
from modelry_server.kernel.clock import Clock
from modelry_server.kernel.errors import CredentialInvalid
from modelry_server.kernel.requests.fields import KEY_LENGTH
from modelry_server.kernel.sql.database import Database
from modelry_server.kernel.sql.statements import Transaction
from modelry_server.kernel.telemetry import Log

BOOTSTRAP = "bootstrap"
"""What stands for a principal where the bootstrap token calls."""
MOST_NAMES = 100
"""The most names of a certificate that are looked at."""

_HOUR_MS = 3_600_000
_DISABLED = "its principal is disabled"
_KINDS = {"user": PrincipalKind.USER, "service_account": PrincipalKind.SERVICE_ACCOUNT}
_log = Log("access")


class Verifier(Protocol):
    """Verifies the tokens of OIDC issuers."""

    def verify(self, token: str) -> ExternalIdentity:
        """Who a token speaks for. Raises CredentialInvalid, or an Unavailable if the keys can't be had."""

    def read(self, token: str) -> ExternalIdentity:
        """Who a token speaks for that was verified before. Raises CredentialInvalid."""


class Identities:
    """Says whose a credential is; see `kernel.authority.Source`.

    `oidc` verifies tokens of issuers; without it there are none. `creates` says by the URL of an issuer whether who
    comes for the first time becomes a principal.
    """

    def __init__(
        self,
        db: Database,
        clock: Clock,
        *,
        oidc: Verifier | None = None,
        creates: Callable[[str], bool] = lambda issuer: True,
    ) -> None:
        self._db = db
        self._clock = clock
        self._oidc = oidc
        self._creates = creates

    def identity(self, bearer: str) -> Known:
        """Whose credential it is. Raises CredentialInvalid, ServiceUnavailable."""
        kind = kind_of(bearer)
        if kind is TextKind.API_TOKEN:
            return self._of_token(bearer)
        if kind is TextKind.BOOTSTRAP:
            return self._of_bootstrap(bearer)
        if self._oidc is not None and bearer.count(".") == 2:
            return self._of_issuer(bearer, self._oidc.verify(bearer))
        raise _refused("it has the form of no API token, and no issuer is configured")

    def of_open_call(self, token_id: str, issuer_token: str) -> Known:
        """Whose credential it is that has begun a call, also if it has ended by itself since. Raises CredentialInvalid.

        It is the API token with this id, whatever its text is by now, or this token of an issuer.
        """
        if not token_id:
            if self._oidc is None:
                raise _refused("no issuer is configured")
            return self._of_issuer(issuer_token, self._oidc.read(issuer_token), is_open_call=True)
        with self._db.read() as tx:
            found = store.by_id(tx, token_id)
            if found is None:
                raise _refused("there is no such token", token_id=token_id)
            return self._found(tx, found, _unfit(found), found.token.expire_time)

    def certificate(self, names: Sequence[str], fingerprint: str, expire_time: float) -> Known:
        """Whose certificate it is, which TLS has verified. Raises CredentialInvalid."""
        names = [name for name in names[:MOST_NAMES] if name]
        if expire_time * 1000 <= self._clock.now():
            raise _refused("the certificate has expired", fingerprint=fingerprint)
        with self._db.read() as tx:
            found = {each.external_id: each for each in store.of_certificate(tx, people.CERTIFICATE, names)}
            principal = next((found[name] for name in names if name in found), None)
            if principal is None:
                raise _refused("nobody has a name of the certificate", fingerprint=fingerprint)
            if principal.is_disabled:
                raise _refused(_DISABLED, fingerprint=fingerprint, principal_id=principal.principal_id)
            identity = Identity(
                principal.principal_id,
                principal.name,
                Credential.CLIENT_CERTIFICATE,
                fingerprint,
                expire_time=expire_time,
            )
            return _known(tx, identity)

    def grants(self, principal_id: str, groups: frozenset[str]) -> Grants:
        """What a principal may do. Raises CredentialInvalid if it is unknown or disabled."""
        with self._db.read() as tx:
            principal = principal_store.find(tx, principal_id)
            if principal is None or principal.is_disabled:
                raise CredentialInvalid
            return grants.effective(tx, principal_id, groups)

    def _of_token(self, bearer: str) -> Known:
        digest, now = digest_of(bearer), self._clock.now()
        with self._db.read() as tx:
            found = store.by_digest(tx, digest)
            if found is None:
                raise _refused("there is no such token", hint=bearer[-HINT:])
            end = _end(found, digest)
            why = _unfit(found)
            if not why and end <= now:
                is_whole = found.token.expire_time <= now
                why = "it has ended" if is_whole else "it was rotated, and this is the former text"
            return self._found(tx, found, why, end)

    def _found(self, tx: Transaction, found: store.Credential, why: str, end: int) -> Known:
        """Whose API token it is, if `why` does not say why it is refused."""
        token, principal = found.token, found.principal
        if why:
            raise _refused(why, token_id=token.token_id, principal_id=principal.principal_id)
        cap = None
        if token.role_cap:  # a role that is not there any more allows nothing
            cap = caps.permissions_of(tx, token.role_cap) or frozenset()
        if token.is_invitation:
            cap = frozenset()
        identity = Identity(
            principal.principal_id,
            principal.name,
            Credential.API_TOKEN,
            token.token_id,
            permission_cap=cap,
            workspace_cap=frozenset(token.workspaces) if token.workspaces else None,
            expire_time=end / 1000,
            is_invitation=token.is_invitation,
        )
        return _known(tx, identity)

    def _of_bootstrap(self, bearer: str) -> Known:
        digest = digest_of(bearer)
        with self._db.read() as tx:
            if not hmac.compare_digest(state.bootstrap_digest(tx), digest):
                raise _refused("it is not the bootstrap token that is in force", hint=bearer[-HINT:])
        identity = Identity(BOOTSTRAP, BOOTSTRAP, Credential.API_TOKEN, digest, is_bootstrap=True)
        return Known(identity, Grants())

    def _of_issuer(self, bearer: str, told: ExternalIdentity, *, is_open_call: bool = False) -> Known:
        if told.expire_time <= self._clock.now() and not is_open_call:  # nobody is made by a token that is refused
            raise _refused("it has ended", issuer=told.issuer_url)
        with self._db.read() as tx:
            principal = principal_store.by_external_id(tx, told.issuer_url, told.subject)
        if principal is None:
            if is_open_call:
                raise CredentialInvalid
            principal = self._made(told)
        if principal.is_disabled:
            raise _refused(_DISABLED, principal_id=principal.principal_id)
        if told.issued_at < principal.not_before:
            raise _refused("it was issued before all credentials were revoked", principal_id=principal.principal_id)
        if not is_open_call and _said(principal.groups, told, self._clock.now()) != principal.groups:
            self._note_groups(told)
        identity = Identity(
            principal.principal_id,
            principal.name,
            Credential.OIDC_TOKEN,
            hashlib.sha256(bearer.encode()).hexdigest(),
            groups=frozenset(told.groups),
            expire_time=told.expire_time / 1000,
        )
        with self._db.read() as tx:
            return _known(tx, identity)

    def _made(self, told: ExternalIdentity) -> Principal:
        """The principal that an issuer speaks of, made at first sight. Raises CredentialInvalid if it must be there."""
        if not self._creates(told.issuer_url):
            raise _refused("its principal must be made first", issuer=told.issuer_url)
        until = caller.current().deadline
        # The server makes it: who calls is not known yet.
        with caller.using(NOBODY), self._db.write(until=until) as tx:
            journal.begin(tx)
            there = principal_store.by_external_id(tx, told.issuer_url, told.subject)
            if there is not None:  # a call at the same time has made it
                return there
            draft = people.Draft(
                _KINDS[told.kind],
                _free_name(tx, told.name.strip() or told.subject),
                told.display_name[:KEY_LENGTH],
                told.issuer_url,
                told.subject,
                groups=_said({}, told, self._clock.now()),
            )
            return people.add(tx, draft, self._clock.now())

    def _note_groups(self, told: ExternalIdentity) -> None:
        """Remembers what an issuer says of a principal: who changes it later is judged by that, without a credential.

        Two tokens of one principal may come at once, so what is there is read again where nobody else writes. Nothing
        that others keep in memory depends on it, so it is no change that they are told of.
        """
        until = caller.current().deadline
        with caller.using(NOBODY), self._db.write(until=until) as tx:
            journal.begin(tx)
            there = principal_store.by_external_id(tx, told.issuer_url, told.subject)
            if there is not None:
                said = _said(there.groups, told, self._clock.now())
                principal_store.note_groups(tx, there.principal_id, said)


def _said(before: Mapping[str, int], told: ExternalIdentity, now: int) -> Mapping[str, int]:
    """The groups of a principal, with the ends of the tokens that say so, once one more token has come.

    A principal may have several tokens, and an older one, or one for another purpose, may say less. So a group counts
    until no token that says it can be used, and another one without it has come since. Ends are whole hours, so that
    not every token has something written.
    """
    until = -(-told.expire_time // _HOUR_MS) * _HOUR_MS
    kept = {name: end for name, end in before.items() if end > now or not told.says_groups}
    return kept | {name: max(until, kept.get(name, 0)) for name in told.groups}


def _known(tx: Transaction, identity: Identity) -> Known:
    return Known(identity, grants.effective(tx, identity.principal_id, identity.groups))


def _refused(why: str, **fields: object) -> CredentialInvalid:
    """The refusal of a credential. The answer never says why; the log does, for debugging, without its text."""
    _log.debug("credential.refused", why=why, **fields)
    return CredentialInvalid()


def _unfit(found: store.Credential) -> str:
    """Why an API token is refused whose text has not ended; empty if it is not."""
    if found.token.revoke_time is not None:
        return "it was revoked"
    return _DISABLED if found.principal.is_disabled else ""


def _end(found: store.Credential, digest: str) -> int:
    """When the text with this digest ends, in milliseconds."""
    if hmac.compare_digest(found.digest, digest):
        return found.token.expire_time
    if hmac.compare_digest(found.former_digest, digest):
        return min(found.former_until, found.token.expire_time)
    return 0


def _free_name(tx: Transaction, name: str) -> str:
    """The name, or with ` (2)` and so on if it is taken."""
    number, free = 1, name[:KEY_LENGTH].strip()
    while principal_store.by_name(tx, free) is not None:
        number += 1
        ending = f" ({number})"
        free = name[: KEY_LENGTH - len(ending)].strip() + ending
    return free
