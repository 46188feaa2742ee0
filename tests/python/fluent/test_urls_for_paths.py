"""URLs where paths of this machine are expected are refused, and no password in them reaches a run or a message."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import modelry
import modelry.pyfunc
from modelry import Client
from modelry._sdk.packaging import keras_parts
from modelry.errors import InvalidArgument

URL = "https://me:hunter2secret@host/x.csv?token=hunter3secret"


def _logged(**options: Any) -> None:
    modelry.pyfunc.log_model(name="model", **{"python_model": lambda model_input: model_input, **options})


@pytest.mark.parametrize("form", [str, Path])
@pytest.mark.parametrize(
    "take",
    [
        modelry.data.from_files,
        modelry.data.from_dvc,
        modelry.log_artifact,
        modelry.log_artifacts,
        lambda url: _logged(python_model=url),
        lambda url: _logged(code_paths=[url]),
    ],
)
@pytest.mark.usefixtures("fluent")
@pytest.mark.filterwarnings("ignore:.*[tT]ype hint:UserWarning")
def test_a_url_is_refused_where_a_path_is_expected(
    client: Client, take: Callable[[object], None], form: Callable[[str], object]
) -> None:
    run = modelry.start_run()
    with pytest.raises(InvalidArgument, match="is a URL, expected a path on this machine") as refused, run:
        take(form(URL))

    assert refused.value.reason == "LOCAL_PATH_IS_URL"
    assert "source=url" in refused.value.message
    told = client.runs.get(run.run_id).tags["modelry.exit.error"]
    assert "@host/x.csv" in told
    for text in (str(refused.value), repr(refused.value.metadata), told):
        assert "hunter" not in text


@pytest.mark.parametrize("form", [str, Path])
@pytest.mark.usefixtures("fluent")
@pytest.mark.filterwarnings("ignore:.*[tT]ype hint:UserWarning")
def test_an_artifact_of_a_model_at_a_url_is_refused_without_its_password(form: Callable[[str], Any]) -> None:
    with pytest.raises(modelry.errors.ModelryError, match=r"host/x\.csv") as refused:
        _logged(artifacts={"x": os.fspath(form(URL))})

    assert "hunter" not in f"{refused.value}{refused.value.metadata}"
    assert modelry.active_run() is None


@pytest.mark.parametrize("form", [str, Path])
def test_nothing_is_written_to_a_url(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: Callable[[str], Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    for write in (
        lambda url: client.artifacts.download(f"runs/{'0' * 32}", "", url),
        lambda url: modelry.pyfunc.save_model(url, loader_module="json"),
        lambda url: modelry.pytorch.save_state_dict({}, url),
        keras_parts.prepare,
    ):
        with pytest.raises(InvalidArgument, match=r"is a URL.* to a folder of this machine.* upload that a") as refused:
            write(form(URL))
        assert "hunter" not in str(refused.value)
        assert "download it first" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("fluent")
def test_the_error_of_another_library_is_masked_too(client: Client) -> None:
    run = modelry.start_run()
    with pytest.raises(FileNotFoundError), run:
        Path(URL).read_bytes()

    assert "https:/***@host/x.csv?token=***" in client.runs.get(run.run_id).tags["modelry.exit.error"]


@pytest.mark.usefixtures("fluent")
def test_what_is_told_of_a_url_has_no_password(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "modelry"), modelry.start_run():
        modelry.log_input(URL)
        modelry.log_input(Path(URL))
        modelry.log_audio(URL, "a.wav")
        modelry.log_audio(Path(URL), "b.wav")

    assert len(caplog.records) == 4
    assert all("host/x.csv" in each.message for each in caplog.records)
    assert "hunter" not in caplog.text


def test_a_model_at_a_url_is_refused_without_its_password() -> None:
    for form in (str, Path):
        with pytest.raises(modelry.errors.ModelryError, match="host/x") as refused:
            modelry.pyfunc.load_model(form(URL))
        assert "hunter" not in f"{refused.value}{refused.value.metadata}"


@pytest.mark.usefixtures("fluent")
def test_a_folder_whose_name_is_like_a_url_can_be_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, client: Client
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("runs:/a").mkdir(parents=True)
    Path("runs:/a/b.txt").write_text("b")
    with modelry.start_run() as run:
        modelry.log_artifact("runs:/a/b.txt")

    assert "b.txt" in [each.path for each in client.artifacts.list(f"runs/{run.run_id}")]
