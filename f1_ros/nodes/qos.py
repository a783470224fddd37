"""Quality of service of the topics that the nodes share."""

from __future__ import annotations

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

SENSOR = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
"""Cameras, joint states, foresight: only the newest counts. A best-effort reader matches every writer."""

JOINT_HISTORY = QoSProfile(depth=200, reliability=ReliabilityPolicy.BEST_EFFORT)
"""Joint states where they are interpolated: those since the last camera frame, at up to 1 kHz, all taken at once."""

OBSERVATION = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
"""Observations. Three 224x224 cameras make 2 MB: too much for one packet of shared memory, so best effort loses most of
them (77 of 100 on one machine), reliable none. A depth of 1 still keeps only the newest."""

COMMAND = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
"""Action chunks, status: a newer one replaces the older, but the newest must arrive."""

LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
"""Commands to a receiver that asks for transient local, as Genie-1's simulator does."""

DIAGNOSTICS = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
"""/diagnostics: several parts may change at once, and each change is a message."""
