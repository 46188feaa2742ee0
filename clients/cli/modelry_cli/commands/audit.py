"""`modelry audit`: the records of every change in the registry and in access."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelry_cli.names import Names
from modelry_cli.options import Limit, OfVersion
from modelry_cli.session import Session, asks, fields_of
from modelry_cli.terminal import output
from modelry_cli.terminal.output import Column, Format
from modelry_cli.terminal.words import counted, moment_of, said

if TYPE_CHECKING:
    from modelry.types import AuditRecord

app = typer.Typer(help="The records of every change in the registry and in access.", no_args_is_help=True)

_ERASED = "(erased)"

Model = Annotated[str, typer.Argument(help="The registered model.", metavar="MODEL")]
ModelId = Annotated[str, typer.Option(help="The id of the model, instead of its name; finds deleted models too.")]
OfAccess = Annotated[
    bool, typer.Option("--access", help="The changes in access: of workspaces, users, groups, tokens and roles.")
]


@asks(app, "list")
def list_records(
    session: Session,
    model: Model = "",
    number: OfVersion = None,
    model_id: ModelId = "",
    access: OfAccess = False,
    kind: Annotated[
        str,
        typer.Option(help="With --access: workspace, principal, group, token, role or role_binding.", metavar="KIND"),
    ] = "",
    of: Annotated[str, typer.Option("--of", help="With --kind: the id of the thing, or its name.", metavar="ID")] = "",
    limit: Limit = None,
) -> None:
    """Lists who changed what, when and why, the newest first: of a model, or with --access of access."""
    _need_one(model, model_id, access)
    if access and number is not None:
        raise typer.BadParameter("--number is for a model")
    if (kind and not access) or (of and not kind):
        raise typer.BadParameter("--kind is for --access, and --of for --kind")
    names = Names(session)
    columns: list[Column[AuditRecord]] = [
        Column("#", lambda record: record.sequence),
        Column("WHEN", lambda record: record.create_time, spare=1),
        Column("BY", lambda record: _actor_name(names, record) or record.actor),
        Column("ACTION", lambda record: record.action),
        *((Column("OF", lambda record: _thing(names, record), wraps=True),) if access else ()),
        *(() if access else (Column("VERSION", lambda record: record.version_number or ""),)),
        Column("CHANGE", _change, wraps=True),
        *(() if access else (Column("REASON", _reason, wraps=True),)),
    ]
    audit = session.client.audit
    found = audit.list_access(kind, of) if access else audit.list(model, number, model_id=model_id)

    def document(record: AuditRecord) -> dict[str, object]:
        found = {**fields_of(record), "actor_name": _actor_name(names, record)}
        return {**found, "principal_name": _principal_name(names, record)} if access else found

    session.show_all(found, columns, limit=limit, nothing="No records.", document=document)


@asks(app, "verify")
def verify_records(session: Session, model: Model = "", model_id: ModelId = "", access: OfAccess = False) -> None:
    """Recomputes the chain of digests of a model, or of access. Exit code 1 if a record does not fit.

    It can't notice that the newest records were removed, or that the whole chain was written anew: note down the last
    digest elsewhere and compare it later.
    """
    _need_one(model, model_id, access)
    audit = session.client.audit
    found = audit.verify_access() if access else audit.verify(model, model_id=model_id)
    if session.format is Format.JSON:
        session.show(found)
    elif found.intact:
        erased = f" {counted(found.erased_count, 'text')} erased." if found.erased_count else ""
        records = counted(found.record_count, "record")
        output.write_text(f"{records}, all intact.{erased} Last digest: {found.last_digest}")
    if not found.intact:
        output.refuse(f"the audit records are broken: {found.problem}")
        raise typer.Exit(1)


def _need_one(model: str, model_id: str, access: bool) -> None:
    if sum(map(bool, (model, model_id, access))) != 1:
        raise typer.BadParameter("give the name of the model, its --model-id, or --access")


def _actor_name(names: Names, record: AuditRecord) -> str:
    """The name of who made a change. Without authentication it is the name that the client has claimed."""
    return record.actor if record.credential_kind == "NONE" else names.known(record.actor)


def _thing(names: Names, record: AuditRecord) -> str:
    """What was changed. Of a token also whose it is, and of a binding who has the role by it, and where."""
    from modelry.types import Place

    kind, state = record.resource_type.replace("_", " "), _texts_of(record)
    principal_name = _principal_name(names, record)
    if record.resource_type == "principal":
        return f"{kind} {principal_name or record.resource_id}"
    thing = f"{kind} {record.resource_name or record.resource_id}"
    if record.resource_type not in ("token", "role_binding"):
        return thing
    if principal_id := state.get("principal_id"):
        thing += f" of {principal_name or principal_id}"
    elif group := state.get("group"):
        thing += f" of group {group}"
    if record.resource_type == "token" or not state:
        return thing
    place = Place(*(state.get(key, "") for key in ("workspace", "experiment_id", "model_id")))
    return f"{thing}, {names.place(place)}"


def _principal_name(names: Names, record: AuditRecord) -> str:
    """The name of the principal that was changed, or that has the token or the binding. Empty if it can't be read.

    Only the creation of a principal has its name. Other records have ids, because names of people may be erased.
    """
    state = _texts_of(record)
    if record.resource_type == "principal":
        return state.get("name") or names.known(record.resource_id)
    return names.known(state.get("principal_id", ""))


def _texts_of(record: AuditRecord) -> dict[str, str]:
    """What a record says in texts of the thing that was changed."""
    return {key: value for key, value in (record.after or record.before).items() if isinstance(value, str)}


def _reason(record: AuditRecord) -> str:
    return _ERASED if "reason" in record.erased else record.reason


def _change(record: AuditRecord) -> str:
    """The difference between two states, as `field: old -> new`. A state without another is shown if it is short."""
    before, after = record.before, record.after
    if "before" in record.erased or "after" in record.erased:
        return _ERASED
    if not before or not after:
        state = dict(after or before)
        if record.resource_type == "principal":
            state.pop("name", None)  # the thing has it
        return said(state) if len(state) <= 2 else ""
    keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    return ", ".join(f"{key}: {_value(key, before)} -> {_value(key, after)}" for key in keys)


def _value(key: str, state: Mapping[str, Any]) -> str:
    value = state.get(key)
    return moment_of(value) if key.endswith("_time") and isinstance(value, int) else said(value) or "-"
