"""`replaced_folder` of WriteArtifacts: the files of a stream in place of all that was in a folder."""

from __future__ import annotations

from functools import partial

import pytest

from modelry.api.artifacts import v1 as api
from modelry_server.kernel.ids import new_id
from tests.contract.artifacts.conftest import Client, Owner, Step, file_steps, refused

OLD = {"model/MLmodel": b"old", "model/model.pkl": b"pickle", "model/data": b"file", "notes.txt": b"stay"}
NEW = {"model/MLmodel": b"new", "model/data/model.skops": b"skops"}


def test_a_stream_replaces_a_folder(client: Client, run: Owner) -> None:
    client.write(run, OLD)

    first = client.write(run, NEW, "model")
    again = client.write(run, NEW, "model")

    assert (first.file_count, first.size_bytes) == (again.file_count, again.size_bytes) == (2, 8)
    assert client.read(run) == NEW | {"notes.txt": b"stay"}
    assert [client.get(run, path).file_count for path in ("", "model", "model/data")] == [3, 2, 1]
    assert client.list(run, "model") == ["model/MLmodel", "model/data"]


def test_without_a_replaced_folder_files_are_added(client: Client, run: Owner) -> None:
    client.write(run, {"model/a": b"1"})

    client.write(run, {"model/b": b"2"})

    assert client.read(run) == {"model/a": b"1", "model/b": b"2"}


def test_a_stream_without_files_leaves_the_folder_empty(client: Client, run: Owner) -> None:
    client.write(run, OLD)

    assert client.write(run, {}, "model").file_count == 0

    assert client.list(run) == ["notes.txt"]
    assert refused(lambda: client.get(run, "model")).reason == "ARTIFACT_NOT_FOUND"


@pytest.mark.parametrize("path", ["model", "modelx/a", "notes.txt", "model-b/c"])
def test_a_file_outside_of_the_replaced_folder_is_refused(client: Client, run: Owner, path: str) -> None:
    client.write(run, OLD)

    answer = refused(lambda: client.write(run, {"model/fine": b"x", path: b"y"}, "model"))

    assert (answer.code, answer.reason, answer.fields) == ("INVALID_ARGUMENT", "FIELD_INVALID", ["header.path"])
    assert client.read(run) == OLD


@pytest.mark.parametrize("path", ["../model", "model/", "/model", "a//b", ".", "a/%2e%2e/b", "a\\b"])
def test_a_bad_replaced_folder_is_refused(client: Client, run: Owner, path: str) -> None:
    answer = refused(lambda: client.write(run, {"model/a": b"x"}, path))

    assert (answer.code, answer.reason, answer.fields) == ("INVALID_ARGUMENT", "PATH_INVALID", ["replaced_folder"])
    assert client.list(run) == []


def test_a_replaced_folder_comes_with_the_owner_or_not_at_all(client: Client, run: Owner) -> None:
    client.write(run, OLD)
    header, *rest = file_steps("model/a", b"x")
    last = Step(sent_file_count=1)
    late = Step(header=header.header, replaced_folder="model")
    end = Step(sent_file_count=1, replaced_folder="model")

    for steps in ([late, *rest, last], [header, *rest, end]):
        answer = refused(partial(client.send, [Step(owner=run)], steps))
        assert (answer.code, answer.reason, answer.fields) == ("INVALID_ARGUMENT", "FIELD_INVALID", ["replaced_folder"])
    assert refused(lambda: client.send([Step(replaced_folder="model")])).fields == ["owner"]
    assert client.read(run) == OLD


def test_a_stream_that_breaks_off_replaces_nothing(client: Client, run: Owner) -> None:
    client.write(run, OLD)

    answer = refused(lambda: client.send([Step(owner=run, replaced_folder="model")], file_steps("model/a", b"x")))

    assert answer.reason == "UPLOAD_BROKEN_OFF"
    assert client.read(run) == OLD


def test_a_version_keeps_what_is_replaced_in_its_run_and_is_never_replaced_itself(client: Client, run: Owner) -> None:
    version = Owner(version_id=new_id())
    client.write(run, OLD)
    client.freeze(version.version_id, run, "model")

    client.write(run, NEW, "model")

    frozen = {"MLmodel": b"old", "model.pkl": b"pickle", "data": b"file"}
    assert client.read(version) == frozen
    later = Owner(version_id=new_id())
    client.freeze(later.version_id, run, "model")
    assert client.read(later) == {"MLmodel": b"new", "data/model.skops": b"skops"}
    assert refused(lambda: client.write(version, {"d/x": b"x"}, "d")).reason == "OWNER_FROZEN"
    assert client.read(version) == frozen
    kind = client.get(version, "data").kind
    assert kind == api.ARTIFACT_KIND_FILE


def test_a_model_replaces_the_one_before_and_nothing_else(client: Client, run: Owner) -> None:
    others = {"model/vocab.json": b"v", "model/best/MLmodel": b"another"}
    client.write(run, others)
    client.write(run, OLD)
    steps = [step for path, content in NEW.items() for step in file_steps(path, content)]
    first = Step(owner=run, replaced_folder="model", replaced_with=["model/MLmodel"])

    for _ in range(2):
        client.send([first], steps, [Step(sent_file_count=len(NEW))])

    assert client.read(run) == NEW | others | {"notes.txt": b"stay"}


@pytest.mark.parametrize(
    ("folder", "files"),
    [("", ["model/MLmodel"]), ("model", ["MLmodel"]), ("model", [f"model/{n}" for n in range(101)])],
)
def test_files_that_name_nothing_in_the_folder_are_refused(
    client: Client, run: Owner, folder: str, files: list[str]
) -> None:
    first = Step(owner=run, replaced_folder=folder, replaced_with=files)

    answer = refused(lambda: client.send([first], file_steps("model/a", b"x"), [Step(sent_file_count=1)]))

    assert (answer.code, answer.reason, answer.fields) == ("INVALID_ARGUMENT", "FIELD_INVALID", ["replaced_with"])
    assert client.list(run) == []
