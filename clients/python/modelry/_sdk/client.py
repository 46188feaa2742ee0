"""The client: all nouns of a server in one object."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from modelry._sdk.credentials import sources
from modelry._sdk.nouns import arguments
from modelry._sdk.transport import settings
from modelry._sdk.transport.connection import Connection, connect
from modelry._sdk.transport.tls import TlsFiles

if TYPE_CHECKING:
    from modelry._sdk.nouns.aliases import Aliases
    from modelry._sdk.nouns.artifacts import Artifacts
    from modelry._sdk.nouns.audit import Audit
    from modelry._sdk.nouns.datasets import Datasets
    from modelry._sdk.nouns.evaluations import Evaluations
    from modelry._sdk.nouns.events import Events
    from modelry._sdk.nouns.experiments import Experiments
    from modelry._sdk.nouns.groups import Groups
    from modelry._sdk.nouns.metrics import Metrics
    from modelry._sdk.nouns.models import Models
    from modelry._sdk.nouns.principals import Caller, Principals
    from modelry._sdk.nouns.promotions import Promotions
    from modelry._sdk.nouns.roles import Roles
    from modelry._sdk.nouns.runs import Runs
    from modelry._sdk.nouns.tokens import Tokens
    from modelry._sdk.nouns.versions import Versions
    from modelry._sdk.nouns.workspaces import Workspaces


class Client:
    """Everything that a server offers, by noun: `client.runs.get(...)`, `client.versions.search(...)`.

    `address` is a tracking URI. Default: the one of `set_tracking_uri`, else `MODELRY_TRACKING_URI`, else
    `grpc://127.0.0.1:5100`. If its services have addresses of their own, `MODELRY_ACCESS_URI`, `MODELRY_ARTIFACTS_URI`
    and `MODELRY_REGISTRY_URI` name them. `workspace` is where things are created and searched. Default:
    `MODELRY_WORKSPACE`, else `default`. Creating a client opens no connection. Plain text is sent to this machine only,
    unless `insecure` is true. `ca_file` has the authorities that certificates of servers must be from, and
    `client_certificate_file` with `client_key_file` show the server who calls, all as PEM. Default: `MODELRY_CA_FILE`,
    `MODELRY_CLIENT_CERTIFICATE_FILE` and `MODELRY_CLIENT_KEY_FILE`, else those that the system trusts, and none.

    `token` is the token of the calls. Default: that of `set_tracking_uri`, `MODELRY_TOKEN`, `MODELRY_TOKEN_FILE` or
    `modelry login`, see docs/credentials.md. It is never sent in plain text to another machine.

    Raises InvalidArgument for an address that can't be parsed, for a token that can't be one, for a workspace that is
    no text, and for a setting of the environment that can't be read. Every method raises ModelryError if the server
    refuses.
    """

    def __init__(
        self,
        address: str | None = None,
        workspace: str | None = None,
        *,
        insecure: bool | None = None,
        ca_file: str | None = None,
        client_certificate_file: str | None = None,
        client_key_file: str | None = None,
        token: str | None = None,
    ) -> None:
        chosen = settings.read()
        sources.check_environment()
        if token is not None:
            sources.checked("token", token)
        files = TlsFiles(ca_file or "", client_certificate_file or "", client_key_file or "")
        self._connection: Connection = connect(address, insecure=insecure, files=files, token=token)
        self.workspace: str = arguments.text("workspace", workspace or chosen.workspace)

    @cached_property
    def experiments(self) -> Experiments:
        """Experiments."""
        from modelry._sdk.nouns.experiments import Experiments

        return Experiments(self._connection, self.workspace)

    @cached_property
    def runs(self) -> Runs:
        """Runs, with their params, tags and summaries of metrics."""
        from modelry._sdk.nouns.runs import Runs

        return Runs(self._connection, self.workspace)

    @cached_property
    def metrics(self) -> Metrics:
        """Series of metric points."""
        from modelry._sdk.nouns.metrics import Metrics

        return Metrics(self._connection, self.workspace)

    @cached_property
    def datasets(self) -> Datasets:
        """Datasets that runs used."""
        from modelry._sdk.nouns.datasets import Datasets

        return Datasets(self._connection, self.workspace)

    @cached_property
    def workspaces(self) -> Workspaces:
        """Workspaces."""
        from modelry._sdk.nouns.workspaces import Workspaces

        return Workspaces(self._connection.of("access"), self.workspace, self._connection.of)

    @cached_property
    def principals(self) -> Principals:
        """People and service accounts."""
        from modelry._sdk.nouns.principals import Principals

        return Principals(self._connection.of("access"), self.workspace)

    @cached_property
    def groups(self) -> Groups:
        """Groups of people, of service accounts and of other groups."""
        from modelry._sdk.nouns.groups import Groups

        return Groups(self._connection.of("access"), self.workspace)

    @cached_property
    def tokens(self) -> Tokens:
        """API tokens."""
        from modelry._sdk.nouns.tokens import Tokens

        return Tokens(self._connection.of("access"), self.workspace)

    @cached_property
    def roles(self) -> Roles:
        """Roles, and who has them where."""
        from modelry._sdk.nouns.experiments import Experiments
        from modelry._sdk.nouns.models import Models
        from modelry._sdk.nouns.roles import Roles

        # Experiments and models are read only to find the ids of their names, in any workspace.
        return Roles(
            self._connection.of("access"),
            self.workspace,
            lambda name: (Experiments(self._connection, name), Models(self._connection.of("registry"), name)),
        )

    def whoami(self, workspace: str = "") -> Caller:
        """Says who calls, and what the caller may do, within a workspace if one is named."""
        return self.principals.whoami(workspace)

    @cached_property
    def artifacts(self) -> Artifacts:
        """Files of runs and model versions."""
        from modelry._sdk.nouns.artifacts import Artifacts

        # The versions are read only for files of a version, which are compared with its manifest.
        return Artifacts(
            self._connection.of("artifacts"),
            self.workspace,
            lambda version_id: self.versions.get(version_id=version_id),
        )

    @cached_property
    def models(self) -> Models:
        """Registered models."""
        from modelry._sdk.nouns.models import Models

        return Models(self._connection.of("registry"), self.workspace)

    @cached_property
    def versions(self) -> Versions:
        """Versions of registered models."""
        from modelry._sdk.nouns.versions import Versions

        # Runs and evaluations are read only to compare versions.
        return Versions(self._connection.of("registry"), self.workspace, lambda: (self.runs, self.evaluations))

    @cached_property
    def aliases(self) -> Aliases:
        """Names that point at versions."""
        from modelry._sdk.nouns.aliases import Aliases

        return Aliases(self._connection.of("registry"), self.workspace)

    @cached_property
    def promotions(self) -> Promotions:
        """Moves of versions between stages."""
        from modelry._sdk.nouns.promotions import Promotions

        return Promotions(self._connection.of("registry"), self.workspace)

    @cached_property
    def evaluations(self) -> Evaluations:
        """What versions were worth on data."""
        from modelry._sdk.nouns.evaluations import Evaluations

        return Evaluations(self._connection.of("registry"), self.workspace)

    @cached_property
    def audit(self) -> Audit:
        """The records of every change in the registry and in access."""
        from modelry._sdk.nouns.audit import Audit

        return Audit(self._connection.of("registry"), self.workspace, self._connection.of("access"))

    @cached_property
    def events(self) -> Events:
        """What happened in the registry, for programs that follow it."""
        from modelry._sdk.nouns.events import Events

        return Events(self._connection.of("registry"), self.workspace)

    def __repr__(self) -> str:
        """Names the address and the workspace."""
        return f"Client({self._connection.address.target!r}, workspace={self.workspace!r})"
