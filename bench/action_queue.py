"""Plays the runs of bench/splices.py through lerobot's own ActionQueue. Runs in the environment of `make bench-peers`.

Reads JSON lines {"seed", "checksum"} from standard input and answers each with {"seed", "ratio", "gaps", "distance"},
and with {"trace"}, times and positions of the first joint, where {"trace": true} asks for it.

The queue is used as lerobot 0.4.4's documentation and its loop on the real robot (examples/rtc) use it: real-time
chunking enabled, each chunk merged with the delay that it really had, one action taken in each step period. Chunks
that are older than the newest, or past as a whole, are not merged, which its loop cannot meet.
"""

import json
import logging
import math
import sys

import numpy as np
import torch
from lerobot.policies.rtc.action_queue import ActionQueue
from lerobot.policies.rtc.configuration_rtc import RTCConfig
from splice_runs import NS, SECONDS, Run, draw_run


def play(run: Run) -> dict:
    """Play a run; the figures are those of `Outcome` in splices.py."""
    queue = ActionQueue(RTCConfig(enabled=True))
    arrivals, newest, valid_until_ns = list(reversed(run.arrivals)), None, -1
    before, largest, inside, gaps, squares, trace = None, 0.0, 0.0, 0, [], []
    for tick in range(math.floor(SECONDS * NS / run.step_ns)):
        now_ns = round(run.phase_s * NS) + tick * run.step_ns
        while arrivals and arrivals[-1][0] <= now_ns:
            when_ns, chunk = arrivals.pop()
            if run.end_ns(chunk) < when_ns or (newest is not None and run.stamps_ns[chunk] <= run.stamps_ns[newest]):
                continue
            newest, valid_until_ns = chunk, max(valid_until_ns, run.end_ns(chunk))
            # Its loop: ceil(latency / step). Its chunks begin at the observation, these one step later.
            delay = max(math.ceil((when_ns - run.stamps_ns[chunk]) / run.step_ns) - 1, 0)
            actions = torch.from_numpy(run.positions[chunk])
            queue.merge(actions, actions, delay, None)
            inside = max(inside, run.largest[chunk])
        action = queue.get()
        if newest is None:
            continue
        if action is None:
            gaps += now_ns <= valid_until_ns
            continue  # its loop sends nothing: the robot stays at the last one
        position = action.numpy()
        if before is not None:
            largest = max(largest, np.abs(position - before).max())
        squares.append(np.square(position - run.wanted(newest, now_ns)).mean())
        trace.append((now_ns / NS, position[0]))
        before = position
    ratio = largest / inside if inside else 0.0
    return {"ratio": ratio, "gaps": gaps, "distance": float(np.sqrt(np.mean(squares or [0.0]))), "trace": trace}


def main() -> None:
    """Answer until there is no more."""
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    for line in sys.stdin:
        asked = json.loads(line)
        run = draw_run(asked["seed"])
        if not math.isclose(run.checksum, asked["checksum"], rel_tol=1e-9):
            raise SystemExit(f"Run {asked['seed']} is another one here: this numpy draws other numbers.")
        outcome = play(run)
        if not asked.get("trace"):
            del outcome["trace"]
        print(json.dumps({"seed": asked["seed"], **outcome}), flush=True)


if __name__ == "__main__":
    main()
