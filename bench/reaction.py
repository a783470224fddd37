"""From the belt turning round to the first command that differs because of it, in the running simulated system.

    python bench/reaction.py [--events 300] [--out DIR]

The belt turns round again and again while the policy picks. Two instants are measured of each event, both from when the
simulation took the new speed (its clock is known to about a tick of 10 ms):

    seen       the first command computed from pictures taken after it: the first that can differ because of it. Its
               bound is the time to the first action and half the replanning period, for an event falls anywhere between
               two pictures (arXiv 2603.19199).
    answered   the commanded hand has left the course of the plan that was in force then, along the belt and against its
               old direction, by more than it leaves the plan in force within the same time where the belt did not turn
               (the 99th percentile of such pairs, for each delay). Only where it does within 1 s, as in most phases of
               a pick the belt does not matter.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from f1_msgs.msg import ActionChunk as ActionChunkMsg
from live import EVERY, HERE, Watcher, alive, percentiles, running
from numpy.typing import NDArray
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock as ClockMsg
from sensor_msgs.msg import JointState

from f1_ros.bringup import BringUp, FrankaOptions, franka
from f1_ros.cli.report import Report, Result
from f1_ros.control.clock import SimClock
from f1_ros.errors import ConfigError, F1Error
from f1_ros.nodes.conversions import to_ns
from f1_ros.nodes.polled import PolledSubscription
from f1_ros.sim.scene import Scene
from f1_ros.supervisor import Supervisor
from f1_ros.trace import Marks, read_traces

BELT = 0.15
WAIT_S = (1.0, 2.0)
"""Between two events, drawn evenly: longer than an answer takes, and in no step with cameras or cubes."""
WITHIN_S = 1.0
"""How long an answer is waited for."""
SETTLE_S = 5.0
