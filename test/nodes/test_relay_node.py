"""The relay as a process of its own: bytes pass as they are, and each alteration is what it is called."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from f1_msgs.msg import ActionChunk as ActionChunkMsg
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, JointState

from f1_ros.control.chunk import ActionChunk
from f1_ros.errors import ChunkError
from f1_ros.faults.alterations import Link, links
from f1_ros.nodes.conversions import chunk_from_msg, chunk_to_msg, image_to_msg, to_ns, to_time
from f1_ros.nodes.qos import COMMAND, SENSOR
from f1_ros.robots.profile import load_profile

PROFILE = load_profile("franka_fr3")
LINKS = {link.name: link for link in links(PROFILE)}
MS = 1_000_000
NAMES = (*PROFILE.joints, "gripper")


class Bench:
    """Sends on the links' sources, and takes what comes out."""

    def __init__(self, ros: Any) -> None:
        self.ros, self.stamp_ns = ros, 10_000 * MS
        self.kinds = {"camera": (Image, SENSOR), "joints": (JointState, COMMAND), "chunk": (ActionChunkMsg, COMMAND)}
        self.kinds["clock"] = (Clock, SENSOR)
        wanted: list[Link] = [LINKS[name] for name in ("front", "wrist", "joints", "clock", "chunk")]
        self.out = {link.name: ros.collect(self.kinds[link.kind][0], link.topic, SENSOR) for link in wanted}
        self.inputs = {
            link.name: ros.node.create_publisher(self.kinds[link.kind][0], link.source, self.kinds[link.kind][1])
            for link in wanted
        }
        self.process = ros.start("relay_node")
        ros.until(lambda: all(p.get_subscription_count() for p in self.inputs.values()), "the relay listens")
        ros.until(lambda: all(ros.node.count_publishers(link.topic) for link in wanted), "the relay publishes")
        for link in wanted:
            self.through(link.name)  # and it knows who listens: what it sends before that is lost

    def message(self, link: str) -> Any:
        """A message with the next stamp; cameras in a colour of their own."""
        self.stamp_ns += 50 * MS
        if LINKS[link].kind == "camera":
            value = {"front": 40, "wrist": 200}[link] + self.stamp_ns // (50 * MS) % 20
            return image_to_msg(np.full((8, 8, 3), value, np.uint8), self.stamp_ns, link)
        if link == "clock":
            return Clock(clock=to_time(self.stamp_ns))
        if link == "chunk":
            chunk = ActionChunk("franka", self.stamp_ns, self.stamp_ns, 50 * MS, NAMES, np.zeros((3, 8)))
            return chunk_to_msg(chunk, 1, "test", "")
        msg = JointState(name=list(PROFILE.joints), position=[self.stamp_ns / 1e12] * 7, velocity=[0.5] * 7)
        msg.header.stamp = to_time(self.stamp_ns)
        return msg

    def alter(self, text: str) -> None:
        assert self.ros.set_parameter("/f1/relay_node", "alter", text).successful

    def through(self, link: str, count: int = 1) -> tuple[list[Any], list[Any]]:
        """Send until so many have come out; gives what was sent and what came since."""
        self.ros.spin(0.1)
        out, sent = self.out[link], []
        before = len(out)

        def send() -> None:
            sent.append(self.message(link))
            self.inputs[link].publish(sent[-1])
            self.ros.spin(0.05)

        self.ros.until(lambda: len(out) >= before + count, f"{link} comes through", meanwhile=send)
        return sent, out[before:]


def test_what_is_not_altered_passes_and_what_is_does_as_it_is_called(ros: Any) -> None:
    bench = Bench(ros)
    (sent, *_), (got, *_) = bench.through("joints")
    assert got == sent
    (sent, *_), (got, *_) = bench.through("front")
    assert (got.header, got.data[:-1]) == (sent.header, sent.data[:-1])
    assert abs(int(got.data[-1]) - int(sent.data[-1])) <= 3  # a sensor's noise

    assert not ros.set_parameter("/f1/relay_node", "alter", "front:melt").successful
    bench.alter("joints:drop")
    bench.inputs["joints"].publish(bench.message("joints"))
    before = len(bench.out["joints"])
    ros.spin(0.3)
    assert len(bench.out["joints"]) == before

    bench.alter("joints:stick,front:freeze,clock:shift:-2")
    _, (first, second) = bench.through("joints", 2)
    assert first.position == second.position
    assert to_ns(second.header.stamp) > to_ns(first.header.stamp)
    _, (first, second) = bench.through("front", 2)
    assert first.data == second.data
    assert to_ns(second.header.stamp) > to_ns(first.header.stamp)
    sent, got = bench.through("clock")
    assert to_ns(got[0].clock) == to_ns(sent[0].clock) - 2_000 * MS

    bench.alter("front:swap,joints:repeat")
    bench.through("wrist")
    _, (got, *_) = bench.through("front")
    assert (got.header.frame_id, got.data[0] >= 200) == ("wrist", True)
    _, (first, second) = bench.through("joints", 2)
    assert first == second

    bench.through("chunk")
    ros.spin(0.2)
    before = bench.out["chunk"][-1]
    bench.alter("joints:nan,front:size,chunk:old")
    _, (got, *_) = bench.through("joints")
    assert math.isnan(got.position[0])
    _, (got, *_) = bench.through("front")
    assert (got.width, got.height, len(got.data)) == (4, 4, 48)
    _, (first, second) = bench.through("chunk", 2)
    assert first == second == before, "none from after a switch of mode that follows the alteration"

    bench.alter("front:delay:0.3")
    sent, got = bench.through("front")
    assert len(sent) >= 3  # others were on their way meanwhile
    bench.alter("")
    (sent, *_), (got, *_) = bench.through("joints")
    assert got == sent


@pytest.mark.parametrize(("how", "says"), [("nan", "NaN"), ("empty", "shape"), ("ragged", "without a position")])
def test_chunks_are_broken_as_their_alteration_is_called(ros: Any, how: str, says: str) -> None:
    bench = Bench(ros)
    bench.alter(f"chunk:{how}")
    _, (got, *_) = bench.through("chunk")
    with pytest.raises(ChunkError, match=says):
        chunk_from_msg(got)
