"""Message, service and action types by name, and messages filled from plain fields."""

from __future__ import annotations

import functools
import importlib
import re
from collections.abc import Mapping
from typing import Any

from f1_ros.errors import ProfileError
from f1_ros.robots.transport import Fields
from f1_ros.robots.vendor import missing_package

_SEQUENCE = re.compile(r"sequence<(\w+)/(\w+)>")


@functools.cache
def interface(name: str) -> Any:
    """The class of a type such as `arm_control/msg/JointControl`. Vendors' packages are imported here, and only here.

    Raises:
        ProfileError: naming package and origin, if it is not installed or lacks the type.
    """
    package, kind, last = name.split("/")
    try:
        return getattr(importlib.import_module(f"{package}.{kind}"), last)
    except (ImportError, AttributeError) as error:
        problem, remedy = missing_package(name)
        raise ProfileError(problem, remedy=remedy) from error


def fill(message: Any, fields: Fields) -> Any:
    """Set fields of a message, nested ones too, and give it back."""
    for name, value in fields.items():
        if isinstance(value, Mapping):
            fill(getattr(message, name), value)
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            match = _SEQUENCE.fullmatch(message.get_fields_and_field_types()[name])
            assert match is not None  # a list of mappings stands for a sequence of messages
            kind = interface(f"{match[1]}/msg/{match[2]}")
            setattr(message, name, [fill(kind(), element) for element in value])
        else:
            setattr(message, name, value)
    return message
