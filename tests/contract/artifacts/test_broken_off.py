"""Uploads that break off: wherever that is, nothing is written and no content is left behind."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from modelry.api.artifacts import v1 as api
from tests.contract.artifacts.conftest import PIECE, Client, Owner, Step, file_steps, refused
from tests.parts.cut_call import cut, send_cut_off
from tests.parts.deployment import Deployment

WRITE = "/modelry.api.artifacts.v1.ArtifactService/WriteArtifacts"
BIG = hashlib.sha256(b"big").digest() * (PIECE // 16)  # two pieces


def _stream(owner: Owner, big: bytes) -> list[Step]:
    """A whole stream of a small and a larger file."""
    files = [*file_steps("small", b"abc"), *file_steps("sub/big", big)]
    return [Step(owner=owner), *files, Step(sent_file_count=2)]


def _content(deployment: Deployment) -> set[Path]:
    return {path for path in (deployment.folder / "blobs").rglob("*") if path.is_file()}


SHORT = b"x" * 1000


def test_a_whole_stream_is_written(client: Client, run: Owner) -> None:
    assert client.send(_stream(run, BIG)).file_count == 2
    assert client.read(run) == {"small": b"abc", "sub/big": BIG}


@pytest.mark.parametrize("sent", range(len(_stream(Owner(), BIG))))
def test_a_stream_that_ends_early_writes_nothing(deployment: Deployment, client: Client, run: Owner, sent: int) -> None:
    before = _content(deployment)

    answer = refused(lambda: client.send(_stream(run, BIG)[:sent]))

    assert (answer.code, answer.reason) == ("ABORTED", "UPLOAD_BROKEN_OFF")
    assert "nothing was written; send it again from the beginning" in answer.message
    assert "sent_file_count" in answer.message
    assert client.list(run) == []
    assert _content(deployment) == before


@pytest.mark.parametrize("sent", range(len(_stream(Owner(), SHORT))))
def test_a_stream_whose_last_message_is_cut_off_writes_nothing(
    deployment: Deployment, client: Client, run: Owner, sent: int
) -> None:
    before = _content(deployment)
    messages = [step.SerializeToString() for step in _stream(run, SHORT)]

    send_cut_off(deployment.addresses["artifacts"], WRITE, messages[:sent], cut(messages[sent]))

    assert client.list(run) == []
    assert _content(deployment) == before


@pytest.mark.parametrize(
    "steps",
    [
        [Step(sent_file_count=1)],
        [Step(sent_file_count=3)],
        [Step(sent_file_count=2), Step(sent_file_count=2)],
        [Step(sent_file_count=2), *file_steps("more", b"x"), Step(sent_file_count=3)],
        [Step(header=api.ArtifactHeader(path="more")), Step(sent_file_count=3)],
        [Step(header=api.ArtifactHeader(path="more")), Step(sha256="0" * 64), Step(sent_file_count=3)],
    ],
    ids=["fewer", "more", "twice", "a file after the end", "no SHA-256", "another SHA-256"],
)
def test_a_stream_with_another_end_writes_nothing(
    deployment: Deployment, client: Client, run: Owner, steps: list[Step]
) -> None:
    before = _content(deployment)

    refused(lambda: client.send(_stream(run, BIG)[:-1], steps))

    assert client.list(run) == []
    assert _content(deployment) == before
