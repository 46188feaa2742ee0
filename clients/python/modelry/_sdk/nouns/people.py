"""Who is meant: a person or a service account, by its id or by its name."""

from __future__ import annotations

from modelry._sdk.nouns import arguments
from modelry._sdk.transport.connection import Connection
from modelry.api.access import v1 as access


def principal_id_of(connection: Connection, argument: str, given: str) -> str:
    """The id of the principal with this id or this name. What has the form of an id is taken as one.

    Raises InvalidArgument for an empty text, and PrincipalNotFound.
    """
    return given if arguments.is_run_id(given) else read_principal(connection, argument, given).principal_id


def read_principal(connection: Connection, argument: str, given: str) -> access.Principal:
    """The principal with this id or this name. Raises InvalidArgument for an empty text, and PrincipalNotFound."""
    if not given:
        raise arguments.refused(argument, given, "the id or the name of a person or a service account")
    request = access.GetPrincipalRequest()
    if arguments.is_run_id(given):
        request.principal_id = given
    else:
        request.name = given
    return connection.call(access.rpcs.GET_PRINCIPAL, request).principal
