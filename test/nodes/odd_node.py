"""A node that misbehaves as its parameter says: run as a process by test_lifecycle.py."""

from __future__ import annotations

import sys
import time

from f1_ros.errors import ConfigError
from f1_ros.nodes.lifecycle import ManagedNode, run
from f1_ros.nodes.parameters import NodeParameter

PARAMETERS = (
    NodeParameter("behaviour", "none", "What to do wrong."),
    NodeParameter("rate", 1.0, "A rate, Hz.", lower=0.1, upper=10.0, live=True),
)


class OddNode(ManagedNode):
    def __init__(self) -> None:
        super().__init__("odd_node", PARAMETERS)
        self.behaviour = self.value("behaviour")

    def configure(self) -> None:
        if self.behaviour == "refuse":
            raise ConfigError("The file is wrong.", remedy="Correct it.")
        if self.behaviour == "bug":
            raise KeyError("nobody expected this")
        if self.behaviour == "stand still":
            time.sleep(3600)
        if self.behaviour == "take its time":
            for _ in range(4):
                time.sleep(0.5)
                self.has_progressed()

    def activate(self) -> None:
        self.create_timer(0.1, self.tick)
        self.get_logger().info("active")

    def tick(self) -> None:
        if self.behaviour == "crash":
            raise RuntimeError("in a callback")

    def deactivate(self) -> None:
        self.get_logger().info("deactivated")
        if self.behaviour == "hang":
            time.sleep(3600)

    def cleanup(self) -> None:
        self.get_logger().info("cleaned up")


if __name__ == "__main__":
    sys.exit(run(lambda: [OddNode()]))
