"""Memory that is free goes back to the system.

glibc raises the size from which on it maps blocks by themselves, up to 32 MiB, and keeps one heap for each of many
threads. Columns of series are below that: after a hundred readers the process kept 170 MiB of nothing.

Each heap keeps 8 MiB, from which it takes blocks of any size. Without that, the system had to zero new pages for each
copy of each message of a file: of 3.8 s of CPU time for a download of 1 GiB, 1.1 s are left.
"""

import ctypes
import sys

_TOP_PAD, _MMAP_THRESHOLD, _ARENA_MAX = -2, -3, -8  # of mallopt(3)


def give_back_what_is_free() -> None:
    """Maps blocks of 128 KiB and more by themselves where a heap has no room for them, and keeps four heaps.

    Does nothing where there is no mallopt.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(_TOP_PAD, 8 << 20)
            mallopt(_MMAP_THRESHOLD, 128 << 10)
            mallopt(_ARENA_MAX, 4)
