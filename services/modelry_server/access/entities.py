"""The nouns of access. Times are milliseconds since the epoch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from modelry_server.kernel.access import Place


@dataclass(frozen=True, slots=True)
class Quotas:
    """The most that a workspace may have, by the names of the contract; None: no limit."""

    run_count: int | None = None
    version_count: int | None = None
    stored_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Workspace:
    """A workspace, which separates the things of one team from those of others."""

    name: str
    description: str
    create_time: int
    update_time: int
    revision: int = 1
    quotas: Quotas = Quotas()

    @property
    def etag(self) -> str:
        """A text that differs after each change."""
        return str(self.revision)


class PrincipalKind(IntEnum):
    """What a principal stands for; the numbers are those of the contract."""

    USER = 1
    SERVICE_ACCOUNT = 2


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who calls. `issuer` and `external_id` are empty for one that has API tokens only.

    Credentials of the issuer count only if they were issued at `not_before` or later. `groups` are those that tokens
    of the issuer said, with the time until which one says so: by them others are judged who change something of this
    principal.
    """

    principal_id: str
    kind: PrincipalKind
    name: str
    display_name: str
    create_time: int
    update_time: int
    issuer: str = ""
    external_id: str = ""
    owner_id: str = ""
    is_disabled: bool = False
    not_before: int = 0
    revision: int = 1
    groups: Mapping[str, int] = field(default_factory=dict)

    @property
    def etag(self) -> str:
        """A text that differs after each change."""
        return str(self.revision)


@dataclass(frozen=True, slots=True)
class Group:
    """A group of principals and of other groups."""

    name: str
    description: str
    create_time: int
    update_time: int
    revision: int = 1

    @property
    def etag(self) -> str:
        """A text that differs after each change."""
        return str(self.revision)


@dataclass(frozen=True, slots=True)
class Member:
    """Who is in a group, or has a role: the id of a principal, or the name of a group."""

    name: str
    is_group: bool = False


@dataclass(frozen=True, slots=True)
class Token:
    """An API token, without its text. `workspaces` and `role_cap` are empty if it has no such cap.

    `lifetime_ms` is how long it may live from a rotation on that is made by means of the token itself. `creator_id` is
    empty if no principal made it. `is_invitation`: somebody else has made it as the first one of a person, who has not
    exchanged it yet.
    """

    token_id: str
    principal_id: str
    description: str
    hint: str
    create_time: int
    expire_time: int
    lifetime_ms: int
    role_cap: str = ""
    workspaces: Sequence[str] = ()
    creator_id: str = ""
    last_use_time: int | None = None
    revoke_time: int | None = None
    is_invitation: bool = False


@dataclass(frozen=True, slots=True)
class Role:
    """A set of permissions under a name."""

    name: str
    description: str
    permissions: Sequence[str]
    is_builtin: bool = False
    create_time: int = 0
    update_time: int = 0
    revision: int = 1

    @property
    def etag(self) -> str:
        """A text that differs after each change."""
        return str(self.revision)


@dataclass(frozen=True, slots=True)
class RoleBinding:
    """A role that a principal or group has at a place."""

    binding_id: str
    role: str
    subject: Member
    place: Place
    creator_id: str
    create_time: int


@dataclass(frozen=True, slots=True)
class ExternalIdentity:
    """Who calls, as a configured OIDC issuer says. The issuer's URL and the subject together identify it for ever.

    `name` is for people and can change hands, as `email` can. `kind` is `user` or `service_account`. `token_id` is
    empty if the issuer gives its tokens none. `says_groups` is false if the token says nothing of groups.
    """

    issuer_name: str
    issuer_url: str
    subject: str
    name: str
    display_name: str
    email: str
    groups: tuple[str, ...]
    kind: str
    issued_at: int
    expire_time: int
    token_id: str
    says_groups: bool = True
