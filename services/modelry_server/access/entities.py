"""The entities of access. Times are milliseconds since the epoch."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Workspace:
    """A workspace, which separates the things of one team from those of others."""

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
class ExternalIdentity:
    """Who calls, as a configured OIDC issuer says. The issuer's URL and the subject together identify it for ever.

    `name` is for people and can change hands, as `email` can. `kind` is `user` or `service_account`. `token_id` is
    empty if the issuer gives its tokens none.
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
