"""`modelry://` for whatever opens files by fsspec."""

from __future__ import annotations

import io
import pickle
import tomllib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pandas
import polars
import pytest

import modelry
from modelry import Client, filesystem
from modelry.errors import InvalidArgument, ModelryError
from tests.parts.deployment import Deployment

ROOT = Path(__file__).parents[3]
CONTENT = bytes(range(256)) * 4096


def fails_after(file: Any) -> None:
    file.write("x" if isinstance(file, io.TextIOBase) else b"x")
    raise ZeroDivisionError


@pytest.fixture
def fs(fluent: None) -> Any:
    filesystem.register()
    return fsspec.filesystem("modelry")


@pytest.fixture
def run_id(client: Client) -> str:
    run_id = client.runs.create("0").run_id
    client.artifacts.upload_bytes(f"runs/{run_id}", "deep/a.bin", CONTENT)
    client.artifacts.upload_bytes(f"runs/{run_id}", "b.csv", b"x,y\n1,2\n")
    return run_id


@pytest.fixture
def version(client: Client, run_id: str, unique: str) -> str:
    client.models.create(unique)
    client.versions.create(unique, f"runs:/{run_id}/deep")
    client.aliases.set(unique, "champion", 1)
    return f"modelry://models/{unique}"


def test_the_distribution_says_where_the_file_system_is() -> None:
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["fsspec.specs"]

    module, _, name = table["modelry"].partition(":")
    assert getattr(import_module(module), name).protocol == "modelry"


def test_pandas_and_polars_read_and_write(fs: Any, run_id: str) -> None:
    frame = pandas.DataFrame({"a": [1, 2], "b": ["x", "ü"]})
    root = f"modelry://runs/{run_id}"

    frame.to_parquet(f"{root}/t/a.parquet")
    frame.to_csv(f"{root}/t/a.csv", index=False)
    frame.to_json(f"{root}/t/a.json")
    frame.to_pickle(f"{root}/t/a.pkl")
    frame.to_csv(f"{root}/t/a.csv.gz", index=False, compression="gzip")
    with fsspec.open(f"{root}/t/p.parquet", "wb") as file:
        polars.from_pandas(frame).write_parquet(file)

    for read, name in (
        *((pandas.read_parquet, "a.parquet"), (pandas.read_csv, "a.csv"), (pandas.read_pickle, "a.pkl")),
        *((pandas.read_csv, "a.csv.gz"), (pandas.read_parquet, "p.parquet")),
    ):
        pandas.testing.assert_frame_equal(read(f"{root}/t/{name}"), frame)
    with fsspec.open(f"{root}/t/a.parquet") as file:
        assert polars.read_parquet(file).equals(polars.from_pandas(frame))
    with fsspec.open(f"{root}/t/a.csv") as file:
        assert polars.read_csv(file).equals(polars.from_pandas(frame))


def test_numpy_writes_archives_and_reads_them(fs: Any, run_id: str) -> None:
    path = f"runs/{run_id}/a.npz"
    with fs.open(path, "wb") as file:
        np.savez(file, a=np.arange(5))

    with fs.open(path, "rb") as file:
        assert np.load(file)["a"].tolist() == [0, 1, 2, 3, 4]


def test_files_are_listed_found_and_described(fs: Any, run_id: str) -> None:
    root = f"runs/{run_id}"

    assert fs.ls(f"modelry://{root}", detail=False) == [f"{root}/b.csv", f"{root}/deep"]
    assert fs.find(root) == [f"{root}/b.csv", f"{root}/deep/a.bin"]
    assert fs.glob(f"modelry://{root}/*.csv") == [f"{root}/b.csv"]
    assert fs.info(f"{root}/deep/a.bin")["size"] == len(CONTENT)
    assert (fs.isdir(f"{root}/deep"), fs.isfile(f"{root}/b.csv"), fs.exists(f"{root}/nothing")) == (True, True, False)
    assert [each["name"] for each in fs.ls("")] == ["runs", "models"]
    assert root in fs.ls("runs", detail=False)
    assert len(fs.ukey(f"{root}/b.csv")) == 64
    assert [each[0] for each in fs.walk(root)] == [root, f"{root}/deep"]


