"""Freed memory is used again."""

import subprocess
import sys

CODE = """
import resource, sys
import numpy as np
from f1_ros.train.allocator import keep_freed_memory

if sys.argv[1] == "kept":
    keep_freed_memory()
for turn in range(20):
    if turn == 10:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    arrays = [np.ones(size << 18, np.float32) for size in (1, 3, 40)]
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    """Pages that ten rounds of 44 MB each fetched from the system."""
    done = subprocess.run([sys.executable, "-c", CODE, how], capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_arrays_of_the_same_size_get_the_memory_of_those_before() -> None:
    assert faults("given back") > 50
    assert faults("kept") < 10
