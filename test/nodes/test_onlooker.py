"""Who asks a running system for POLICY, beside a real action node."""

from typing import Any

import pytest
from f1_msgs.msg import ControlStatus
from robot_rig import StandInRobot

from f1_ros.errors import BringUpError
from f1_ros.nodes.onlooker import Onlooker
from f1_ros.robots.profile import load_profile


def test_policy_is_asked_for_out_of_a_fault_and_as_soon_as_there_is_a_policy(
    ros: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", str(ros.domain))
    robot = StandInRobot(ros, load_profile("arx_lift2_x5", simulated=True))
    ros.start("action_node", profile="arx_lift2_x5", use_sim_time=True)
    robot.come_up("/joint_control")
    onlooker = Onlooker("onlooker")

    def drive() -> None:
        robot.send_chunk({})
        onlooker.spin(0.02)

    def stand() -> None:
        onlooker.spin(0.02)

    try:
        ros.until(onlooker.keep_policy, "POLICY", drive)
        ros.until(lambda: onlooker.faults, "silence of the policy is a fault", stand)
        ros.until(lambda: not onlooker.keep_policy() and robot.status.mode == ControlStatus.HOLD, "HOLD", stand)
        with pytest.raises(BringUpError, match="for a policy that is not there"):
            onlooker.until(onlooker.keep_policy, "a policy that is not there", timeout_s=0.2)
        ros.until(onlooker.keep_policy, "POLICY again", drive)
        assert len(onlooker.faults) == 1
    finally:
        onlooker.close()
