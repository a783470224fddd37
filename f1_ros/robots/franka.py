"""Franka: the hand's own actions, the robot's mode, error recovery, and ros2_control's controllers.

Sources: franka_ros2 (jazzy), libfranka.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from f1_ros.robots.parts import FRANKA_GRASP, Gripper
from f1_ros.robots.ros import RosTransport
from f1_ros.robots.transport import GripperGoal, RobotRequest

FRANKA_STATE = "franka_msgs/msg/FrankaRobotState"
FRANKA_MOVE = "franka_msgs/action/Move"
ERROR_RECOVERY = "franka_msgs/action/ErrorRecovery"
SWITCH_CONTROLLER = "controller_manager_msgs/srv/SwitchController"
SET_HARDWARE = "controller_manager_msgs/srv/SetHardwareComponentState"
_LIFECYCLE_ACTIVE = 3  # lifecycle_msgs/State.PRIMARY_STATE_ACTIVE
_STRICT = 2  # SwitchController.STRICT: all of it or nothing

TROUBLES: Mapping[int, str] = {
    4: "the robot has stopped by a reflex",
    5: "the robot is stopped by its user stop",
    6: "the robot recovers from an error",
}
"""robot_mode of FrankaRobotState that stand against commands. 0 other, 1 idle, 2 move and 3 guiding do not."""


class FrankaTransport(RosTransport):
    """A `Transport` for a Franka; its arm speaks JointState, JointTrajectory or an array, as the profile says."""

    @property
    def status_topic(self) -> tuple[str, str] | None:
        """See `Transport`."""
        return None if self.profile.franka is None else (self.profile.franka.state, FRANKA_STATE)

    def gripper_goal(self, name: str, width: float, before: float | None = None) -> GripperGoal:
        """See `Transport`. Closing is a grasp, which holds what it meets by force; opening is a move.

        A grasp succeeds if what it holds is within epsilon of the width: any thing in the stroke counts. A move to a
        width where something is in the way fails, and lets go of nothing, but does not hold it either.
        """
        gripper = self.gripper(name)
        path = gripper.command
        if path.type != FRANKA_GRASP:
            return super().gripper_goal(name, width, before)
        raw = self._to_raw[name].to_raw(width)
        if before is not None and width > before:
            return GripperGoal(_move_of(gripper), FRANKA_MOVE, {"width": raw, "speed": path.speed})
        stroke = gripper.open - gripper.closed
        fields = {"width": raw, "epsilon": {"inner": stroke, "outer": stroke}, "speed": path.speed}
        return GripperGoal(path.action, FRANKA_GRASP, {**fields, "force": path.max_effort})

    def trouble(self, message: Any) -> str:
        """See `Transport`."""
        return TROUBLES.get(int(message.robot_mode), "")

    def enable(self) -> tuple[RobotRequest, ...]:
        """See `Transport`: the hardware active, and our controller in place of others."""
        franka = self.profile.franka
        if franka is None or not franka.manager:
            return ()
        requests = []
        if franka.hardware:
            requests.append(
                RobotRequest(
                    f"activate hardware {franka.hardware}",
                    "service",
                    f"{franka.manager}/set_hardware_component_state",
                    SET_HARDWARE,
                    {"name": franka.hardware, "target_state": {"id": _LIFECYCLE_ACTIVE, "label": "active"}},
                    success="ok",
                )
            )
        if franka.controller:
            fields = {
                "activate_controllers": [franka.controller],
                "deactivate_controllers": list(franka.instead_of),
                "strictness": _STRICT,
                "activate_asap": True,
            }
            name = f"{franka.manager}/switch_controller"
            requests.append(
                RobotRequest(f"activate {franka.controller}", "service", name, SWITCH_CONTROLLER, fields, success="ok")
            )
        return tuple(requests)

    def recover(self) -> tuple[RobotRequest, ...]:
        """See `Transport`: error recovery, then the hardware, then the controller again."""
        franka = self.profile.franka
        if franka is None:
            return ()
        return (RobotRequest("error recovery", "action", franka.recovery, ERROR_RECOVERY), *self.enable())

    def _actions_of(self, gripper: Gripper) -> dict[str, str]:
        if gripper.command.type != FRANKA_GRASP:
            return super()._actions_of(gripper)
        return {gripper.command.action: FRANKA_GRASP, _move_of(gripper): FRANKA_MOVE}

    def _describe_goal(self, gripper: Gripper) -> str:
        if gripper.command.type != FRANKA_GRASP:
            return super()._describe_goal(gripper)
        to_raw = self._to_raw[gripper.name]
        ends = f"{to_raw.raw_closed:g} closed to {to_raw.raw_open:g} open, on change"
        return f"{gripper.command.action} width to close, {_move_of(gripper)} width to open, {ends}"


def _move_of(gripper: Gripper) -> str:
    return gripper.command.action.rpartition("/")[0] + "/move"
