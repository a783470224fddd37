"""How the C library keeps memory while a CPU makes batches and gradients."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # glibc's malloc.h
_LARGEST_KEPT = 1 << 30


def keep_freed_memory() -> None:
    """Let freed memory be used again in place of giving it back to the system, which clears it each time.

    The arrays of a batch are as large as those of the one before: cleared anew, they cost the loader a fifth of its
    time, and torch on a CPU half of its. For the whole process, and for glibc; elsewhere nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _LARGEST_KEPT)
        mallopt(_TRIM_THRESHOLD, (1 << 31) - 1)
        mallopt(_TOP_PAD, 64 << 20)
