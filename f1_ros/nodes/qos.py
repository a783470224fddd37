"""Quality of service of the topics that the nodes share."""

from __future__ import annotations

from rclpy.qos import QoSProfile, ReliabilityPolicy

SENSOR = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
"""Cameras, joint states, observations, foresight: only the newest counts. A best-effort reader matches every writer."""

COMMAND = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
"""Action chunks, status: a newer one replaces the older, but the newest must arrive."""

DIAGNOSTICS = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
"""/diagnostics: several parts may change at once, and each change is a message."""
