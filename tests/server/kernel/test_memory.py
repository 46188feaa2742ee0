"""What the server tells the allocator, in a process of its own: it holds for a whole process."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, resource, threading
from modelry_server.kernel.memory import give_back_what_is_free

def pass_on():
    for _ in range(200):
        piece = bytes(256 << 10)
        copies = [bytearray(piece) for _ in range(4)]

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    thread = threading.Thread(target=pass_on)
    thread.start()
    thread.join()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

give_back_what_is_free()
faults()
print(faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these settings")
def test_the_pages_of_a_message_are_used_again_for_the_next() -> None:
    told = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout

    assert int(told) < 5 * 256 / 4 * 50  # a quarter of the pages of all messages
