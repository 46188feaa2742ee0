"""Pictures, sound and tables of runs: every step is kept, tables grow, and logging raises nothing into training."""

from __future__ import annotations

import io
import json
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

import modelry
from modelry import Client
from modelry._sdk.recording import sync
from modelry.errors import ArtifactNotFound, InvalidArgument, LocalFileChanged, NotFound
from tests.parts.deployment import Deployment
from tests.python.recording.scripts import run_script

NOBODY = "127.0.0.1:9"

pytestmark = pytest.mark.usefixtures("fluent")


def pixels(client: Client, owner: str, path: str) -> Any:
    return np.asarray(Image.open(io.BytesIO(client.artifacts.read_bytes(owner, path))))


def test_every_step_of_a_key_is_kept_and_found_again(client: Client) -> None:
    with modelry.start_run() as run:
        for step in (10, 9, 9):
            modelry.log_image(np.full((2, 3), step, "uint8"), key="eval/sample-step-1", step=step)
            modelry.log_audio(np.sin(np.arange(800.0)), key="voice", step=step, sample_rate=8000)
        modelry.log_image(np.eye(3), key="other")

    owner = f"runs/{run.run_id}"
    images = client.artifacts.images(owner, "eval/sample-step-1")
    assert [(each.key, each.step) for each in images] == [("eval/sample-step-1", step) for step in (9, 9, 10)]
    assert [pixels(client, owner, each.path)[0, 0] for each in images] == [9, 9, 10]
    assert [each.key for each in client.artifacts.images(owner)][-1] == "other"
    sounds = client.artifacts.sounds(owner, "voice")
    assert [each.step for each in sounds] == [9, 9, 10]
    with wave.open(io.BytesIO(client.artifacts.read_bytes(owner, sounds[0].path))) as file:
        assert (file.getframerate(), file.getnframes(), file.getnchannels()) == (8000, 800, 1)


def test_a_run_that_is_not_active_gets_them_too(client: Client) -> None:
    other = client.runs.create("0").run_id
    figure = Figure()
    axes = figure.subplots(1, 2)

    modelry.log_figure(axes, "axes.png", run_id=other)
    modelry.log_image(np.eye(3), "eye.png", run_id=other)
    modelry.log_audio(np.eye(9)[0], "a.wav", sample_rate=8000, run_id=other)
    modelry.log_table({"a": [1]}, "t.json", run_id=other)

    paths = [artifact.path for artifact in client.artifacts.list(f"runs/{other}")]
    assert paths == ["a.wav", "axes.png", "eye.png", "t.json"]
    assert modelry.active_run() is None


