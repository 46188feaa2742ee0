"""A forked child has the open files of its parent. It neither keeps their locks nor ends them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from modelry._sdk.spooling import kept
from modelry._sdk.spooling.locks import SpoolInUse
from modelry._sdk.spooling.spool import Spool, left_in

SERVER = {"address": "127.0.0.1:5100", "workspace": "default"}

HOLDERS = {
    "a spool that is written": f"closing(Spool.create(spool, {SERVER!r}))",
    "a spool that is delivered": "closing(Spool.open(left_in(spool)[0]))",
    "copies that are uploaded": "kept.opened(kept.left_in(spool)[0]).held()",
    "copies that are discarded": "undelivered._held(kept.left_in(spool)[0])",
}

SCRIPT = """
import ctypes, os, sys
from contextlib import closing
from pathlib import Path
from modelry._sdk.spooling import kept, undelivered
from modelry._sdk.spooling.spool import Spool, left_in

spool = Path(sys.argv[1])

def await_the_test(word):
    os.write(1, f"{{word}}\\n".encode())  # at once: two processes write here
    sys.stdin.read()
    os._exit(0)

{body}
"""

THE_PARENT_IS_KILLED = """
with {holder}:
    if os.fork() == 0:
        await_the_test("ready")
    await_the_test("waits")
"""

THE_PARENT_LETS_GO = """
with {holder}:
    if ctypes.PyDLL(None).fork() == 0:  # no hook of Python is called, as at a fork by other code
        sys.stdin.read()
        os._exit(0)
await_the_test("ready")
"""

THE_CHILD_LETS_GO = """
with {holder}:
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        await_the_test("ready")
"""


@contextmanager
def ready(spool: Path, body: str, holder: str) -> Iterator[subprocess.Popen[str]]:
    """A process that has done what `body` says and is ready. It and its child live until this ends."""
    code = SCRIPT.format(body=body.format(holder=HOLDERS[holder]))
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(spool)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert parent.stdout is not None
        assert "ready\n" in iter(parent.stdout.readline, "")
        yield parent
    finally:
        parent.communicate(timeout=60)


def prepare(spool: Path, holder: str) -> None:
    """Leaves in the spool what the holder takes."""
    if "copies" in holder:
        kept.keep_content(spool, SERVER, "runs/1", "a.txt", b"text")
    elif "delivered" in holder:
        Spool.create(spool, SERVER).close()


def take_all(spool: Path) -> int:
    """Locks each part of the spool, and says how many there are."""
    for path in (spools := left_in(spool)):
        Spool.open(path).close()
    for folder in (copies := kept.left_in(spool)):
        with kept.opened(folder).held():
            pass
    return len(spools + copies)


@pytest.mark.parametrize("holder", HOLDERS)
def test_a_child_keeps_no_lock_of_a_parent_that_is_killed(spool: Path, holder: str) -> None:
    prepare(spool, holder)

    with ready(spool, THE_PARENT_IS_KILLED, holder) as parent:
        parent.kill()
        parent.wait()

        assert take_all(spool) == 1


@pytest.mark.parametrize("holder", HOLDERS)
def test_a_child_without_hooks_keeps_no_lock_that_its_parent_lets_go(spool: Path, holder: str) -> None:
    prepare(spool, holder)

    with ready(spool, THE_PARENT_LETS_GO, holder):
        assert take_all(spool) == 1


@pytest.mark.parametrize("holder", HOLDERS)
def test_a_child_does_not_end_the_lock_of_its_parent(spool: Path, holder: str) -> None:
    prepare(spool, holder)

    with ready(spool, THE_CHILD_LETS_GO, holder), pytest.raises(SpoolInUse):
        take_all(spool)
