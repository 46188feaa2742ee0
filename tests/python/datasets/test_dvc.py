"""Datasets that DVC tracks, by the files that it writes: tests/families/datasets has the real one."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path

import pytest

import modelry
from modelry import Client
from modelry.errors import DvcContentMissing, DvcNotTracked, InvalidArgument, LocalFileChanged

CONTENT = b"area,price\n40,40500\n"
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text(
        "[core]\n    remote = part\n['remote \"store\"']\n    url = s3://key:s3cr3t@bucket/dvc\n"
        "['remote \"part\"']\n    url = remote://store/part\n"
    )
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "houses.csv").write_bytes(CONTENT)
    track(tmp_path, "hash: md5")
    return tmp_path


def track(root: Path, more: str, digest: str = f"md5: {MD5}") -> None:
    (root / "data" / "houses.csv.dvc").write_text(
        f"outs:\n- {digest}\n  size: {len(CONTENT)}\n  path: houses.csv\n  {more}\n"
    )


@pytest.mark.parametrize("name", ["houses.csv", "houses.csv.dvc"])
def test_a_tracked_file_has_the_digest_of_dvc_and_the_place_where_it_is_kept(repository: Path, name: str) -> None:
    dataset = modelry.data.from_dvc(repository / "data" / name)

    source = json.loads(dataset.source)
    assert (dataset.name, dataset.digest, dataset.source_type) == ("data/houses.csv", MD5, "dvc")
    assert source["remote"] == "part"
    assert source["url"] == f"s3://bucket/dvc/part/files/md5/{MD5[:2]}/{MD5[2:]}"
    assert "s3cr3t" not in dataset.source
    assert json.loads(dataset.profile) == {"size_bytes": len(CONTENT), "num_files": 1}


def test_a_file_that_an_old_dvc_tracked_has_its_place_and_its_line_ends(repository: Path) -> None:
    (repository / "data" / "houses.csv").write_bytes(CONTENT.replace(b"\n", b"\r\n"))
    track(repository, "remote: store")

    dataset = modelry.data.from_dvc(repository / "data" / "houses.csv")

    assert json.loads(dataset.source)["url"] == f"s3://bucket/dvc/{MD5[:2]}/{MD5[2:]}"


def test_the_output_of_a_stage_is_found_in_dvc_lock(repository: Path) -> None:
    (repository / "made.csv").write_bytes(CONTENT)
    (repository / "dvc.yaml").write_text("stages:\n  make:\n    cmd: x\n    outs: [made.csv, later.csv]\n")
    out = f"{{path: made.csv, hash: md5, md5: {MD5}, size: {len(CONTENT)}}}"
    (repository / "dvc.lock").write_text(f"schema: '2.0'\nstages:\n  make:\n    cmd: x\n    outs: [{out}]\n")

    dataset = modelry.data.from_dvc(repository / "made.csv")

    assert (json.loads(dataset.source)["stage"], dataset.digest) == ("make", MD5)
    with pytest.raises(DvcNotTracked, match="run: dvc repro make"):
        modelry.data.from_dvc(repository / "later.csv")


def test_a_changed_or_missing_copy_is_refused(repository: Path) -> None:
    houses = repository / "data" / "houses.csv"

    houses.write_bytes(CONTENT.replace(b"4", b"5"))
    with pytest.raises(LocalFileChanged, match=r"run: dvc add data/houses\.csv"):
        modelry.data.from_dvc(houses)
    houses.write_bytes(CONTENT + b"more")
    with pytest.raises(LocalFileChanged, match=r"has 24 bytes, but data/houses\.csv\.dvc has 20 bytes"):
        modelry.data.from_dvc(houses)
    houses.unlink()
    with pytest.raises(DvcContentMissing, match=r"nor in the cache; run: dvc pull data/houses\.csv"):
        modelry.data.from_dvc(houses)
    assert modelry.data.from_dvc(houses, check=False).digest == MD5


@pytest.mark.parametrize(
    ("document", "kind", "said"),
    [
        ("outs: [{path: houses.csv}]", DvcNotTracked, "no MD5"),
        ("outs: [{path: houses.csv, etag: x}]", DvcNotTracked, "another kind"),
        ("outs: [{path: houses.csv, md5: ../../../x.dir}]", InvalidArgument, "expected 32 hexadecimal digits"),
        (f"outs: [{{path: houses.csv, md5: {MD5}/../x}}]", InvalidArgument, "expected 32 hexadecimal digits"),
        (f"outs: [{{path: houses.csv, md5: {MD5}.dir.dir}}]", InvalidArgument, "expected 32 hexadecimal digits"),
        (f'outs: [{{path: houses.csv, md5: "{MD5}\\n"}}]', InvalidArgument, "expected 32 hexadecimal digits"),
        ("outs: [", InvalidArgument, "no YAML that can be read"),
        ("words", InvalidArgument, "no file of DVC"),
    ],
)
def test_a_file_of_dvc_without_a_digest_is_refused(
    repository: Path, document: str, kind: type[Exception], said: str
) -> None:
    (repository / "data" / "houses.csv.dvc").write_text(document)

    with pytest.raises(kind, match=said):
        modelry.data.from_dvc(repository / "data" / "houses.csv", check=False)


def test_what_is_not_tracked_is_refused_with_what_to_run(
    repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    (repository / "more.csv").write_text("x")

    with pytest.raises(DvcNotTracked, match=r"run: dvc add more\.csv"):
        modelry.data.from_dvc(repository / "more.csv")
    with pytest.raises(DvcNotTracked, match="does not exist"):
        modelry.data.from_dvc(repository / "moer.csv")
    with pytest.raises(DvcNotTracked, match="in no repository of DVC"):
        modelry.data.from_dvc(tmp_path_factory.mktemp("other") / "x.csv")


@pytest.mark.usefixtures("fluent")
def test_a_run_takes_paths_and_tells_what_it_can_not_take(
    repository: Path, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "modelry"), modelry.start_run() as run:
        modelry.log_input(repository / "data" / "houses.csv.dvc", "dvc")
        modelry.log_input(str(repository / "data" / "houses.csv"), "file")
        modelry.log_input("s3://bucket/a.csv")
        modelry.log_input("no such file")

    used = {each.context: each.dataset.digest for each in client.runs.get(run.run_id).datasets}
    assert used == {"dvc": MD5, "file": hashlib.sha256(CONTENT).hexdigest()}
    assert len([text for text in caplog.messages if "s3://bucket/a.csv" in text or "no such file" in text]) == 2
