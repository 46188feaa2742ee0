from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

import modelry
from modelry._sdk.fluent import session
from modelry._sdk.transport import process
from modelry._sdk.transport.connection import connect
from modelry._sdk.transport.interruptions import is_interrupted


@pytest.fixture(autouse=True)
def new_state() -> Iterator[None]:
    session.renew()
    yield
    session.renew()


class Told(process.Part):
    """Notes what it is told."""

    notes: list[str]

    def __init__(self) -> None:
        self.notes = []

    def at_exit(self) -> None:
        self.notes.append(type(self).__name__)


class Above(Told):
    """Uses another part."""

    def __init__(self) -> None:
        self.notes = process.current().part(Told).notes


def test_a_process_has_each_part_once() -> None:
    assert process.current().part(Told) is process.current().part(Told)
    assert process.renew().part(Told) is not None


def test_the_exit_is_told_to_a_part_before_those_that_it_uses() -> None:
    notes = process.current().part(Above).notes

    process.current().at_exit()

    assert notes[:2] == ["Above", "Told"]


class Broken(process.Part):
    """Fails at the exit."""

    def at_exit(self) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")


def test_the_exit_is_told_to_each_part_whatever_another_raises(caplog: pytest.LogCaptureFixture) -> None:
    notes = process.current().part(Above).notes
    process.current().part(Broken)

    process.current().at_exit()

    assert notes == ["Above", "Told"]
    assert "interpreter shutdown" in caplog.text


def test_a_new_state_remembers_nothing() -> None:
    modelry.set_tracking_uri("127.0.0.1:7001")
    modelry.set_registry_uri("127.0.0.1:7002")
    before = connect()

    session.renew()

    assert (modelry.get_tracking_uri(), modelry.get_registry_uri()) == (
        "grpc://127.0.0.1:5100",
        "grpc://127.0.0.1:5100",
    )
    assert connect("127.0.0.1:7001") is not before
    assert modelry.active_run() is None


def test_a_tracking_uri_that_cant_be_is_not_chosen() -> None:
    modelry.set_tracking_uri("127.0.0.1:7001")

    with pytest.raises(modelry.errors.InvalidArgument):
        modelry.set_tracking_uri("http://127.0.0.1:7002")

    assert modelry.get_tracking_uri() == "127.0.0.1:7001"


class Terminated(process.Part):
    """Gets SIGTERM when it is first told of the exit."""

    def __init__(self) -> None:
        self.hurries: list[bool] = []

    def at_exit(self) -> None:
        if not self.hurries:
            signal.raise_signal(signal.SIGTERM)
        self.hurries.append(is_interrupted())


def test_sigterm_while_the_parts_are_told_of_the_exit_makes_them_hurry() -> None:
    here = process.current()
    part = here.part(Terminated)
    before = signal.signal(signal.SIGTERM, here._terminate)
    try:
        with pytest.raises(SystemExit):
            here.at_exit()
    finally:
        signal.signal(signal.SIGTERM, before)

    assert part.hurries == [True, True]  # once more, because a handler ran
