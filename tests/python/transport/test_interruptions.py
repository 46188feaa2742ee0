"""Signals wait until work is whole, and none is lost."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

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
    with held_back():
        signal.raise_signal(signal.SIGUSR1)
        assert came == []

    assert came == ["user"]


def test_a_handler_that_raises_nothing_runs_between_steps_and_interrupts_nothing(came: list[str]) -> None:
    with held_back() as is_interrupted:
        signal.raise_signal(signal.SIGUSR1)
        assert (is_interrupted(), came) == (False, ["user"])

    assert came == ["user"]


def test_what_a_handler_raises_between_steps_waits_for_the_end(came: list[str]) -> None:
    def interrupted() -> None:
        with held_back() as is_interrupted:
            signal.raise_signal(signal.SIGINT)
            before = is_interrupted(), is_interrupted()
            came.append(str(before))

    with pytest.raises(KeyboardInterrupt):
        interrupted()

    assert came == ["(True, True)"]


def test_another_thread_is_not_interrupted(came: list[str]) -> None:
    def interrupted() -> None:
        with held_back() as is_interrupted, ThreadPoolExecutor(1) as pool:
            signal.raise_signal(signal.SIGINT)
            seen = is_interrupted(), pool.submit(is_interrupted).result()
            came.append(str(seen))

    with pytest.raises(KeyboardInterrupt):
        interrupted()

    assert came == ["(True, False)"]


def test_a_handler_can_be_interrupted_and_holds_back_for_itself(ctrl_c: None) -> None:
    found: list[str] = []

    def handler(number: int, frame: object) -> None:
        try:
            with held_back():
                signal.raise_signal(signal.SIGINT)
                found.append("held back")
        except KeyboardInterrupt:
            found.append("interrupted")

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        with held_back() as is_interrupted:
            signal.raise_signal(signal.SIGUSR1)
            found.append(str(is_interrupted()))
    finally:
        signal.signal(signal.SIGUSR1, before)

    assert found == ["held back", "interrupted", "False"]


def test_any_number_of_signals_is_handled(came: list[str]) -> None:
    with held_back():
        for _ in range(1500):
            signal.raise_signal(signal.SIGUSR1)

    assert came == ["user"] * 1500


def test_all_handlers_run_although_the_first_one_raises(came: list[str]) -> None:
    def both() -> None:
        with held_back():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGUSR1)

    with pytest.raises(KeyboardInterrupt):
        both()

    assert came == ["user"]


def test_a_signal_within_is_seen_further_within(came: list[str]) -> None:
    def both() -> None:
        with held_back():
            signal.raise_signal(signal.SIGINT)
            with held_back() as is_interrupted:
                came.append(str(is_interrupted()))
            came.append("after")

    with pytest.raises(KeyboardInterrupt):
        both()

    assert came == ["True", "after"]


def test_handlers_are_put_back(came: list[str]) -> None:
    before = signal.getsignal(signal.SIGUSR1), signal.getsignal(signal.SIGINT)

    with held_back():
        pass

    assert (signal.getsignal(signal.SIGUSR1), signal.getsignal(signal.SIGINT)) == before
    assert interruptions._held is None


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


FORKED_MEANWHILE = """
import os, signal, threading
from modelry._sdk.transport.interruptions import held_back, is_interrupted

signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGTERM, lambda number, frame: print("terminated", flush=True))

def fork():
    if os.fork() == 0:
        print(signal.getsignal(signal.SIGINT) is signal.default_int_handler, is_interrupted(), flush=True)
        signal.raise_signal(signal.SIGTERM)
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        os._exit(0)
    os.wait()

try:
    with held_back():
        signal.raise_signal(signal.SIGINT)
        thread = threading.Thread(target=fork)
        thread.start()
        thread.join()
        print("whole", flush=True)
except KeyboardInterrupt:
    print("parent interrupted", flush=True)
"""


def test_a_child_that_is_forked_meanwhile_has_the_handlers_and_not_the_signals_of_its_parent() -> None:
    command = [sys.executable, "-W", "ignore", "-c", FORKED_MEANWHILE]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)

    assert done.stdout.split("\n") == ["True False", "terminated", "interrupted", "whole", "parent interrupted", ""], (
        done
    )