def test_what_cant_be_logged_is_told_once_and_training_goes_on(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with modelry.start_run() as run:
        for _ in range(2):
            modelry.log_image(np.zeros((2, 5, 5, 3)), key="batch")
            modelry.log_image(np.array([[-1.0, 1.0]]), key="range")
        modelry.log_audio(np.zeros((9, 9, 9)), "a.wav", sample_rate=1)
        modelry.log_audio(b"no audio", key="voice")
        modelry.log_figure(object(), "a.png")
        modelry.log_table(object(), "a.json")
        modelry.log_table({"a": [1]}, "a.csv")

    told = "\n".join(caplog.messages)
    for words in ("each of its 2 images", "samples", "no WAV", "a figure or axes", "a table is", ".json or .parquet"):
        assert words in told
    assert told.count("shown as black to white") == 1
    assert [each.key for each in client.artifacts.images(f"runs/{run.run_id}")] == ["range", "range"]


def test_a_step_without_a_key_is_refused_because_only_the_last_would_be_kept() -> None:
    with modelry.start_run():
        with pytest.raises(InvalidArgument, match="needs a key"):
            modelry.log_image(np.eye(3), "a.png", step=3)
        with pytest.raises(InvalidArgument, match="path of its file or a key"):
            modelry.log_audio(np.eye(3))


def test_a_table_grows_with_each_call_and_is_found_by_its_experiment(client: Client, unique: str) -> None:
    modelry.set_experiment(unique)
    for rate in (0.1, 0.2):
        with modelry.start_run() as run:
            modelry.log_param("rate", rate)
            modelry.log_table({"text": "007", "score": rate}, "eval/t.json")
            modelry.log_table(pd.DataFrame({"text": ["x"], "score": [None], "more": [1]}), "eval/t.json")
    with modelry.start_run():
        modelry.log_table({"a": [1]}, "other.json")

    table = modelry.load_table("eval/t.json", extra_columns=["run_id", "params.rate"])
    one = modelry.load_table("eval/t.json", run_ids=[run.run_id])

    assert table["text"].tolist() == ["007", "x"] * 2
    assert table["params.rate"].tolist() == ["0.2", "0.2", "0.1", "0.1"]
    assert table["run_id"][0] == run.run_id
    assert one.columns.tolist() == ["text", "score", "more"]
    tag = json.loads(client.runs.get(run.run_id).tags["mlflow.loggedArtifacts"])
    assert tag == [{"path": "eval/t.json", "type": "table"}]


def test_a_table_that_is_not_there_is_an_error_and_a_run_without_one_is_skipped(
    client: Client, unique: str, caplog: pytest.LogCaptureFixture
) -> None:
    modelry.set_experiment(unique)
    with modelry.start_run() as run:
        modelry.log_table({"a": [1], "run_id": ["own"]}, "t.json")
    empty = client.runs.create("0").run_id

    table = modelry.load_table("t.json", [run.run_id, empty], "run_id")

    assert table.to_dict("list") == {"a": [1], "run_id": ["own"], "run_id_": [run.run_id]}
    assert f"run {empty} has no table" in caplog.text
    with pytest.raises(ArtifactNotFound, match="no run of the experiment"):
        modelry.load_table("u.json")
    with pytest.raises(NotFound):
        modelry.load_table("t.json", "0" * 32)
    with pytest.raises(InvalidArgument, match="a column of runs"):
        modelry.load_table("t.json", run.run_id, "nothing")


def test_images_in_a_table_become_files_of_the_run(client: Client) -> None:
    with modelry.start_run() as run:
        modelry.log_table({"image": [Image.new("RGB", (4, 2), "red")], "label": ["a"]}, "t.json")

    (cell,) = client.artifacts.read_table(f"runs/{run.run_id}", "t.json")["image"]
    assert cell["type"] == "image"
    assert pixels(client, f"runs/{run.run_id}", cell["filepath"])[0, 0].tolist() == [255, 0, 0]
    assert pixels(client, f"runs/{run.run_id}", cell["compressed_filepath"]).shape[:2] == (2, 4)


def test_a_file_that_is_no_table_is_not_replaced(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    with modelry.start_run() as run:
        modelry.log_text("precious", "t.json")
        modelry.log_table({"a": [1]}, "t.json")

    assert client.artifacts.read_bytes(f"runs/{run.run_id}", "t.json") == b"precious"
    assert "so it is no table" in caplog.text


def test_rows_that_are_logged_without_a_server_come_with_it(
    platform: Deployment, client: Client, tmp_path: Path
) -> None:
    code = """
import modelry
with modelry.start_run() as run:
    for number in range(3):
        modelry.log_table({"a": [number]}, "t.json")
print(run.run_id)
"""
    ended = run_script(code, NOBODY, tmp_path, MODELRY_START_TIMEOUT="100ms", MODELRY_EXIT_TIMEOUT="0s")

    sync.deliver(platform.address, folder=tmp_path)

    table = client.artifacts.read_table(f"runs/{ended.stdout.strip()}", "t.json")
    assert table["a"].tolist() == [0, 1, 2]


def test_a_part_of_a_file_is_read_without_the_rest(client: Client, unique: str) -> None:
    owner = f"runs/{client.runs.create('0').run_id}"
    content = bytes(range(256)) * 8192
    client.artifacts.upload_stream(owner, "d/a.bin", io.BytesIO(content))
    sha256 = client.artifacts.get(owner, "d/a.bin").sha256

    ranges = [(0, 10), (1_000_000, 1_000_300), (len(content) - 5, len(content) + 5), (5, 5), (2**40, 2**41)]

    for start, end in ranges:
        assert client.artifacts.read_range(owner, "d/a.bin", start, end, sha256=sha256) == content[start:end]
    with pytest.raises(InvalidArgument, match="folder"):
        client.artifacts.read_range(owner, "d", 0, 5)
    with pytest.raises(LocalFileChanged, match="was replaced"):
        client.artifacts.read_range(owner, "d/a.bin", 0, 5, sha256="0" * 64)
    with pytest.raises(InvalidArgument, match="start must be"):
        client.artifacts.read_range(owner, "d/a.bin", -1, 5)
    with pytest.raises(ArtifactNotFound):
        client.artifacts.read_range(owner, "nothing", 0, 5)
