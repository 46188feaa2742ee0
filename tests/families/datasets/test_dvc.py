"""The real DVC, with MinIO as its remote."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import modelry
from modelry import Client
from modelry.errors import DvcContentMissing, DvcNotTracked, LocalFileChanged
from tests.parts import minio
from tests.parts.deployment import REPOSITORY, Deployment
from tests.parts.minio import MinioServer

EXAMPLE = REPOSITORY / "clients" / "examples" / "dvc_pipeline"
SOURCES = os.pathsep.join(str(REPOSITORY / each) for each in ("clients/python", "clients/cli", "services"))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinioServer]:
    with minio.running(tmp_path_factory.mktemp("minio")) as server:
        yield server


class Checkout:
    """A repository of Git and DVC with the files of the example."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self._environment = environment

    def run(self, *words: str) -> str:
        ran = subprocess.run(
            words, cwd=self.folder, env=self._environment, capture_output=True, text=True, timeout=110, check=False
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout.strip()

    def dvc(self, *words: str) -> str:
        return self.run(sys.executable, "-m", "dvc", *words)

    def commit(self) -> str:
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--message", "work")
        return self.run("git", "rev-parse", "HEAD")


@pytest.fixture
def checkout(tmp_path: Path, store: MinioServer, platform: Deployment) -> Checkout:
    home, folder, bin_ = (tmp_path / name for name in ("home", "work", "bin"))
    home.mkdir()
    bin_.mkdir()
    (bin_ / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (bin_ / "python").chmod(0o755)
    shutil.copytree(EXAMPLE, folder)
    (folder / "data").mkdir()
    rows = "".join(f"{area},{1000 * area + 500}\n" for area in range(40, 140))
    (folder / "data" / "houses.csv").write_text(f"area,price\n{rows}")
    made = Checkout(
        folder,
        {
            **{key: value for key, value in os.environ.items() if not key.startswith(("MODELRY_", "AWS_"))},
            **platform.environment(),
            **{
                f"GIT_{who}_{what}": "test@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
            },
            "AWS_ACCESS_KEY_ID": store.access_key,
            "AWS_SECRET_ACCESS_KEY": store.secret_key,
            "AWS_EC2_METADATA_DISABLED": "true",
            "DVC_NO_ANALYTICS": "1",
            "HOME": str(home),
            "MODELRY_SPOOL_DIR": str(tmp_path / "spool"),
            "PATH": f"{bin_}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": SOURCES,
        },
    )
    made.run("git", "init", "--quiet")
    made.run("git", "remote", "add", "origin", "https://user:s3cr3t@example.com/houses.git")
    made.dvc("init", "--quiet")
    made.dvc("remote", "add", "--default", "store", f"s3://{store.new_bucket()}/dvc")
    made.dvc("remote", "modify", "store", "endpointurl", store.endpoint)
    made.dvc("config", "core.check_update", "false")
    made.dvc("add", "--quiet", "data/houses.csv")
    return made


def test_the_stages_of_a_pipeline_log_what_they_read(checkout: Checkout, client: Client, store: MinioServer) -> None:
    revision = checkout.commit()
    checkout.dvc("repro")
    checkout.dvc("push")

    raw = modelry.data.from_dvc(checkout.folder / "data" / "houses.csv")
    prepared = modelry.data.from_dvc(checkout.folder / "data" / "prepared")
    runs = {
        run.name: run
        for digest in (raw.digest, prepared.digest)
        for run in client.runs.search(filter=f"datasets.digest = '{digest}'")
    }
    logged = {name: (run.datasets[0].dataset, run.datasets[0].context) for name, run in runs.items()}
    origin, stage = (json.loads(logged[name][0].source) for name in ("prepare", "train"))

    assert {name: (dataset.digest, context) for name, (dataset, context) in logged.items()} == {
        "prepare": (raw.digest, "raw"),
        "train": (prepared.digest, "training"),
    }
    assert prepared.digest.endswith(".dir")
    assert (origin["revision"], origin["repository"]) == (revision, "https://example.com/houses.git")
    assert (origin["remote"], stage["stage"], stage["path"]) == ("store", "prepare", "data/prepared")
    bucket, _, key = origin["url"].removeprefix("s3://").partition("/")
    content = (checkout.folder / "data" / "houses.csv").read_bytes()
    assert store.client().get_object(bucket, key).data == content
    assert json.loads(raw.profile) == {"size_bytes": len(content), "num_files": 1}
    assert runs["train"].metrics["mean_absolute_error"] < 100


def test_a_copy_that_is_changed_or_missing_is_told_with_what_to_run(checkout: Checkout) -> None:
    checkout.commit()
    checkout.dvc("repro")
    checkout.dvc("push")
    houses, prepared = checkout.folder / "data" / "houses.csv", checkout.folder / "data" / "prepared"
    before = modelry.data.from_dvc(houses).digest

    (prepared / "test.csv").write_text("changed")
    with pytest.raises(LocalFileChanged, match=r"differs in test\.csv.*dvc checkout --force data/prepared"):
        modelry.data.from_dvc(prepared)
    assert modelry.data.from_dvc(prepared, check=False).digest.endswith(".dir")
    checkout.dvc("checkout", "--force", "data/prepared")
    assert modelry.data.from_dvc(prepared).digest.endswith(".dir")

    houses.unlink()
    with pytest.raises(DvcContentMissing, match=r"run: dvc checkout data/houses\.csv"):
        modelry.data.from_dvc(houses)
    shutil.rmtree(checkout.folder / ".dvc" / "cache")
    with pytest.raises(DvcContentMissing, match=r"nor in the cache; run: dvc pull data/houses\.csv"):
        modelry.data.from_dvc(houses)
    assert modelry.data.from_dvc(prepared).digest.endswith(".dir")  # also without its listing
    checkout.dvc("pull", "data/houses.csv")
    assert modelry.data.from_dvc(houses).digest == before


def test_what_is_not_tracked_yet_is_told_with_what_to_run(checkout: Checkout) -> None:
    (checkout.folder / "more.csv").write_text("a\n")

    with pytest.raises(DvcNotTracked, match="run: dvc repro prepare"):
        modelry.data.from_dvc(checkout.folder / "data" / "prepared")
    with pytest.raises(DvcNotTracked, match=r"run: dvc add more\.csv"):
        modelry.data.from_dvc(checkout.folder / "more.csv")
