"""What is asked for at the belt, in words and in cubes."""

from __future__ import annotations

ONE_INSTRUCTION = "pick the cube from the belt"
