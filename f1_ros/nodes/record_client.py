"""Asks a running recorder to begin or end an episode, for `f1-ros record`."""

from __future__ import annotations

import time

from f1_msgs.srv import Record
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from f1_ros.errors import BringUpError
from f1_ros.nodes.lifecycle import NAMESPACE

FOUND_WITHIN_S = 5.0
ANSWERED_WITHIN_S = 90.0
COMMANDS = {"start": Record.Request.START, "keep": Record.Request.KEEP, "discard": Record.Request.DISCARD}


def ask(command: str, instruction: str) -> tuple[bool, str]:
    """Send a request and wait for the answer.

    Args:
        command: start, keep or discard.
        instruction: with start: what the robot is going to do; empty: what the policy follows, or its default.

    Returns:
        Whether it was done, and what the recorder says.

    Raises:
        BringUpError: if there is no recorder, or it does not answer.
    """
    context = Context()
    context.init()
    node = Node("record_client", namespace=NAMESPACE, context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    try:
        client = node.create_client(Record, "record")
        end = time.monotonic() + FOUND_WITHIN_S
        while not client.service_is_ready():
            if time.monotonic() > end:
                raise BringUpError(
                    f"There is no recorder: nobody serves /{NAMESPACE}/record.",
                    remedy="Start the system with --record DIR (record:=DIR), with the same ROS_DOMAIN_ID.",
                )
            executor.spin_once(timeout_sec=0.05)
        future = client.call_async(Record.Request(command=COMMANDS[command], instruction=instruction))
        executor.spin_until_future_complete(future, ANSWERED_WITHIN_S)
        response = future.result()
        if response is None:
            raise BringUpError(
                f"The recorder has not answered for {ANSWERED_WITHIN_S:g} s.", remedy="See its log and /diagnostics."
            )
        return bool(response.success), str(response.message)
    finally:
        executor.shutdown()
        node.destroy_node()
        context.try_shutdown()