def test_parts_of_a_file_are_read(fs: Any, run_id: str) -> None:
    path = f"runs/{run_id}/deep/a.bin"

    assert fs.cat_file(path) == CONTENT
    assert fs.cat_file(path, start=-10) == CONTENT[-10:]
    assert fs.cat_ranges([path] * 3, [0, 10, 99], [5, 20, 101]) == [CONTENT[0:5], CONTENT[10:20], CONTENT[99:101]]
    with fs.open(path, block_size=1000) as file:
        assert file.seek(500_000) == 500_000
        assert file.read(3) == CONTENT[500_000:500_003]
        file.seek(-4, 2)
        assert file.read() == CONTENT[-4:]


def test_files_go_up_and_down(fs: Any, run_id: str, tmp_path: Path) -> None:
    (tmp_path / "in" / "d").mkdir(parents=True)
    (tmp_path / "in" / "d" / "x.txt").write_text("x")
    root = f"runs/{run_id}"

    fs.put(str(tmp_path / "in"), f"{root}/up", recursive=True)
    fs.get(f"{root}/up", str(tmp_path / "out"), recursive=True)
    fs.get_file(f"{root}/deep/a.bin", tmp_path / "other.bin")
    fs.copy(f"{root}/b.csv", f"{root}/c.csv")
    fs.mv(f"{root}/c.csv", f"{root}/d.csv")
    fs.pipe(f"{root}/e.txt", b"e")

    assert (tmp_path / "out" / "d" / "x.txt").read_text() == "x"
    assert (tmp_path / "other.bin").read_bytes() == CONTENT
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "other.bin", "out"]
    assert fs.ls(root, detail=False) == [f"{root}/{name}" for name in ("b.csv", "d.csv", "deep", "e.txt", "up")]
    fs.rm(f"{root}/up", recursive=True)
    fs.rm(fs.glob(f"{root}/*.csv"))
    assert fs.ls(root, detail=False) == [f"{root}/deep", f"{root}/e.txt"]
    with pytest.raises(IsADirectoryError):
        fs.rm(f"{root}/deep")


def test_a_version_is_read_by_number_stage_and_alias_and_never_written(fs: Any, version: str) -> None:
    for which in ("1", "latest", "@champion"):
        assert fs.cat_file(f"{version}/{which}/a.bin") == CONTENT
        assert fs.ls(f"{version}/{which}", detail=False) == [f"{version.removeprefix('modelry://')}/{which}/a.bin"]
    assert fs.cat_file(f"{version}@champion/a.bin") == CONTENT
    assert fs.ls(version, detail=False) == [f"{version.removeprefix('modelry://')}/1"]
    with pytest.raises(PermissionError):
        fs.open(f"{version}/1/a.bin", "wb")
    with pytest.raises(PermissionError):
        fs.rm(f"{version}/1/a.bin")
    for slashes in ("/", "//"):
        path = version.replace("modelry://", f"modelry://{slashes}")
        with pytest.raises(PermissionError, match="never change"):
            fs.pipe_file(f"{path}/1/a.txt", b"x")
        with pytest.raises(PermissionError, match="never change"):
            fs.rm_file(f"{path}/1/a.bin")


def test_a_path_to_delete_is_a_name_and_no_pattern(fs: Any, run_id: str) -> None:
    root = f"modelry://runs/{run_id}"
    for name in ("a1.txt", "a[1].txt", "b*.txt", "b2.txt"):
        fs.pipe_file(f"{root}/odd/{name}", b"x")

    fs.rm(f"{root}/odd/a[1].txt")
    fs.rm([f"{root}/odd/b*.txt"])

    assert fs.ls(f"{root}/odd", detail=False) == [f"runs/{run_id}/odd/{name}" for name in ("a1.txt", "b2.txt")]
    with pytest.raises(FileNotFoundError):
        fs.rm(f"{root}/odd/a[1].txt")
    assert fs.exists(f"{root}/odd/a1.txt")


def test_a_file_appears_when_it_is_closed_and_not_after_an_error(fs: Any, run_id: str) -> None:
    root = f"modelry://runs/{run_id}"

    file = fs.open(f"{root}/late.txt", "w")
    file.write("late")
    assert not fs.exists(f"{root}/late.txt")
    file.close()
    opens: list[Any] = [fs.open, fsspec.open, partial(fsspec.open, compression="gzip")]
    for opened, mode in product(opens, ("wb", "w")):
        with pytest.raises(ZeroDivisionError), opened(f"{root}/never.txt", mode) as file:
            fails_after(file)
    try:
        raise ZeroDivisionError
    except ZeroDivisionError:
        with fs.open(f"{root}/report.txt", "w") as file:  # what is written because of an error is no error
            file.write("failed")

    assert fs.cat_file(f"{root}/late.txt") == b"late"
    assert fs.cat_file(f"{root}/report.txt") == b"failed"
    assert fs.glob(f"{root}/never*") == []


