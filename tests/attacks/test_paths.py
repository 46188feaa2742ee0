"""A caller tries to reach files by their paths: all of an installation, or those of the server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modelry.api.artifacts import v1 as artifacts
from modelry.api.registry import v1 as registry
from tests.attacks.conftest import Scene
from tests.parts.refusal import Refusal
from tests.server.every_rpc import CONTENT, FILE, FILE_OF_VERSION

SERVICE = "artifacts.v1.ArtifactService"
ROOTS = [".", "./.", ".//", "/", "//", "..", "%2e", "%2E%2E", "\\", "\u2024", "workspaces/default"]
OWNERS: list[dict[str, str]] = [{}, {"run_id": "."}, {"run_id": "%2e"}, {"run_id": "*"}, {"version_id": ".."}]


def files_of(scene: Scene) -> list[str]:
    """The files of the run and of the version that are attacked."""
    found = []
    for owner in (scene.things.files, scene.things.files_of_version):
        request = artifacts.ListArtifactsRequest(owner=owner, recursive=True)
        found += [each.path for each in scene.ask(scene.victim, f"{SERVICE}/ListArtifacts", request).artifacts]
    return found


@pytest.mark.parametrize("path", ROOTS)
def test_p02_the_root_is_not_a_path(scene: Scene, path: str) -> None:
    before = files_of(scene)
    for who, owner in ((scene.attacker, scene.own.files), (scene.victim, scene.things.files)):
        request = artifacts.DeleteArtifactRequest(owner=owner, path=path)
        refusal = scene.refusal(who, f"{SERVICE}/DeleteArtifact", request)
        assert refusal.code == ("NOT_FOUND" if path == "workspaces/default" else "INVALID_ARGUMENT"), refusal

    assert FILE in before
    assert files_of(scene) == before


@pytest.mark.parametrize("owner", OWNERS, ids=str)
def test_p02_a_path_without_an_owner_is_none(scene: Scene, owner: dict[str, str]) -> None:
    before = files_of(scene)
    given = artifacts.ArtifactOwner(**owner)
    for rpc, request in (
        ("DeleteArtifact", artifacts.DeleteArtifactRequest(owner=given, path=FILE)),
        ("DeleteArtifact", artifacts.DeleteArtifactRequest(owner=given, path="")),
        ("ListArtifacts", artifacts.ListArtifactsRequest(owner=given, recursive=True)),
        ("ReadArtifacts", artifacts.ReadArtifactsRequest(owner=given, path=FILE)),
        ("GetArtifact", artifacts.GetArtifactRequest(owner=given, path=FILE)),
        ("WriteArtifacts", [artifacts.WriteArtifactsRequest(owner=given, replaced_folder="")]),
    ):
        for who in (scene.attacker, scene.locked.admin):
            assert scene.refusal(who, f"{SERVICE}/{rpc}", request).code in ("INVALID_ARGUMENT", "NOT_FOUND"), rpc

    assert files_of(scene) == before


def test_p02_the_empty_path_deletes_no_more_than_its_owner_has(scene: Scene) -> None:
    before = files_of(scene)

    scene.answer(
        scene.attacker,
        f"{SERVICE}/DeleteArtifact",
        artifacts.DeleteArtifactRequest(owner=scene.own.files_of_version, path=""),
    )
    answer = scene.answer(
        scene.attacker, f"{SERVICE}/DeleteArtifact", artifacts.DeleteArtifactRequest(owner=scene.own.files, path="")
    )

    assert isinstance(answer, Refusal)
    assert answer.code == "INVALID_ARGUMENT"
    assert files_of(scene) == before


def test_p10_no_rpc_reads_a_file_of_the_server(scene: Scene) -> None:
    folder = scene.locked.deployment.folder
    wanted = [*(path for path in folder.iterdir() if path.is_file()), Path("/etc/passwd"), Path("/proc/self/environ")]
    assert any(path.suffix == ".db" for path in wanted)
    names: list[str] = []
    for path in wanted:
        up = "../" * 12
        names += [str(path), f"{up}{str(path)[1:]}", f"{FILE}/../{up}{str(path)[1:]}", f"file://{path}", path.name]
        names.append(f"%2e%2e%2f%2e%2e%2f{path.name}")
    for name in names:
        requests: list[tuple[str, Any]] = [
            ("ReadArtifacts", artifacts.ReadArtifactsRequest(owner=scene.own.files, path=name)),
            ("GetArtifact", artifacts.GetArtifactRequest(owner=scene.own.files, path=name)),
            ("ReadArtifacts", artifacts.ReadArtifactsRequest(owner=scene.own.files_of_version, path=name)),
        ]
        for rpc, request in requests:
            for who in (scene.attacker, scene.locked.admin):
                refusal = scene.refusal(who, f"{SERVICE}/{rpc}", request)
                assert refusal.code in ("INVALID_ARGUMENT", "NOT_FOUND"), (name, refusal)
        listed = artifacts.ListArtifactsRequest(owner=scene.own.files, path=name, recursive=True)
        answer = scene.answer(scene.attacker, f"{SERVICE}/ListArtifacts", listed)
        assert isinstance(answer, Refusal) or not answer.artifacts, name
        source = registry.VersionSource(run=registry.RunFiles(run_id=scene.own.run_id, path=name))
        created = registry.CreateVersionRequest(**scene.own.model, source=source)
        refusal = scene.refusal(scene.attacker, "registry.v1.VersionService/CreateVersion", created)
        assert refusal.code in ("INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION"), (name, refusal)
        assert str(folder) not in refusal.message or str(folder) in name


def test_p10_a_file_is_read_from_where_content_is_kept(scene: Scene) -> None:
    """The other side: what is read is the content that was sent, and it lies under the root of content."""
    request = artifacts.ReadArtifactsRequest(owner=scene.things.files_of_version, path=FILE_OF_VERSION)

    steps = scene.ask(scene.victim, f"{SERVICE}/ReadArtifacts", request)

    assert b"".join(step.content for step in steps) == CONTENT
