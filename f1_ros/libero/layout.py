"""What is known of LIBERO's tasks, and of the datasets that policies are trained on.

Sources: openpi's `examples/libero/main.py` (protocol, step limits), OpenVLA's `regenerate_libero_dataset.py` (how the
datasets came about), LeRobot's `envs/libero.py`, any4lerobot's `oxe_utils/transforms.py` (gripper).
"""

from __future__ import annotations

STATE_NAMES = ("x", "y", "z", "roll", "pitch", "yaw", "gripper_left", "gripper_right")
"""State: tool position (m), orientation as axis times angle (rad; "roll, pitch, yaw" is what the datasets call it), and
the two finger joints (m; 0.04 and -0.04 open)."""

ACTION_NAMES = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")
"""Action: the tool's motion in one step as a share of the controller's range (1: 5 cm or 0.5 rad), and the gripper."""

STEP_LIMITS = {
    "libero_spatial": 220,
    "libero_object": 280,
    "libero_goal": 300,
    "libero_10": 520,
    "libero_90": 400,
}
"""Suites, and how many steps an episode may take: a little more than the longest demonstration."""

TASKS = {"libero_spatial": 10, "libero_object": 10, "libero_goal": 10, "libero_10": 10, "libero_90": 90}

AGENT_VIEW = "agentview"
WRIST_VIEW = "robot0_eye_in_hand"
VIEWS = (AGENT_VIEW, WRIST_VIEW)
"""LIBERO's names of its two cameras."""

KNOWN_CAMERAS = {"image": AGENT_VIEW, "wrist_image": WRIST_VIEW, "image2": WRIST_VIEW}
"""What public datasets call them."""

STATE_SIZE = len(STATE_NAMES)
ACTION_SIZE = len(ACTION_NAMES)
PICTURE_SIZE = 256
"""Side of a picture, px, as the datasets were rendered."""

CONTROL_HZ = 20
"""One action, one frame of a dataset, one simulator step. Some datasets say 10 frames/s; their frames are these."""

SETTLE_STEPS = 10
"""Steps with the arm at rest before the policy begins: objects fall into place, as when the datasets were made."""

REST_ACTION = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0)
"""LIBERO's own terms: no motion, gripper open (1 is closed)."""
