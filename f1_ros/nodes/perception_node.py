"""Observation and policy node in one process: observations are handed over by reference, not through a topic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from f1_ros.nodes.lifecycle import ManagedNode, leave, run
from f1_ros.nodes.observation_node import ObservationNode
from f1_ros.nodes.policy_node import PolicyNode


def build() -> Sequence[ManagedNode]:
    """Make both nodes, the receiver first: it is then active before the first observation."""
    policy = PolicyNode(subscribe=False)
    return policy, ObservationNode(listener=policy.offer)


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run both nodes; see docs/interfaces.md."""
    leave(run(build, args))


if __name__ == "__main__":
    main()
