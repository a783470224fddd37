"""One thing that is wrong with a profile, and what the checks of profiles share."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

# ROS 2 names: absolute, tokens of letters, digits and underscores that do not start with a digit.
_ROS_NAME = re.compile(r"^(/[A-Za-z_][A-Za-z0-9_]*)+$")


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        key: dotted key in the profile, such as `arms[0].joints[3].upper`.
        problem: what is wrong with it.
        remedy: what to do about it.
        is_open: the value is missing because no source gives it.
    """

    key: str
    problem: str
    remedy: str
    is_open: bool = False


def check_ros_name(key: str, name: str) -> Iterator[Problem]:
    """Say what is wrong with the name of a topic, service or action."""
    if not _ROS_NAME.fullmatch(name):
        yield Problem(key, f"'{name}' is not an absolute ROS name", "Write /name/of/it, without ~ or spaces.")


def repeated(names: Iterable[str]) -> list[str]:
    """Names that are given more than once."""
    return [name for name, count in Counter(names).items() if count > 1]
