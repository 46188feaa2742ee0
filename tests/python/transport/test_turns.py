"""A child that is forked while another thread holds a lock of the process does not wait for that thread."""

from __future__ import annotations

import os
import threading

import pytest

from modelry._sdk.autologging.fits import Logged
from modelry._sdk.evaluating.places import Taken
from modelry._sdk.packaging.code_files import Running
from modelry._sdk.requiring.own_code import InPlace
from modelry._sdk.schemas.borrowed import Borrowing
from modelry._sdk.transport import process

PATIENCE_S = 20.0


@pytest.mark.parametrize("kind", [Logged, Taken, Running, InPlace, Borrowing])
def test_a_lock_is_free_in_a_forked_child(kind: type[process.Turn]) -> None:
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with process.current().part(kind).lock:
            held.set()
            done.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(PATIENCE_S)
    child = os.fork()
    if child == 0:
        os._exit(0 if process.current().part(kind).lock.acquire(timeout=PATIENCE_S) else 1)
    try:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert not process.current().part(kind).lock.acquire(blocking=False)
    finally:
        done.set()
        holder.join()
