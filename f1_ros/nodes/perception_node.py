"""Observation and policy node in one process: observations are handed over by reference, not through a topic."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from f1_ros.nodes.lifecycle import ManagedNode, run
from f1_ros.nodes.observation_node import ObservationNode
from f1_ros.nodes.policy_node import PolicyNode


def build() -> Sequence[ManagedNode]:
    """Make both nodes, the receiver first: it is then active before the first observation."""
    policy = PolicyNode(subscribe=False)
    return policy, ObservationNode(listener=policy.offer)


def main(args: Sequence[str] | None = None) -> int:
    """Run both nodes; see docs/interfaces.md."""
    return run(build, args)


if __name__ == "__main__":
    sys.exit(main())
