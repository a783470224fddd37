"""A loop that does nothing but sleep to absolute deadlines at 100 Hz: what of a late command is the machine's own.

It sleeps and is scheduled as the action node's loop is. Runs until its standard input closes, then prints every
period error in ms as JSON.
"""

from __future__ import annotations

import json
import sys
import threading

from f1_ros.control.loop import SystemMonotonic, enter_realtime

PERIOD_NS = 10_000_000


def main() -> None:
    """Run the loop."""
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    clock = SystemMonotonic()
    enter_realtime()
    errors_ms = []
    before = clock.now_ns()
    deadline = before + PERIOD_NS
    while not ended.is_set():
        clock.sleep_until(deadline)
        now = clock.now_ns()
        errors_ms.append(abs(now - before - PERIOD_NS) * 1e-6)
        before, deadline = now, deadline + PERIOD_NS
    print(json.dumps(errors_ms[1:]))


if __name__ == "__main__":
    main()
