"""A reader takes messages as they come, in a thread of its own, over real DDS."""

from __future__ import annotations

import threading

import pytest
from sensor_msgs.msg import JointState

from f1_ros.nodes.polled import PolledSubscription, Reader
from f1_ros.nodes.qos import JOINT_HISTORY


def send(ros, publisher, name: str) -> None:
    publisher.publish(JointState(name=[name]))
    ros.spin(0.05)


def test_a_reader_gives_each_message_once_in_order_with_its_times_and_ends_when_told(ros) -> None:
    got: list[tuple[str, str, bool]] = []

    def note(topic: str):
        return lambda message, info: got.append((topic, message.name[0], info["received_timestamp"] > 0))

    publishers = {topic: ros.node.create_publisher(JointState, topic, JOINT_HISTORY) for topic in ("/one", "/two")}
    inputs = {topic: PolledSubscription(ros.node, JointState, topic, JOINT_HISTORY) for topic in publishers}
    reader = Reader(ros.node, {inputs[topic]: note(topic) for topic in inputs})
    ros.until(lambda: all(p.get_subscription_count() for p in publishers.values()), "the reader subscribes")
    for i in range(5):
        for topic, publisher in publishers.items():
            send(ros, publisher, f"{topic} {i}")
    ros.until(lambda: len(got) == 10, "all messages")
    for topic in publishers:
        assert [entry for entry in got if entry[0] == topic] == [(topic, f"{topic} {i}", True) for i in range(5)]
    reader.check()
    threads = threading.active_count()
    reader.close()
    assert threading.active_count() == threads - 1
    ros.until(lambda: not any(p.get_subscription_count() for p in publishers.values()), "the reader unsubscribes")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_bug_in_what_is_done_with_a_message_is_raised_where_it_ends_the_process(ros) -> None:
    def broken(message: JointState, info: dict[str, int]) -> None:
        raise KeyError("a bug")

    publisher = ros.node.create_publisher(JointState, "/one", JOINT_HISTORY)
    reader = Reader(ros.node, {PolledSubscription(ros.node, JointState, "/one", JOINT_HISTORY): broken})

    def raised() -> bool:
        try:
            reader.check()
        except KeyError:
            return True
        return False

    ros.until(raised, "the bug", lambda: send(ros, publisher, "x"))
    reader.close()
