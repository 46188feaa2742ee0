"""`modelry artifact`: the files of runs and of model versions."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modelry_cli.options import Limit, Yes, agreed
from modelry_cli.session import Session, asks
from modelry_cli.terminal import output
from modelry_cli.terminal.output import Column
from modelry_cli.terminal.words import counted, size

if TYPE_CHECKING:
    from modelry.types import Artifact

app = typer.Typer(help="Files of runs and of model versions.", no_args_is_help=True)

SHOWN_BYTES = 4 << 20
"""How much of a file is shown on a terminal at most."""
Owner = Annotated[
    str,
    typer.Argument(
        help="Whose files: runs/RUN_ID (or RUN_ID), versions/VERSION_ID, or a URI such as models:/NAME@ALIAS.",
        metavar="OWNER",
    ),
]
ArtifactPath = Annotated[str, typer.Argument(help="A file or folder of the owner; empty for all.", metavar="PATH")]


@asks(app, "list")
def list_artifacts(
    session: Session,
    owner: Owner,
    path: ArtifactPath = "",
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="All files, at any depth.")] = False,
    limit: Limit = None,
) -> None:
    """Lists the files and folders in a folder."""
    columns: list[Column[Artifact]] = [
        Column("PATH", lambda artifact: artifact.path + ("/" if artifact.kind == "folder" else ""), wraps=True),
        Column("SIZE", lambda artifact: size(artifact.size_bytes)),
        Column("FILES", lambda artifact: artifact.file_count if artifact.kind == "folder" else ""),
        Column("TYPE", lambda artifact: artifact.content_type, spare=2),
        Column("SHA-256", lambda artifact: artifact.sha256[:12], spare=3),
        Column("CREATED", lambda artifact: artifact.create_time, spare=1),
    ]
    whose = _owner(session, owner)
    found = session.client.artifacts.list(whose, path, recursive=recursive)
    if path and not found[:1]:
        session.client.artifacts.get(whose, path)  # refuses a path that does not exist
    session.show_all(found, columns, limit=limit, nothing="No files.")


@asks(app, "get")
def get_artifact(session: Session, owner: Owner, path: ArtifactPath = "") -> None:
    """Shows the metadata of a file or folder, without content."""
    session.show(session.client.artifacts.get(_owner(session, owner), path))


@asks(app, "read")
def read_artifact(
    session: Session,
    owner: Owner,
    path: ArtifactPath,
    force: Annotated[bool, typer.Option("--force", help="Show it on a terminal, whatever it is.")] = False,
) -> None:
    """Writes the content of a file to standard output.

    A terminal gets text of at most 4 MiB, a file or a pipe gets anything.
    """
    whose = _owner(session, owner)
    artifacts = session.client.artifacts
    judged = output.is_terminal() and not force
    if judged and (found := artifacts.get(whose, path)).size_bytes > SHOWN_BYTES and found.kind != "folder":
        raise _not_for_a_terminal(f"has {size(found.size_bytes)}", owner, path)
    content = artifacts.read_bytes(whose, path)
    if judged and not output.is_text(content):
        raise _not_for_a_terminal("is not text", owner, path)
    output.write_bytes(content)


@asks(app, "upload")
def upload_artifacts(
    session: Session,
    owner: Owner,
    local: Annotated[Path, typer.Argument(help="A file or folder on this machine.", metavar="LOCAL")],
    path: Annotated[str, typer.Argument(help="The folder of the owner to put it in.", metavar="PATH")] = "",
    replace: Annotated[
        bool, typer.Option("--replace", help="Delete what else is in the folder PATH, in the same moment.")
    ] = False,
) -> None:
    """Uploads a file, or the content of a folder, into a folder of the owner."""
    if replace and not path:
        raise typer.BadParameter("--replace needs a PATH, the folder that is replaced; the root never is")
    if not local.exists():
        output.refuse(f"{local} does not exist; name a file or folder on this machine")
        raise typer.Exit(1)
    to = _owner(session, owner)
    with output.progress(f"Uploading {local.name}") as progress:
        written = session.client.artifacts.upload(to, local, path, replace=replace, progress=progress)
    if local.is_dir() and not any(files for _, _, files in os.walk(local, followlinks=True)):
        # The owner has no folder that could be empty, apart from those below it.
        kept = f"uploaded it as one to {to}/{path}" if written.file_count else f"there is nothing to upload to {to}/"
        told = f"{local} is an empty folder: {kept}"
    else:
        told = f"Uploaded {counted(written.file_count, 'file')}, {size(written.size_bytes)}, to {to}/{path}"
    session.done(
        told,
        owner=to,
        path=path,
        file_count=written.file_count,
        size_bytes=written.size_bytes,
    )


@asks(app, "download")
def download_artifacts(
    session: Session,
    owner: Owner,
    path: ArtifactPath = "",
    to: Annotated[
        Path, typer.Option(help="The folder to put it in; it is created if missing.", metavar="FOLDER")
    ] = Path("."),
) -> None:
    """Downloads a file, or the content of a folder, verified by SHA-256. Resumes an interrupted download."""
    if to.exists() and not to.is_dir():
        output.refuse(f"{to} is a file; --to must name a folder")
        raise typer.Exit(1)
    whose = _owner(session, owner)
    with output.progress(f"Downloading {path}".rstrip()) as progress:
        written = session.client.artifacts.download(whose, path, to, progress=progress)
    session.done(f"Downloaded {whose}/{path} to {written}", owner=whose, path=path, local_path=str(written))


@asks(app, "delete")
def delete_artifact(session: Session, owner: Owner, path: ArtifactPath, yes: Yes = False) -> None:
    """Deletes a file, or a folder with everything in it."""
    whose = _owner(session, owner)
    agreed(f"Delete {path!r} of {whose}?", yes)
    count = session.client.artifacts.delete(whose, path)
    session.done(f"Deleted {counted(count, 'file')}: {whose}/{path}", owner=whose, path=path, file_count=count)


def _not_for_a_terminal(what: str, owner: str, path: str) -> typer.Exit:
    words = shlex.join((owner, path))
    output.refuse(
        f"{path} {what}, so it is not written to the terminal; get it as a file: `modelry artifact download {words}`, "
        f"send it to a program: `modelry artifact read {words} | PROGRAM`, or show it all the same: --force"
    )
    return typer.Exit(1)


def _owner(session: Session, word: str) -> str:
    if word.startswith("models:"):
        return session.client.versions.resolve(word).owner
    return word if "/" in word else f"runs/{word}"