def test_a_transaction_writes_all_at_its_end_or_nothing(fs: Any, run_id: str) -> None:
    root = f"runs/{run_id}"
    with fs.transaction:
        for name in "xy":
            with fs.open(f"{root}/{name}", "wb") as file:
                file.write(name.encode())
        assert not fs.exists(f"{root}/x")
    with pytest.raises(ZeroDivisionError), fs.transaction, fs.open(f"{root}/z", "wb") as file:
        fails_after(file)

    assert [fs.exists(f"{root}/{name}") for name in "xyz"] == [True, True, False]


def test_modes_append_and_create(fs: Any, run_id: str) -> None:
    path = f"runs/{run_id}/log.txt"
    for text in ("a", "b"):
        with fs.open(path, "a") as file:
            file.write(text)

    assert fs.cat_file(path) == b"ab"
    with pytest.raises(FileExistsError):
        fs.open(path, "xb")
    with pytest.raises(ValueError, match="mode"):
        fs.open(path, "r+b")


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("runs/{run}/nothing", FileNotFoundError),
        ("runs/" + "0" * 32 + "/a", FileNotFoundError),
        ("models/no-such-model/1/a", FileNotFoundError),
        ("elsewhere/a", FileNotFoundError),
        ("runs/{run}/deep", IsADirectoryError),
        ("runs/{run}", IsADirectoryError),
        ("runs/{run}/../a", OSError),
    ],
)
def test_errors_are_those_of_python(fs: Any, run_id: str, path: str, kind: type[Exception]) -> None:
    with pytest.raises(kind) as raised:
        fs.open(f"modelry://{path.format(run=run_id)}", "rb")

    assert raised.value.__cause__ is None or isinstance(raised.value.__cause__, ModelryError)


def test_a_run_that_is_not_there_is_told_before_anything_is_written(fs: Any, run_id: str) -> None:
    with pytest.raises(FileNotFoundError):
        fs.open(f"runs/{'0' * 32}/a", "wb")
    with pytest.raises(IsADirectoryError), fs.open(f"runs/{run_id}/b.csv/below", "wb") as file:
        file.write(b"x")


def test_a_server_that_does_not_answer_is_a_lost_connection(fs: Any) -> None:
    nobody = fsspec.filesystem("modelry", address="127.0.0.1:1")

    with pytest.raises(ConnectionError):
        nobody.exists("runs/" + "0" * 32)


def test_a_file_that_is_replaced_while_it_is_read_is_told(fs: Any, run_id: str, client: Client) -> None:
    with fs.open(f"runs/{run_id}/deep/a.bin", block_size=1000) as file:
        file.read(10)
        client.artifacts.upload_bytes(f"runs/{run_id}", "deep/a.bin", CONTENT[::-1])
        file.seek(500_000)
        with pytest.raises(OSError, match="was replaced"):
            file.read(10)


def test_threads_share_it_and_it_can_be_pickled(fs: Any, run_id: str, platform: Deployment) -> None:
    path = f"runs/{run_id}/deep/a.bin"
    named = fsspec.filesystem("modelry", address=platform.address)
    read: Callable[[int], Any] = lambda at: pickle.loads(pickle.dumps(named)).cat_file(path, at, at + 100)  # noqa: E731

    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(read, range(0, 8000, 100)))

    assert b"".join(parts) == CONTENT[:8000]


def test_the_active_run_is_written_to_while_it_runs(fs: Any, client: Client) -> None:
    with modelry.start_run() as run:
        pandas.DataFrame({"a": [1]}).to_csv(f"modelry://runs/{run.run_id}/a.csv", index=False)

        assert client.artifacts.read_bytes(f"runs/{run.run_id}", "a.csv") == b"a\n1\n"


def test_an_option_that_is_not_there_is_refused_and_those_of_fsspec_are_not(run_id: str) -> None:
    with pytest.raises(InvalidArgument, match="modelry:// has no option 'adress'; is 'address' meant"):
        pandas.read_csv(f"modelry://runs/{run_id}/b.csv", storage_options={"adress": "127.0.0.1:1"})
    with pytest.raises(InvalidArgument, match="no option 'key'; there are address, workspace, insecure, "):
        fsspec.filesystem("modelry", key="x")

    assert fsspec.filesystem("modelry", use_listings_cache=False, skip_instance_cache=True).protocol == "modelry"
