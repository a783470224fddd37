"""Reading a profile's files: the profile itself, the kinematic chains that it names, and a simulation's values."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from f1_ros.config import load_yaml, parse, read_yaml
from f1_ros.errors import ProfileError
from f1_ros.paths import share_dir
from f1_ros.robots.profile import RobotProfile

_PART = re.compile(r"([A-Za-z_]\w*|\*)((?:\[(?:\d+|\*)\])*)")


@dataclass(frozen=True)
class SimulatedValues:
    """A file in config/robots/sim: values for the keys that a profile leaves open, good for a simulation only."""

    values: dict[str, float | str]


def profile_path(name_or_path: str | Path) -> Path:
    """Path of a profile: `genie1` is `config/robots/genie1.yaml`; anything with a folder or a suffix is a path.

    Raises:
        ProfileError: if no profile has that name.
    """
    path = Path(name_or_path)
    if path.suffix or len(path.parts) > 1:
        return path
    folder = share_dir() / "config" / "robots"
    path = folder / f"{name_or_path}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in folder.glob("*.yaml"))) or "none"
        raise ProfileError(
            f"There is no robot profile '{name_or_path}'.", remedy=f"Give a name ({known}) or the path of a file."
        )
    return path


def read_profile(path: Path, *, simulated: bool = False) -> RobotProfile:
    """Read a profile whose keys and types are right; what they mean is for `find_problems`.

    Args:
        path: the YAML file.
        simulated: fill what it leaves open with the values of its simulation.

    Raises:
        ProfileError: naming file, key and remedy.
    """
    data = read_yaml(path, ProfileError)
    if isinstance(data, dict):
        _resolve_kinematics(data, path)
        _fill_in_defaults(data)
        if "simulated" in data:
            raise ProfileError(
                f"{path}: unknown key 'simulated'.",
                remedy=f"Put values that hold in a simulation only into {_overlay_path(path)}.",
            )
        if simulated:
            return _simulated(data, path)
    return parse(data, RobotProfile, source=str(path), error=ProfileError)


def matches(pattern: str, key: str) -> bool:
    """Whether a key is the one named, or one of those that `[*]` (any index) and `*` (any name) in it stand for."""
    escaped = re.escape(pattern).replace(r"\[\*\]", r"\[\d+\]").replace(r"\*", r"\w+")
    return re.fullmatch(escaped, key) is not None


def _overlay_path(path: Path) -> Path:
    return path.parent / "sim" / path.name


def _resolve_kinematics(data: dict[str, Any], path: Path) -> None:
    """Put the chains in place of their names."""
    arms = data.get("arms")
    for i, arm in enumerate(arms if isinstance(arms, list) else []):
        name = arm.get("kinematics") if isinstance(arm, dict) else None
        if name is None:
            continue
        if not isinstance(name, str):
            raise ProfileError(
                f"{path}: key 'arms[{i}].kinematics' is no name.",
                remedy="Write the chain into a file of its own, and its name in config/kinematics or its path here.",
            )
        plain = Path(name).suffix == "" and len(Path(name).parts) == 1
        chain = share_dir() / "config" / "kinematics" / f"{name}.yaml" if plain else path.parent / name
        if not chain.is_file():
            raise ProfileError(
                f"{path}: key 'arms[{i}].kinematics': {chain} does not exist.",
                remedy="Give the name of a file in config/kinematics, or a path from the profile's folder.",
            )
        arm["kinematics"] = read_yaml(chain, ProfileError)


def _fill_in_defaults(data: dict[str, Any]) -> None:
    """Where the profile gives none: its name is the embodiment; layouts are arm after arm, each with its grippers."""
    if "name" in data:
        data.setdefault("embodiment", data["name"])
    try:
        names: list[Any] = []
        for arm in data["arms"]:
            names += [joint["name"] for joint in arm["joints"]]
            names += [g["name"] for g in data["grippers"] if g.get("arm", arm["name"]) == arm["name"]]
    except (KeyError, TypeError, AttributeError):
        return  # the schema says what is missing
    for key in ("state_names", "action_names"):
        data.setdefault(key, names)


def _simulated(data: dict[str, Any], path: Path) -> RobotProfile:
    """The profile with its simulation's values where it has none."""
    overlay = _overlay_path(path)
    values = load_yaml(overlay, SimulatedValues, ProfileError).values if overlay.is_file() else {}
    given = data.get("open")
    profile_open = list(given) if isinstance(given, dict) else []
    filled: list[str] = []
    for pattern, value in values.items():
        holders = list(_holders(data, pattern))
        if not holders:
            raise ProfileError(f"{overlay}: the profile has no key '{pattern}'.", remedy="Correct the key.")
        for holder, name, key in holders:
            if not any(matches(known, key) for known in profile_open):
                raise ProfileError(
                    f"{overlay}: key '{key}' is not open in {path}.",
                    remedy="A simulation gives only what the profile leaves open: take the key out.",
                )
            holder[name] = value
            filled.append(key)
    profile = parse(data, RobotProfile, source=f"{path} with {overlay.name} of its simulation", error=ProfileError)
    unconfirmed = [key for key in profile_open if not any(matches(key, found) for found in filled)]
    return replace(profile, simulated=(*filled, *unconfirmed))


def _holders(data: Any, pattern: str) -> Iterator[tuple[dict[str, Any], str, str]]:
    """Each mapping that a dotted key with `[*]` leads to, with the last part of the key and the whole of it."""
    found: list[tuple[Any, str]] = [(data, "")]
    *parts, last = pattern.split(".")
    for part in parts:
        match = _PART.fullmatch(part)
        if match is None:
            return
        name, indices = match.groups()
        found = [
            (child, f"{key}{n}.")
            for h, key in found
            if isinstance(h, dict)
            for n, child in h.items()
            if name in (n, "*")
        ]
        for index in re.findall(r"\[(.*?)\]", indices):
            found = [
                (child, f"{key[:-1]}[{i}].")
                for h, key in found
                if isinstance(h, list)
                for i, child in enumerate(h)
                if index in ("*", str(i))
            ]
    for holder, key in found:
        if isinstance(holder, dict):
            yield holder, last, key + last
