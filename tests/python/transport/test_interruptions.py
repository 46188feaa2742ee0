"""Signals wait until work is whole, and none is lost."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from modelry._sdk.transport import interruptions
from modelry._sdk.transport.interruptions import held_back


@pytest.fixture
def came(ctrl_c: None) -> Iterator[list[str]]:
    """What a handler of SIGUSR1 was called for. That of SIGINT raises, as always."""
    found: list[str] = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: found.append("user"))
    yield found
    signal.signal(signal.SIGUSR1, before)


def test_a_signal_waits_for_the_end(came: list[str]) -> None:
    with held_back() as is_signaled:
        before = is_signaled()
        signal.raise_signal(signal.SIGUSR1)
        assert (before, is_signaled(), came) == (False, True, [])

    assert came == ["user"]


def test_all_handlers_run_although_the_first_one_raises(came: list[str]) -> None:
    def both() -> None:
        with held_back():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGUSR1)

    with pytest.raises(KeyboardInterrupt):
        both()

    assert came == ["user"]


def test_a_signal_within_is_seen_further_within(came: list[str]) -> None:
    with held_back():
        signal.raise_signal(signal.SIGUSR1)
        with held_back() as is_signaled:
            seen = is_signaled()

    assert (seen, came) == (True, ["user"])


def test_handlers_are_put_back(came: list[str]) -> None:
    before = signal.getsignal(signal.SIGUSR1), signal.getsignal(signal.SIGINT)

    with held_back():
        pass

    assert (signal.getsignal(signal.SIGUSR1), signal.getsignal(signal.SIGINT)) == before
    assert interruptions._at_work == []


def test_an_interruption_while_handlers_are_put_back_swallows_no_later_signal(
    came: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    put_back = signal.signal

    def interrupted(number: int, handler: object) -> object:
        if number == signal.SIGUSR1:
            raise KeyboardInterrupt
        return put_back(number, handler)  # type: ignore[arg-type]

    with pytest.raises(KeyboardInterrupt), held_back():
        monkeypatch.setattr(signal, "signal", interrupted)
    monkeypatch.undo()
    signal.raise_signal(signal.SIGUSR1)

    assert came == ["user"]
