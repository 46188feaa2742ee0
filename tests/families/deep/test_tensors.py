"""Tensors of PyTorch are pictures and sound of runs, and PyTorch reads and writes files of runs by their paths."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import fsspec
import numpy as np
import pytest
import torch
from PIL import Image

import modelry
from modelry import Client

pytestmark = pytest.mark.usefixtures("fluent")

BYTES = torch.arange(0, 240, 10, dtype=torch.uint8).reshape(4, 2, 3)
"""A picture of 4 x 2 pixels and 3 channels."""
SHARES = BYTES.float() / 255
FRONT = BYTES.permute(2, 0, 1)

TENSORS: dict[str, Callable[[], Any]] = {
    "bytes, channels last": lambda: BYTES,
    "bytes, channels first": lambda: FRONT,
    "bytes, channels first, contiguous": lambda: FRONT.contiguous(),
    "bytes, a batch of one in the order of channels_last": lambda: FRONT[None].to(memory_format=torch.channels_last),
    "whole numbers of 64 bits": lambda: BYTES.long(),
    "shares": lambda: SHARES,
    "shares, channels first": lambda: SHARES.permute(2, 0, 1),
    "shares of 64 bits": lambda: SHARES.double(),
    "shares with a gradient": lambda: SHARES.clone().requires_grad_(),
    "shares that were computed with a gradient": lambda: SHARES.clone().requires_grad_() * 1,
    "a parameter": lambda: torch.nn.Parameter(SHARES.clone()),
    "a list of tensors": lambda: list(SHARES),
}
ROUGH: dict[str, Callable[[], Any]] = {
    "shares of bfloat16": lambda: SHARES.bfloat16(),
    "shares of 16 bits": lambda: SHARES.half(),
    "shares of bfloat16 with a gradient": lambda: SHARES.bfloat16().requires_grad_(),
}


def pixels(client: Client, run: modelry.ActiveRun, path: str) -> Any:
    modelry.flush(30)
    content = client.artifacts.read_bytes(f"runs/{run.run_id}", path)
    return np.asarray(Image.open(io.BytesIO(content))).astype(int)


@pytest.mark.parametrize("made", [*TENSORS.values(), *ROUGH.values()], ids=[*TENSORS, *ROUGH])
def test_a_tensor_is_the_picture_of_its_numbers(
    client: Client, made: Callable[[], Any], caplog: pytest.LogCaptureFixture
) -> None:
    tensor = made()
    before = tensor.clone() if isinstance(tensor, torch.Tensor) else None

    with modelry.start_run() as run:
        modelry.log_image(tensor, "a.png")
        found = pixels(client, run, "a.png")

    assert np.abs(found - BYTES.numpy().astype(int)).max() <= (1 if made in ROUGH.values() else 0)
    assert "a.png" not in caplog.text
    assert before is None or (torch.equal(tensor, before) and tensor.requires_grad == before.requires_grad)


@pytest.mark.parametrize(
    ("tensor", "said"),
    [
        (torch.tensor(0.5), "has the shape (height, width)"),
        (torch.zeros(0, 3), "not (0, 3)"),
        (torch.zeros(8, 3, 4, 4), "log each of its 8 images by itself"),
        (torch.zeros(4, 4, dtype=torch.complex64), "log the real part or the magnitude"),
        (torch.eye(4).to_sparse(), "can't be read as an image array"),
    ],
)
def test_a_tensor_that_is_no_picture_is_told(tensor: Any, said: str, caplog: pytest.LogCaptureFixture) -> None:
    with modelry.start_run():
        modelry.log_image(tensor, "a.png")

    assert said in caplog.text


def test_a_tensor_of_samples_is_sound(client: Client) -> None:
    samples = torch.sin(torch.arange(800.0)).repeat(2, 1).requires_grad_()

    with modelry.start_run() as run:
        modelry.log_audio(samples, "a.wav", sample_rate=8000)
        modelry.flush(30)

    content = client.artifacts.read_bytes(f"runs/{run.run_id}", "a.wav")
    assert len(content) == 44 + 800 * 2 * 2


def test_a_checkpoint_is_written_to_the_path_of_a_run_and_read_from_it(client: Client) -> None:
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()

    with modelry.start_run() as run:
        path = f"modelry://runs/{run.run_id}/checkpoints/1.pt"
        with fsspec.open(path, "wb") as file:
            torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": 1}, file)
        with fsspec.open(path, "rb") as file:
            found = torch.load(file, weights_only=True)

    assert found["step"] == 1
    assert all(torch.equal(found["model"][name], value) for name, value in model.state_dict().items())
    assert found["optimizer"]["param_groups"] == optimizer.state_dict()["param_groups"]
