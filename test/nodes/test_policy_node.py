"""The policy node as a process of its own: newest observation first, and never a chunk that it cannot answer for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from f1_msgs.msg import ActionChunk, ControlStatus, Foresight, Observation
from f1_msgs.srv import SetInstruction
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image

from f1_ros.nodes.conversions import chunk_from_msg, observation_to_msg, to_ns, to_time
from f1_ros.nodes.qos import COMMAND, DIAGNOSTICS, OBSERVATION, SENSOR
from f1_ros.observe.observation import Observation as ObservationData

ECHO = Path(__file__).with_name("echo_policy.py")


class Bench:
    """Sends observations to the echo policy, and takes what comes."""

    def __init__(self, ros, **parameters) -> None:
        self.ros = ros
        self.chunks = ros.collect(ActionChunk, "/f1/action_chunk", COMMAND)
        self.statuses = ros.collect(DiagnosticArray, "/diagnostics", DIAGNOSTICS)
        self.publisher = ros.node.create_publisher(Observation, "/f1/observation", OBSERVATION)
        self.process = ros.start(ECHO, **parameters)

    def ready(self) -> Bench:
        self.ros.until(lambda: self.publisher.get_subscription_count() > 0, "the policy node subscribes")
        return self

    def now_ns(self) -> int:
        return self.ros.node.get_clock().now().nanoseconds

    def send(self, joint: float = 0.0, stamp_ns: int | None = None, robot: str = "toy", nan: bool = False) -> int:
        now_ns = self.now_ns()
        stamp_ns = now_ns if stamp_ns is None else stamp_ns
        observation = ObservationData(
            stamp_ns=stamp_ns,
            cameras=("front",),
            camera_stamps_ns=(stamp_ns,),
            images=np.zeros((1, 3, 8, 8), dtype=np.float32),
            history=np.zeros((2, 3, 8, 8), dtype=np.uint8),
            history_stamps_ns=(stamp_ns - 150_000_000, stamp_ns),
            state_names=("j1", "gripper"),
            state=np.array([np.nan if nan else joint, 0.04]),
        )
        self.publisher.publish(observation_to_msg(observation, robot, now_ns))
        return stamp_ns

    def answer(self, **how) -> ActionChunk:
        """Chunk of one observation."""
        before = len(self.chunks)
        self.ros.until(lambda: len(self.chunks) > before, "a chunk", meanwhile=lambda: self.resend(**how))
        return self.chunks[-1]

    def resend(self, **how) -> None:
        self.send(**how)
        self.ros.spin(0.1)

    def instruct(self, text: str) -> SetInstruction.Response:
        return self.ros.call(SetInstruction, "/f1/set_instruction", SetInstruction.Request(instruction=text))

    def said(self, text: str) -> list:
        return [status for array in self.statuses for status in array.status if text in status.message]


def test_a_chunk_says_what_it_was_computed_from_and_when_its_steps_are_due(ros) -> None:
    bench = Bench(ros).ready()
    foresights = ros.collect(Foresight, "/f1/foresight", SENSOR)
    pictures = ros.collect(Image, "/f1/foresight/image", SENSOR)
    message = bench.answer(joint=0.25)
    chunk = chunk_from_msg(message)
    assert (message.policy, message.instruction, chunk.robot) == ("echo", "echo", "toy")
    assert chunk.joint_names == ("j1", "gripper")
    assert chunk.positions.shape == (4, 2)
    np.testing.assert_array_equal(chunk.positions[:, 0], 0.25)
    assert (chunk.start_ns - chunk.stamp_ns, chunk.step_ns) == (50_000_000, 50_000_000)
    ros.until(lambda: foresights and pictures, "foresight and its picture", meanwhile=bench.resend)
    assert list(foresights[0].codes) == [0, 1, 2, 3, 4]
    assert to_ns(foresights[0].target_stamp) - to_ns(foresights[0].header.stamp) == 300_000_000
    assert (pictures[0].encoding, pictures[0].width, pictures[0].data[0]) == ("rgb8", 8, 4)
    ros.until(lambda: bench.said("Chunks go out"), "the inference on /diagnostics")
    values = {pair.key: pair.value for pair in bench.said("Chunks go out")[-1].values}
    assert {"flow [ms]", "total [ms]", "model latency p50 [ms]", "age of chunk [ms]"} <= values.keys()
    assert values["engine"] == "auto fp32"
    assert ros.stop(bench.process) == 0


def test_on_simulated_time_observations_are_aged_by_the_simulations_clock(ros) -> None:
    clock = ros.node.create_publisher(Clock, "/clock", SENSOR)
    bench, now_ns = Bench(ros, use_sim_time=True).ready(), [5_000_000_000]

    def resend() -> None:
        now_ns[0] += 100_000_000
        clock.publish(Clock(clock=to_time(now_ns[0])))
        bench.resend(stamp_ns=now_ns[0] - 50_000_000)

    ros.until(lambda: bench.chunks, "a chunk on the simulation's time", meanwhile=resend)
    assert 5_000_000_000 < to_ns(bench.chunks[0].header.stamp) <= now_ns[0]


def test_a_slow_policy_answers_the_newest_observation_and_leaves_out_the_others(ros) -> None:
    bench = Bench(ros, instruction="slow", max_observation_age=60.0).ready()
    bench.answer(joint=-1.0)
    ros.spin(1.0)
    bench.chunks.clear()
    sent = []
    for joint in range(12):
        sent.append(bench.send(joint=float(joint)))
        ros.spin(0.05)
    ros.until(lambda: bench.chunks and to_ns(bench.chunks[-1].header.stamp) == sent[-1], "the newest one's chunk")
    ros.spin(1.0)
    answered = [chunk.trajectory.points[0].positions[0] for chunk in bench.chunks]
    assert answered == sorted(answered)
    assert answered[-1] == 11.0
    assert len(answered) <= 5  # 0.6 s of observations at 0.4 s an inference; a backlog would answer all twelve


def test_the_instruction_changes_by_service_and_by_parameter_and_nonsense_is_refused(ros) -> None:
    bench = Bench(ros, instruction="pick the red cube").ready()
    assert bench.answer().instruction == "pick the red cube"
    response = bench.instruct("pick the blue cube")
    assert (response.success, response.instruction) == (True, "pick the blue cube")
    assert bench.answer().instruction == "pick the blue cube"
    assert ros.set_parameter("/f1/policy_node", "instruction", "stop").successful
    assert bench.answer().instruction == "stop"
    refused = bench.instruct("two\nlines")
    assert not refused.success
    assert "line breaks" in refused.message
    assert refused.instruction == "stop"
    assert bench.instruct("").instruction == "echo"
    assert not ros.set_parameter("/f1/policy_node", "seed", -1).successful
    assert not ros.set_parameter("/f1/policy_node", "max_rate", float("nan")).successful
    assert not ros.set_parameter("/f1/policy_node", "policy", "elsewhere").successful


def test_the_same_seed_and_observation_give_the_same_draw_in_any_process(ros) -> None:
    stamp_ns = ros.node.get_clock().now().nanoseconds

    def draw(seed: int, stamp_ns: int) -> float:
        bench = Bench(ros, seed=seed, max_observation_age=60.0).ready()
        value = bench.answer(stamp_ns=stamp_ns).trajectory.points[0].positions[1]
        assert ros.stop(bench.process) == 0
        ros.until(lambda: bench.publisher.get_subscription_count() == 0, "the policy node is gone")
        ros.node.destroy_publisher(bench.publisher)
        return value

    first = draw(7, stamp_ns)
    assert draw(7, stamp_ns) == first
    assert draw(8, stamp_ns) != first


def first_joint(message: ActionChunk) -> list[float]:
    return chunk_from_msg(message).positions[:, 0].tolist()


def test_a_chunk_goes_on_from_the_one_before_while_the_arm_follows_the_policy(ros) -> None:
    bench = Bench(ros, max_observation_age=60.0).ready()
    statuses = ros.node.create_publisher(ControlStatus, "/f1/status", COMMAND)
    ros.until(lambda: statuses.get_subscription_count() > 0, "the policy node hears the action node")

    def pair(mode: int, robot: str = "toy") -> list[float]:
        """Chunk of the second of two observations, 50 ms apart and 0.1 s old or more: three steps or all are past."""
        first_ns = bench.now_ns() - 100_000_000
        seen = []
        for stamp_ns, joint in ((first_ns, 0.1), (first_ns + 50_000_000, 0.2)):

            def send(stamp_ns: int = stamp_ns, joint: float = joint) -> None:
                status = ControlStatus(mode=mode)
                status.header.frame_id = robot
                statuses.publish(status)
                ros.spin(0.05)
                bench.resend(stamp_ns=stamp_ns, joint=joint)

            ros.until(
                lambda stamp_ns=stamp_ns: bench.chunks and to_ns(bench.chunks[-1].header.stamp) == stamp_ns,
                "its chunk",
                meanwhile=send,
            )
            seen.append(first_joint(bench.chunks[-1]))
        return seen[1]

    assert pair(ControlStatus.HOLD) == [0.2] * 4
    assert pair(ControlStatus.POLICY, robot="another") == [0.2] * 4
    followed = pair(ControlStatus.POLICY)
    assert followed[0] == 0.1
    assert followed[-1] == 0.2


@pytest.mark.parametrize(
    ("instruction", "says"),
    [("break", "The engine is broken"), ("crash", "KeyError"), ("not a number", "NaN or infinity")],
)
def test_an_engine_that_fails_gives_no_chunk_and_says_so_until_it_works_again(ros, instruction: str, says: str) -> None:
    bench = Bench(ros, instruction=instruction).ready()
    failed = ros.until(lambda: bench.said(says), "the failure on /diagnostics", meanwhile=bench.resend)
    assert failed[0].level == b"\x02"
    assert failed[0].name == "policy_node: inference"
    assert not bench.chunks
    bench.instruct("echo")
    bench.answer()
    assert ros.log(bench.process).count(says) <= 3  # said once, not at the rate of the observations


@pytest.mark.parametrize("instruction", ["hang", "crash"])
def test_an_engine_that_gives_nothing_for_ten_seconds_ends_its_process_for_a_new_start(ros, instruction: str) -> None:
    bench = Bench(ros, instruction=instruction).ready()
    ros.until(lambda: bench.process.poll() is not None, "the process ends", meanwhile=bench.resend)
    assert bench.process.returncode == 1  # after which the supervisor starts it again, up to five times
    assert "Nothing comes from the engine for 10 s" in ros.log(bench.process)
    assert not bench.chunks


def test_observations_that_are_old_malformed_or_of_another_robot_give_no_chunk(ros) -> None:
    bench = Bench(ros).ready()
    old = bench.now_ns() - 1_000_000_000
    ros.until(lambda: bench.said("more than 0.20 s old"), "old", meanwhile=lambda: bench.resend(stamp_ns=old))
    ros.until(lambda: bench.said("[nan, 0.04]") or bench.said("nan"), "NaN", meanwhile=lambda: bench.resend(nan=True))
    ros.until(lambda: bench.said("of 'other'"), "robot", meanwhile=lambda: bench.resend(robot="other"))
    assert not bench.chunks
    bench.answer()


def test_a_policy_that_cannot_be_loaded_ends_its_process_and_says_which_file(ros) -> None:
    bench = Bench(ros, policy="/missing")
    ros.until(lambda: bench.process.poll() is not None, "the process ends")
    assert bench.process.returncode == 2
    assert "model.safetensors is missing" in ros.log(bench.process)
    assert "Traceback" not in ros.log(bench.process)


def test_an_engine_without_a_passing_check_is_refused_with_the_command_that_makes_one(ros) -> None:
    bench = Bench(ros, engine="unchecked")
    ros.until(lambda: bench.process.poll() is not None, "the process ends")
    assert bench.process.returncode == 2
    log = ros.log(bench.process)
    assert "may not drive a robot: it was not checked against PyTorch" in log
    assert "f1-ros engine check /engine --policy" in log
    assert "Traceback" not in log


def test_an_engine_that_is_built_on_first_use_says_so_on_diagnostics_and_in_the_log_until_it_runs(ros) -> None:
    bench = Bench(ros, engine="to be built")
    ros.until(lambda: bench.said("No chunks yet. Building: "), "the building on /diagnostics")
    status = bench.said("No chunks yet")[-1]
    assert (status.name, status.level) == ("policy_node: engine", DiagnosticStatus.WARN)
    ros.until(lambda: bench.said("to be built fp32"), "the engine on /diagnostics")
    assert bench.said("to be built fp32")[-1].level == DiagnosticStatus.OK
    assert bench.said("to be built fp32")[-1].hardware_id == "toy"
    assert "No chunks yet. Building: 0 of 6 stages." in ros.log(bench.process)
    bench.ready().answer()


def test_an_unchecked_engine_that_is_allowed_is_named_on_diagnostics(ros) -> None:
    bench = Bench(ros, engine="unchecked", allow_unchecked_engine=True).ready()
    bench.answer(joint=0.25)
    ros.until(lambda: bench.said("allow_unchecked_engine is set"), "the warning", meanwhile=bench.resend)
    status = bench.said("allow_unchecked_engine is set")[-1]
    assert status.level == DiagnosticStatus.WARN
    assert "it was not checked against PyTorch" in status.message


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"continuity": "smooth"}, "'smooth' is none of auto, trained, guided, plain"),
        ({"continuity": "trained", "policy": "/untrained"}, "not trained to plan from a committed prefix"),
        ({"continuity": "guided", "engine": "onnxruntime"}, "Guidance takes gradients, and engine onnxruntime"),
    ],
)
def test_a_continuity_that_cannot_be_ends_the_process_and_says_why(ros, parameters, says) -> None:
    process = Bench(ros, **parameters).process
    ros.until(lambda: process.poll() is not None, "the process ends")
    assert process.returncode == 2
    assert says in ros.log(process)


def test_a_manager_takes_the_node_through_its_life_cycle_and_back(ros) -> None:
    bench = Bench(ros, autostart=False)

    def go(transition: int) -> str:
        request = ChangeState.Request()
        request.transition.id = transition
        assert ros.call(ChangeState, "/f1/policy_node/change_state", request).success
        return ros.call(GetState, "/f1/policy_node/get_state", GetState.Request()).current_state.label

    for _ in range(2):
        assert go(Transition.TRANSITION_CONFIGURE) == "inactive"
        assert go(Transition.TRANSITION_ACTIVATE) == "active"
        bench.ready().answer()
        assert go(Transition.TRANSITION_DEACTIVATE) == "inactive"
        assert go(Transition.TRANSITION_CLEANUP) == "unconfigured"
    assert ros.stop(bench.process) == 0
