"""Random and adversarial chunks, a few of those that `bench/limits.py` runs by the million: its code, other seeds."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from f1_ros.control.arbiter import Mode
from f1_ros.control.command import Command


def load_bench() -> ModuleType:
    path = Path(__file__).parents[2] / "bench" / "limits.py"
    spec = importlib.util.spec_from_file_location("bench_limits", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


BENCH = load_bench()


@settings(max_examples=6, deadline=None, derandomize=True)
@given(seed=st.integers(10**6, 10**7))
def test_no_chunk_leads_outside_a_limit_and_every_refusal_has_a_name(seed) -> None:
    tally = BENCH.run_batch(seed, 120)
    assert tally.counts["offered"] == 120
    assert {limit: excess for limit, excess in tally.worst.items() if excess > BENCH.MOST} == {}
    assert (tally.counts["violations"], tally.counts["unnamed"], tally.counts["stuck"]) == (0, 0, 0)
    assert tally.counts["chunks"] > 0
    assert tally.counts["rejected"] > 0


@pytest.mark.parametrize(
    ("limit", "position", "velocity"),
    [
        ("position", 2.8, 0.0),
        ("velocity", 0.0, 2.63),
        ("velocity", 0.03, 0.0),
        ("acceleration", 0.0, 0.11),
        ("jerk", 0.0, 0.9),
        ("distance_to_measured", 0.6, 0.0),
    ],
)
def test_the_check_sees_a_command_that_is_outside(limit, position, velocity) -> None:
    """The judge of the benchmark is judged: what it is to find, it finds."""
    tally = BENCH.Tally()
    check = BENCH.Check(BENCH.FRANKA, tally)
    ready = np.array(BENCH.FRANKA.ready)
    still = Command(ready, np.zeros(7), {}, Mode.POLICY, "policy", False, "")
    for _ in range(2):
        check(still, ready)
    assert tally.counts["violations"] == 0
    first = np.array([1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    check(Command(ready + position * first, velocity * first, {}, Mode.POLICY, "policy", False, ""), ready)
    assert tally.worst[limit] > BENCH.MOST
    assert tally.counts["violations"] > 0


def test_the_check_sees_a_tool_outside_its_workspace() -> None:
    tally = BENCH.Tally()
    profile = BENCH.PROFILES["franka in a workspace"]
    stretched = np.array(profile.ready) + np.array([0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0])
    BENCH.Check(profile, tally)(Command(stretched, np.zeros(7), {}, Mode.POLICY, "policy", False, ""), stretched)
    assert tally.worst["workspace"] > BENCH.MOST
