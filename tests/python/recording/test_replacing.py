"""What is logged as a whole, such as a model, replaces what was at its path: at once, later and by `sync`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

import modelry
from modelry import Client
from modelry._sdk.files.transfer import Replaced
from modelry._sdk.packaging import logged
from modelry._sdk.recording import sync
from modelry._sdk.spooling import kept
from tests.parts.deployment import Deployment
from tests.python.recording.scripts import PATIENCE_S, run_script, start_again, use

OLD, NEW = {"a": "old", "code/extra.py": "old", "data": "file"}, {"a": "new", "data/b": "folder"}

LOGGED = """
import modelry, pathlib
from modelry._sdk.packaging import logged

def log(**files):
    def save(folder):
        for name, text in files.items():
            path = pathlib.Path(folder, name.replace("__", "/"))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    logged.log_files(save, logged.Destination(name="model"), names=["a"])

with modelry.start_run() as run:
    print(run.id)
    log(a="old", extra="old")
    modelry.log_text("of the program", "model/notes.txt")
    log(a="new", deep__b="new")
    modelry.log_text("stays", "model/later.txt")
"""


def saving(files: dict[str, str]) -> Callable[[str], None]:
    """A function that writes files by path into a folder."""

    def save(folder: str) -> None:
        for name, text in files.items():
            Path(folder, name).parent.mkdir(parents=True, exist_ok=True)
            Path(folder, name).write_text(text)

    return save


def content(client: Client, owner: str, path: str = "") -> dict[str, str]:
    """The text of all files of an owner, by path."""
    found = client.artifacts.list(owner, path, recursive=True)
    return {each.path: client.artifacts.read_bytes(owner, each.path).decode() for each in found}


MODEL = Replaced("model", ("model/a",))


def below_model(files: dict[str, str]) -> dict[str, str]:
    return {f"model/{path}": text for path, text in files.items()}


def log(files: dict[str, str], *, synchronous: bool = True) -> None:
    logged.log_files(saving(files), logged.Destination(name="model"), names=["a"], synchronous=synchronous)


@pytest.mark.parametrize("synchronous", [True, False])
def test_the_second_replaces_the_first_and_a_version_in_between_keeps_its_files(
    own_on_sqlite: Deployment, unique: str, synchronous: bool
) -> None:
    client = use(own_on_sqlite)
    client.models.create(unique)
    with modelry.start_run() as run:
        owner = f"runs/{run.id}"
        modelry.log_text("stays", "models.txt")
        log(OLD, synchronous=synchronous)
        assert modelry.flush(PATIENCE_S)
        first = client.versions.create(unique, f"runs:/{run.id}/model")
        log(NEW, synchronous=synchronous)
        modelry.log_text("after it", "model/later.txt")
        assert modelry.flush(PATIENCE_S)
        second = client.versions.create(unique, f"runs:/{run.id}/model")

    assert content(client, owner) == below_model(NEW) | {"models.txt": "stays", "model/later.txt": "after it"}
    assert content(client, first.owner) == OLD
    assert content(client, second.owner) == NEW | {"later.txt": "after it"}


def test_what_a_client_logs_for_a_run_replaces_too(own_on_sqlite: Deployment) -> None:
    client = use(own_on_sqlite)
    run_id = client.runs.create("0").run_id

    for files in (OLD, NEW):
        logged.log_files(saving(files), logged.Destination(name="model", run_id=run_id, client=client), names=["a"])

    assert content(client, f"runs/{run_id}") == below_model(NEW)


def test_what_waits_in_the_spool_is_replaced_in_its_order(own_on_sqlite: Deployment) -> None:
    client = use(own_on_sqlite)
    own_on_sqlite.kill()
    with modelry.start_run() as run:
        log(OLD)
        modelry.log_text("of the program", "model/notes.txt")
        log(NEW)
        modelry.log_text("after it", "model/later.txt")
        start_again(own_on_sqlite)
        assert modelry.flush(PATIENCE_S)

    assert content(client, f"runs/{run.id}") == below_model(NEW) | {
        "model/notes.txt": "of the program",
        "model/later.txt": "after it",
    }


def test_sync_replaces_what_another_process_left(own_on_sqlite: Deployment, spool: Path) -> None:
    client = use(own_on_sqlite)
    address = own_on_sqlite.address
    own_on_sqlite.kill()
    done = run_script(LOGGED, address, spool, MODELRY_EXIT_TIMEOUT="100ms")
    assert done.returncode == 0, done.stderr
    assert [kept.opened(folder).replaces for folder in kept.left_in(spool)] == [MODEL, None, MODEL, None]
    start_again(own_on_sqlite)

    report = sync.deliver()

    assert (report.files_left, report.problems) == (0, ())
    expected = {
        "model/a": "new",
        "model/deep/b": "new",
        "model/notes.txt": "of the program",
        "model/later.txt": "stays",
    }
    assert content(client, f"runs/{done.stdout.split()[0]}") == expected


def test_the_pictures_of_a_table_replace_nothing(own_on_sqlite: Deployment) -> None:
    client = use(own_on_sqlite)
    picture = Image.new("RGB", (4, 2), "red")
    with modelry.start_run() as run:
        modelry.log_text("stays", "tables/notes.txt")
        modelry.log_table({"picture": [picture], "n": [1]}, "tables/a.json")
        modelry.log_table({"picture": [picture], "n": [2]}, "tables/b.json")

    owner = f"runs/{run.id}"
    pictures = [each.path for each in client.artifacts.list(owner, "table_images", recursive=True)]
    assert [each.path for each in client.artifacts.list(owner, "tables")] == [
        "tables/a.json",
        "tables/b.json",
        "tables/notes.txt",
    ]
    assert [sum(path.startswith(f"table_images/tables/{name}/") for path in pictures) for name in "ab"] == [2, 2]
