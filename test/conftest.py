"""Settings of all tests."""

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

# Before torch and rclpy are imported anywhere. Tests with ROS set a domain of their own on top.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"

# A script's background job ignores SIGINT, and so would every process that a test starts and interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples on every run, and no time limit: a busy machine is no failure.
settings.register_profile("f1_ros", derandomize=True, deadline=None, max_examples=50)
settings.load_profile("f1_ros")

_ROS_FOLDERS = {"nodes", "bringup"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what starts ROS processes: `make test` runs those one after the other."""
    here = Path(__file__).parent
    for item in items:
        if item.path.relative_to(here).parts[0] in _ROS_FOLDERS:
            item.add_marker(pytest.mark.ros)
