"""The errors of access that a caller can act on."""

from modelry_server.kernel.errors import AlreadyExists, Unauthenticated, Unavailable


class WorkspaceExists(AlreadyExists):
    """There is a workspace with this name already."""

    reason = "WORKSPACE_EXISTS"

    def __init__(self, name: str) -> None:
        super().__init__(f"the workspace {name!r} exists already; use it, or choose another name", workspace=name)


class TokenRefused(Unauthenticated):
    """The token of an OIDC issuer is not accepted. Every reason has the same answer; the debug log has the reason."""

    reason = "CREDENTIAL_INVALID"

    def __init__(self) -> None:
        super().__init__(
            "the credential of the call is not valid: it is unknown, damaged, expired or revoked; get a new one"
        )


class IssuerUnavailable(Unavailable):
    """The keys of an OIDC issuer can't be had now, so its token can be neither accepted nor refused."""

    reason = "SERVICE_UNAVAILABLE"

    def __init__(self, issuer: str) -> None:
        super().__init__(
            f"the keys of the issuer {issuer!r} can't be read now, so its tokens can't be checked; try again later",
            issuer=issuer,
        )
