"""Transports: vectors to the fields of each robot's messages, and back."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from f1_ros.errors import ProfileError
from f1_ros.robots.choose import transport_for
from f1_ros.robots.files import profile_path
from f1_ros.robots.profile import RobotProfile, load_profile
from f1_ros.robots.transport import Targets, Transport

FR3, PANDA = load_profile("franka_fr3"), load_profile("franka_panda")
GENIE, GENIE_SIM, X5, ACONE = (
    load_profile(n, simulated=True) for n in ("genie1", "genie1_simulator", "arx_lift2_x5", "arx_lift2_acone")
)
ALL = (FR3, PANDA, GENIE, GENIE_SIM, X5, ACONE)
NAMES = tuple(f"fr3_joint{i}" for i in range(1, 8))
FINGERS = ["fr3_finger_joint1", "fr3_finger_joint2"]


def loaded(tmp_path: Any, base: str, change: Any, simulated: bool = False) -> RobotProfile:
    """A profile made of a shipped one, its anchors resolved."""
    data = yaml.safe_load(profile_path(base).read_text())
    change(data)
    (tmp_path / "robot.yaml").write_text(yaml.safe_dump(data))
    return load_profile(tmp_path / "robot.yaml", simulated=simulated)


def sent(profile: RobotProfile, position: Any, velocity: Any = None, **streamed: float) -> dict[str, Any]:
    """Fields by topic of one tick."""
    position = np.asarray(position, dtype=float)
    velocity = np.zeros_like(position) if velocity is None else np.asarray(velocity, dtype=float)
    transport = transport_for(profile)
    return {m.topic: m.fields for m in transport.command_messages(Targets(position, velocity, streamed))}


def said(transport: Transport, topic: str, **fields: Any) -> tuple[Any, dict[str, float]]:
    """What a message on a topic says: its reading, and widths."""
    reading = transport.read(topic, SimpleNamespace(**fields))
    return reading, dict(transport.streamed(topic, reading))


# -- Franka -----------------------------------------------------------------------------------------------------------


def test_franka_s_command_has_the_profile_s_joints_in_order() -> None:
    (fields,) = sent(FR3, np.arange(7.0), np.arange(7.0) / 10).values()
    assert fields["name"] == NAMES
    assert list(fields["position"]) == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert list(fields["velocity"]) == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6])


@pytest.mark.parametrize(("width", "goal"), [(0.0, 0.0), (0.03, 0.015), (0.08, 0.04), (-0.1, 0.0), (0.5, 0.04)])
def test_gripper_command_s_goal_is_half_the_width_within_the_stroke(width, goal) -> None:
    made = transport_for(FR3).gripper_goal("gripper", width)
    assert (made.action, made.type) == ("/franka_gripper/gripper_action", "control_msgs/action/GripperCommand")
    assert made.fields["command"] == {"position": pytest.approx(goal), "max_effort": 20.0}


def test_franka_gripper_grasps_to_close_and_moves_to_open() -> None:
    transport = transport_for(PANDA)
    assert dict(transport.gripper_actions["gripper"]) == {
        "/franka_gripper/grasp": "franka_msgs/action/Grasp",
        "/franka_gripper/move": "franka_msgs/action/Move",
    }
    close = transport.gripper_goal("gripper", 0.0, before=0.08)
    assert (close.action, close.fields["width"], close.fields["force"]) == ("/franka_gripper/grasp", 0.0, 20.0)
    assert close.fields["epsilon"] == {"inner": 0.08, "outer": 0.08}, "whatever is between the fingers is held"
    opened = transport.gripper_goal("gripper", 0.06, before=0.0)
    assert (opened.action, opened.fields) == ("/franka_gripper/move", {"width": pytest.approx(0.06), "speed": 0.1})
    assert transport.gripper_goal("gripper", 0.0).action == "/franka_gripper/grasp"


def test_the_gripper_s_width_is_the_sum_of_both_fingers() -> None:
    transport, topic = transport_for(FR3), "/franka_gripper/joint_states"
    names = [*NAMES, *FINGERS[::-1]]
    for given_names, positions, width in (
        (FINGERS, [0.02, 0.021], 0.041),
        (names, [0.0] * 7 + [0.04, 0.03], 0.07),
        (NAMES, [0.0] * 7, None),
        (FINGERS[:1], [0.02], None),
        (FINGERS, [0.02], None),
    ):
        _, widths = said(transport, topic, name=given_names, position=positions, velocity=[])
        assert widths == ({} if width is None else {"gripper": pytest.approx(width)})


def test_a_reflex_and_a_user_stop_are_troubles_and_recovery_ends_with_the_controller() -> None:
    transport = transport_for(FR3)
    troubles = {mode: transport.trouble(SimpleNamespace(robot_mode=mode)) for mode in range(7)}
    assert [mode for mode, text in troubles.items() if text] == [4, 5, 6]
    assert "reflex" in troubles[4]
    assert "user stop" in troubles[5]
    assert [r.name for r in transport.recover()] == ["/action_server/error_recovery"]
    assert transport.enable() == ()
    franka = replace(
        FR3.franka, manager="/controller_manager", hardware="FrankaHardwareInterface",
        controller="joint_impedance_controller", instead_of=("gravity_compensation",),
    )  # fmt: skip
    requests = transport_for(replace(FR3, franka=franka)).recover()
    assert [(r.kind, r.name) for r in requests] == [
        ("action", "/action_server/error_recovery"),
        ("service", "/controller_manager/set_hardware_component_state"),
        ("service", "/controller_manager/switch_controller"),
    ]
    assert requests[2].fields["activate_controllers"] == ["joint_impedance_controller"]
    assert requests[2].fields["deactivate_controllers"] == ["gravity_compensation"]


def test_a_trajectory_is_the_whole_path_and_ends_at_rest(tmp_path) -> None:
    def change(data: dict[str, Any]) -> None:
        data["arms"][0]["command"] = {
            "topic": "/jtc/joint_trajectory", "type": "trajectory_msgs/msg/JointTrajectory", "rate_hz": 10,
        }  # fmt: skip

    profile = loaded(tmp_path, "franka_fr3", change)
    transport = transport_for(profile)
    assert transport.trajectory_hz == 10
    now = Targets(np.zeros(7), np.zeros(7))
    assert [m.topic for m in transport.command_messages(now)] == ["joint_command"], "each tick only says what holds"
    path = np.stack([np.full((2, 7), value) for value in (0.1, 0.2, 0.3)])
    (message,) = transport.command_messages(replace(now, path=path, step_s=0.05))
    assert message.topic == "/jtc/joint_trajectory"
    assert message.fields["joint_names"] == NAMES
    assert "header" not in message.fields, "stamp 0: from its arrival on"
    points = message.fields["points"]
    assert [p["positions"][0] for p in points] == pytest.approx([0.1, 0.2, 0.3])
    assert [p["velocities"][3] for p in points] == pytest.approx([0.1, 0.2, 0.0]), "Jazzy refuses another end"
    assert [p["time_from_start"] for p in points] == [
        {"sec": 0, "nanosec": 50_000_000}, {"sec": 0, "nanosec": 100_000_000}, {"sec": 0, "nanosec": 150_000_000},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("below", "simulated", "problem"),
    [
        (None, False, "raw position steps"),
        ("simulation", False, "is a simulation, and this is not one"),
        ("simulation", True, ""),
        ("impedance", False, ""),
    ],
)
def test_forward_commands_need_something_soft_below(tmp_path, below, simulated, problem) -> None:
    def change(data: dict[str, Any]) -> None:
        command = {"topic": "/forward/commands", "type": "std_msgs/msg/Float64MultiArray"}
        data["arms"][0]["command"] = command | ({"below": below} if below else {})

    if problem:
        with pytest.raises(ProfileError, match=problem):
            loaded(tmp_path, "franka_fr3", change, simulated)
        return
    fields = sent(loaded(tmp_path, "franka_fr3", change, simulated), np.arange(7.0))["/forward/commands"]
    assert list(fields["data"]) == list(range(7))


# -- ARX --------------------------------------------------------------------------------------------------------------


def test_x5_arms_are_told_six_joints_and_the_motor_in_float32() -> None:
    fields = sent(X5, np.arange(12.0), left_gripper=0.044, right_gripper=0.088)
    left, right = fields["/joint_control"], fields["/joint_control2"]
    assert left["joint_pos"].dtype == np.float32
    assert left["joint_pos"].tolist() == pytest.approx([0, 1, 2, 3, 4, 5, 2.5, 0])
    assert right["joint_pos"].tolist() == pytest.approx([6, 7, 8, 9, 10, 11, 5.0, 0])
    assert "/body_control" not in fields, "lift and base are left alone"


def test_acone_s_gripper_runs_the_other_way() -> None:
    fields = sent(ACONE, np.arange(12.0), left_gripper=0.022, right_gripper=0.0)
    assert fields["/arm_master_l_status"]["joint_pos"].tolist() == pytest.approx([0, 1, 2, 3, 4, 5, -0.85])
    assert fields["/arm_master_r_status"]["joint_pos"].tolist() == pytest.approx([6, 7, 8, 9, 10, 11, 0.0])
    transport = transport_for(ACONE)
    reading, widths = said(
        transport, "/arm_slave_r_status", joint_pos=np.array([1.0, 2, 3, 4, 5, 6, -1.7]), joint_vel=np.zeros(7)
    )
    assert reading.names[:6] == tuple(f"right_joint{i}" for i in range(1, 7))
    assert list(reading.positions[:6]) == [1, 2, 3, 4, 5, 6]
    assert widths == {"right_gripper": pytest.approx(0.044)}


def test_a_single_arm_has_a_field_for_its_gripper_and_is_told_its_mode(tmp_path) -> None:
    def change(data: dict[str, Any]) -> None:
        arm, hand = data["arms"][0], data["grippers"][0]
        data["arms"], data["grippers"] = [arm], [hand]
        arm["command"] = {"topic": "/arm_cmd", "type": "arx5_arm_msg/msg/RobotCmd"}
        arm["state"] = {"topic": "/arm_status", "type": "arx5_arm_msg/msg/RobotStatus", "rate_hz": 100}
        arm["joints"] = [joint | {"acceleration": 2.0, "jerk": 20.0} for joint in arm["joints"]]
        hand["command"] |= arm["command"]
        hand["state"] |= {"topic": "/arm_status"}
        del data["body"], data["open"]

    fields = sent(loaded(tmp_path, "arx_lift2_x5", change), np.arange(6.0), left_gripper=0.0176)["/arm_cmd"]
    assert fields["joint_pos"].tolist() == [0, 1, 2, 3, 4, 5]
    assert (fields["gripper"], fields["mode"]) == (pytest.approx(1.0), 5)


def test_the_lift_is_led_and_the_wheels_kept_at_rest_if_the_profile_says_so() -> None:
    body = replace(X5.body, height=0.2, waist=0.1, wheels=True)
    profile = replace(X5, body=body)
    transport = transport_for(profile)
    assert {s.name: s.target for s in transport.streams} == {"left_gripper": None, "right_gripper": None, "lift": 0.2}
    fields = sent(profile, np.zeros(12), left_gripper=0.0, right_gripper=0.0, lift=0.3)["/body_control"]
    assert (fields["height"], fields["mode1"]) == (0.3, 3)
    assert fields["temp_float_data"].tolist() == [0.1, 0, 0, 0, 0, 0]
    assert said(transport, "/body_information", height=0.25)[1] == {"lift": 0.25}
    alone = replace(profile, body=replace(body, wheels=False))
    assert sent(alone, np.zeros(12), left_gripper=0.0, right_gripper=0.0, lift=0.3)["/body_control"]["mode1"] == 0


def test_gravity_compensation_and_home_are_requests_after_which_nothing_is_sent() -> None:
    extras = {extra.name: extra for extra in transport_for(X5).extras()}
    assert set(extras) == {"gravity_compensation", "home"}
    assert [list(extras[name].requests[0].fields["data"]) for name in ("gravity_compensation", "home")] == [
        [1, 0],
        [0, 1],
    ]
    assert all(extra.withhold for extra in extras.values())


# -- Genie-1 ----------------------------------------------------------------------------------------------------------


def test_genie_s_arms_share_a_message_and_its_grippers_have_their_own() -> None:
    fields = sent(GENIE, np.arange(14.0), left_gripper=0.06, right_gripper=0.12)
    assert set(fields) == {"/wbc/arm_command", "/wbc/left_ee_command", "/wbc/right_ee_command"}
    assert list(fields["/wbc/arm_command"]["position"]) == list(range(14))
    assert fields["/wbc/arm_command"]["name"] == GENIE.joints
    assert list(fields["/wbc/left_ee_command"]["position"]) == pytest.approx([60.0])
    assert list(fields["/wbc/right_ee_command"]["position"]) == pytest.approx([120.0])
    assert "velocity" not in fields["/wbc/left_ee_command"]


def test_genie_s_state_goes_by_its_order_and_a_longer_one_is_not_taken_for_it() -> None:
    transport, topic = transport_for(GENIE), "/hal/arm_joint_state"
    reading, _ = said(transport, topic, name=[], position=list(range(14)), velocity=[])
    assert tuple(reading.names) == GENIE.joints
    assert list(reading.positions) == list(range(14))
    reading, widths = said(transport, topic, name=[], position=list(range(42)), velocity=[])
    assert len(reading.names) != len(reading.positions), "whoever takes it refuses it"
    motor = SimpleNamespace(position=30.0)
    _, widths = said(transport, "/hal/right_ee_data", end_state=[motor])
    assert widths == {"right_gripper": pytest.approx(0.03)}
    assert said(transport, "/hal/right_ee_data", end_state=[])[1] == {}


def test_genie_s_simulator_takes_all_sixteen_in_one_latched_message() -> None:
    (out,) = transport_for(GENIE_SIM).outgoing
    assert out.latched
    fields = sent(GENIE_SIM, np.arange(14.0), left_gripper=0.06, right_gripper=0.12)["/sim/target_joint_state"]
    assert list(fields["position"]) == pytest.approx([*range(7), 0.5, *range(7, 14), 1.0])
    assert fields["name"][7] == "idx41_gripper_l_outer_joint1"
    assert list(fields["velocity"])[7] == 0.0


def test_genie_s_simulator_says_more_joints_than_are_asked_for_in_an_order_of_its_own() -> None:
    names = ["idx01_body_joint1", "idx81_gripper_r_outer_joint1", *reversed(GENIE_SIM.joints)]
    names.append("idx41_gripper_l_outer_joint1")
    position = [0.3, 0.4, *reversed(range(14)), 0.8]
    reading, widths = said(transport_for(GENIE_SIM), "/joint_states", name=names, position=position, velocity=[])
    by_name = dict(zip(reading.names, reading.positions, strict=True))
    assert [by_name[name] for name in GENIE_SIM.joints] == list(range(14))
    assert widths == {"left_gripper": pytest.approx(0.12), "right_gripper": pytest.approx(0.06)}


# -- all of them ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", ALL, ids=lambda p: p.name)
def test_every_entry_of_the_action_goes_somewhere_of_its_own(profile) -> None:
    transport = transport_for(profile)
    places = [transport.describe(name) for name in profile.action_names]
    assert len(set(places)) == len(profile.action_names)
    with pytest.raises(ProfileError, match="sends no 'nobody'"):
        transport.describe("nobody")
    with pytest.raises(ProfileError, match="no gripper 'nobody'"):
        transport.gripper_goal("nobody", 0.0)


@pytest.mark.parametrize("profile", ALL, ids=lambda p: p.name)
@given(data=st.data())
def test_what_is_sent_differs_where_the_targets_differ_and_nowhere_else(profile, data) -> None:
    """Each joint moves one number of one message: arms are not swapped and order is kept."""
    n = len(profile.joints)
    which = data.draw(st.integers(0, n - 1))
    value = data.draw(st.floats(-3.0, 3.0).filter(lambda v: abs(v) > 1e-3))
    widths = {stream.name: 0.0 for stream in transport_for(profile).streams}
    rest, moved = np.zeros(n), np.zeros(n)
    moved[which] = value

    def numbers(position: np.ndarray) -> list[float]:
        fields = sent(profile, position, **widths)
        topics = sorted(topic for topic in fields if topic != "joint_command")
        keys = {"position", "joint_pos", "data"}
        return [float(v) for t in topics for k in sorted(fields[t]) if k in keys for v in fields[t][k]]

    before, after = numbers(rest), numbers(moved)
    changed = [(b, a) for b, a in zip(before, after, strict=True) if a != b]
    assert changed == [(0.0, pytest.approx(value, rel=1e-6))]


def test_an_open_conversion_is_refused() -> None:
    gripper = FR3.grippers[0]
    unknown = replace(gripper, command=replace(gripper.command, open=None))
    with pytest.raises(ProfileError, match="Command of gripper 'gripper' is still open"):
        transport_for(replace(FR3, grippers=(unknown,)))
