"""What the control process says about itself: figures, and a remedy with whatever is wrong."""

from __future__ import annotations

from collections.abc import Callable

from f1_ros.control.arbiter import Cause
from f1_ros.control.clock import WallClock
from f1_ros.control.controller import Controller
from f1_ros.control.loop import RateLoop
from f1_ros.nodes.control_report import ControlReport, Diagnosis
from f1_ros.nodes.diagnostics import Level
from f1_ros.robots.profile import load_profile

FRANKA = load_profile("franka_fr3")
HERE = list(FRANKA.arms[0].ready)
NOW_NS = 1_000_000_000


def diagnoses(prepare: Callable[[Controller], object] = lambda controller: None, now_ns: int = NOW_NS):
    controller = Controller(FRANKA)
    prepare(controller)
    report = ControlReport(FRANKA, controller, RateLoop(controller.period_ns, WallClock()))
    found: list[Diagnosis] = report.diagnoses(now_ns, {})
    return {part: (level, message, values) for part, level, message, values in found}


def hear_all(controller: Controller) -> None:
    controller.on_joint_state(FRANKA.joints, HERE, [0.0] * 7, NOW_NS)
    controller.tick(NOW_NS)


def hear_six(controller: Controller) -> None:
    controller.on_joint_state(FRANKA.joints[:6], HERE[:6], [0.0] * 6, NOW_NS)


def test_arbiter_joint_state_and_publisher_are_parts_of_their_own_with_figures() -> None:
    found = diagnoses(hear_all)
    assert {part: level for part, (level, _, _) in found.items()} == {
        "control": Level.OK,
        "joint state": Level.OK,
        "deadlines": Level.OK,
        "clock": Level.OK,
        "chunks": Level.OK,
        "gripper gripper state": Level.WARN,
    }
    assert found["joint state"][2]["distance from the command rad"] == 0.0
    assert found["deadlines"][2]["period error p99.9 ms"] == 0.0


def test_a_joint_that_was_never_heard_of_is_named() -> None:
    level, message, _ = diagnoses(hear_six)["joint state"]
    assert (level, message) == (Level.ERROR, "No position of fr3_joint7.")


def test_whatever_is_wrong_comes_with_a_remedy() -> None:
    def fault(controller: Controller) -> None:
        hear_all(controller)
        controller.on_trouble(Cause.RIVAL, "someone else commands")
        controller.tick(NOW_NS + controller.period_ns)

    wrong = [d for prepare in (hear_six, fault) for d in diagnoses(prepare, now_ns=0).values() if d[0] != Level.OK]
    assert {message for _, message, _ in wrong} >= {"FAULT: someone else commands", "No position of fr3_joint7."}
    assert [message for _, message, values in wrong if not str(values.get("remedy", "")).endswith(".")] == []
