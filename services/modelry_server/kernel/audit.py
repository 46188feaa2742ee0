"""Audit records: the text that is stored of each change, and the chain of digests that shows when one was altered.

`protos/modelry/api/common/v1/audit_record.proto` specifies both, and this is the only code that follows it. A service
says what was done to which thing; who did it, when and why is added here. The text is hashed as it is stored, so new
members can be added to it without a new rule.
"""

import hashlib
import json
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeAlias

from modelry_server.kernel.caller import Caller

DIGEST_VERSION = 1
"""The rule by which this version computes digests."""
ERASABLE = ("before", "after", "reason", "peer")
"""The texts of a record that can be erased: the body holds only a digest of each."""

Member: TypeAlias = str | int
"""A value in the body of a record."""

_DOMAIN = "modelry-audit-v1"
_LARGEST = 2**53 - 1  # RFC 8785 writes numbers as JavaScript does, which has no larger whole ones
_SALT_BYTES = 32
_SALT = re.compile(rf"[0-9a-f]{{{2 * _SALT_BYTES}}}")


@dataclass(frozen=True, slots=True)
class Record:
    """A record as it is stored. `body` is what the digest covers.

    `before` and `after` are JSON. Each of the `ERASABLE` texts can be erased together with its salt.
    """

    chain: str
    sequence: int
    previous_digest: str
    body: str
    digest: str
    before: str = ""
    before_salt: str = ""
    after: str = ""
    after_salt: str = ""
    reason: str = ""
    reason_salt: str = ""
    peer: str = ""
    peer_salt: str = ""
    digest_version: int = DIGEST_VERSION

    def members(self) -> Mapping[str, Member]:
        """What the body says, by the names of its members."""
        members: dict[str, Member] = json.loads(self.body)
        return members


@dataclass(frozen=True, slots=True)
class End:
    """The end of a chain, where the next record goes: sequence and digest of the last record; 0 and empty before it."""

    chain: str
    sequence: int = 0
    digest: str = ""

    def append(
        self,
        what: Mapping[str, Member],
        *,
        before: str = "",
        after: str = "",
        by: Caller,
        reason: str,
        now: int,
    ) -> tuple[Record, "End"]:
        """The next record of the chain, and the end of the chain after it.

        `what` holds the members that say what was changed, and no text that may have to be erased. `before` and `after`
        say how, as JSON. `now` is in milliseconds since the epoch.
        """
        texts = dict(zip(ERASABLE, (before, after, reason, by.peer), strict=True))
        salts = {name: _salt(text) for name, text in texts.items()}
        body = body_of(
            {
                **what,
                "actor": by.key,
                "create_time": _time(now),
                "credential_id": "" if by.identity is None else by.identity.credential_id,
                "credential_kind": by.credential.name,
                "trace_id": by.trace_id,
                **{f"{name}_digest": committed(salts[name], text) for name, text in texts.items()},
            }
        )
        sequence = self.sequence + 1
        digest = digest_of(self.chain, sequence, self.digest, body)
        record = Record(
            self.chain,
            sequence,
            self.digest,
            body,
            digest,
            before=before,
            before_salt=salts["before"],
            after=after,
            after_salt=salts["after"],
            reason=reason,
            reason_salt=salts["reason"],
            peer=by.peer,
            peer_salt=salts["peer"],
        )
        return record, End(self.chain, sequence, digest)


@dataclass(frozen=True, slots=True)
class Fault:
    """The first place where a chain is broken, and how."""

    sequence: int
    problem: str


def body_of(members: Mapping[str, Member]) -> str:
    """The members that are not empty as a JSON object (RFC 8785).

    Raises ValueError for what the contract does not allow there: names that are not ASCII, values other than texts and
    whole numbers below 2^53.
    """
    filled = {name: value for name, value in members.items() if value not in ("", 0)}
    for name, value in filled.items():
        allowed = isinstance(value, str) or (type(value) is int and abs(value) <= _LARGEST)
        if not name.isascii() or not allowed:
            raise ValueError(f"{name!r}: {value!r} can't stand in the body of an audit record")
    # For such members Python's JSON is that of RFC 8785: it sorts by bytes and escapes control characters alike.
    return json.dumps(filled, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest_of(chain: str, sequence: int, previous_digest: str, body: str) -> str:
    """The digest of a record."""
    return _sha256(f"{_DOMAIN}\n{chain}\n{sequence}\n{previous_digest}\n{body}")


def committed(salt: str, text: str) -> str:
    """What the body holds of a text that may have to be erased. Empty without a text."""
    return _sha256(f"{salt}\n{text}") if text else ""


def first_fault(chain: str, records: Iterable[Record]) -> Fault | None:
    """The first fault of a chain, whose records are given from the first one on. None if there is none.

    Records that were cut off at the end can't be seen: compare the last sequence and digest with what you know.
    """
    end = End(chain)
    for record in records:
        problem = _problem(end, record)
        if problem:
            return Fault(end.sequence + 1, problem)
        end = End(chain, record.sequence, record.digest)
    return None


def _problem(end: End, record: Record) -> str:
    """What is wrong with the record that follows the end of a chain. Empty if nothing is."""
    if record.sequence != end.sequence + 1:
        return f"the record is missing; the next one is {record.sequence}"
    if record.digest_version != DIGEST_VERSION:
        return f"the digest version {record.digest_version} is unknown to this program"
    if record.previous_digest != end.digest:
        return "the digest of the record before it does not match"
    if record.digest != digest_of(end.chain, record.sequence, end.digest, record.body):
        return "the digest does not match"
    members = record.members()
    for name in ERASABLE:
        text, salt = getattr(record, name), getattr(record, f"{name}_salt")
        erased = not salt and not text
        if salt and not _SALT.fullmatch(salt):  # else a part of the text could be moved into the salt
            return f"the salt of the {name} is not {2 * _SALT_BYTES} lower-case hexadecimal characters"
        if not erased and members.get(f"{name}_digest", "") != committed(salt, text):
            return f"the {name} does not match its digest"
    return ""


def _time(milliseconds: int) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    exact = datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest * 1000, tzinfo=None)
    return f"{exact.isoformat(timespec='milliseconds')}Z"


def _salt(text: str) -> str:
    return secrets.token_hex(_SALT_BYTES) if text else ""


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
