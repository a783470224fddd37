"""A loop that does nothing but sleep to absolute deadlines at 100 Hz: what of a late command is the machine's own.

Runs until its standard input closes, then prints every period error as JSON.
"""

from __future__ import annotations

import json
import sys
import threading
import time

PERIOD_NS = 10_000_000


def main() -> None:
    """Run the loop."""
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    errors_ms = []
    deadline = time.monotonic_ns() + PERIOD_NS
    before = time.monotonic_ns()
    while not ended.is_set():
        time.sleep(max(0, deadline - time.monotonic_ns()) * 1e-9)
        now = time.monotonic_ns()
        errors_ms.append(abs(now - before - PERIOD_NS) * 1e-6)
        before, deadline = now, deadline + PERIOD_NS
    print(json.dumps(errors_ms[1:]))


if __name__ == "__main__":
    main()
