"""Checks of state and action: joints, grippers, whether the two agree, and whether statistics are theirs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from f1_ros.data.findings import STATE, Array, Finding, Track
from f1_ros.errors import ConfigError
from f1_ros.observe.normalise import CONSTANT

_JUMP_STEPS = 20.0  # times the usual change in a frame
_JUMP_SPAN = 0.15  # of the joint's span
_JUMP_LARGEST = 2.0  # times the largest change that an episode usually has
_TURN = 0.3  # rad: an angle that wraps around changes by a full turn, less what it moved
_FROZEN_FRAMES = 20
_LAGS = range(-5, 11)
_UNITS = 10.0  # ratio of state and action that no delay or limit explains
_DEGREES = 180.0 / np.pi


def not_finite(episode: int, key: str, names: tuple[str, ...], values: Array) -> Iterator[Finding]:
    """NaN and infinity in an episode."""
    bad = ~np.isfinite(values)
    if bad.any():
        frame, d = np.argwhere(bad)[0]
        yield Finding(
            "nan",
            "error",
            episode,
            int(frame),
            f"{key} {_name(names, d)} is {values[frame, d]}; {int(bad.any(1).sum())} frames of the episode have such.",
            "Remove the episode, or record it again.",
        )


def jumps(episode: int, track: Track, values: Array) -> Iterator[Finding]:
    """Changes in one frame that no arm makes: wrong in a state; a command may be meant so."""
    change = np.abs(np.diff(values, axis=0))
    limit = np.max([_JUMP_STEPS * track.step, _JUMP_SPAN * track.span, _JUMP_LARGEST * track.largest], axis=0)
    turned = np.abs(change - 2 * np.pi) < _TURN
    found = ((change > limit) | turned) & ~(track.binary | track.gripper | (track.span <= CONSTANT))
    if found.any():
        row, d = np.argwhere(found)[0]
        yield Finding(
            "jump",
            "error" if track.key == STATE else "warning",
            episode,
            int(row) + 1,
            f"{track.key} {track.names[d]} jumps by {change[row, d]:.3g} in one frame (usually {track.step[d]:.2g}); "
            f"{int(found.any(1).sum())} such frames in the episode.",
            "Look at it with `f1-ros data show`; remove the episode if the robot did not move so.",
        )


def frozen(episode: int, state: Track, action: Track | None, values: Array, commanded: Array) -> Iterator[Finding]:
    """A joint that reads the same all along although it is told to move: its sensor or its driver stopped."""
    if action is None or action.names != state.names or len(values) < _FROZEN_FRAMES:
        return
    still = np.ptp(values, axis=0) == 0.0
    told = np.ptp(commanded, axis=0) > 0.1 * np.maximum(action.span, CONSTANT)
    for d in np.flatnonzero(still & told & (state.span > CONSTANT)):
        yield Finding(
            "frozen_joint",
            "error",
            episode,
            0,
            f"{STATE} {state.names[d]} stays at {values[0, d]:.4g} all through the episode while its action moves.",
            "Remove the episode: the joint state was not being updated.",
        )


def constant(track: Track) -> Iterator[Finding]:
    """Dimensions that never move in the whole dataset."""
    low = np.min([values.min(0) for _, values in track.episodes], axis=0)
    high = np.max([values.max(0) for _, values in track.episodes], axis=0)
    for d in np.flatnonzero(high - low <= CONSTANT):
        yield Finding(
            "constant",
            "warning",
            None,
            None,
            f"{track.key} {track.names[d]} is {low[d]:.4g} everywhere.",
            "Check that it is recorded. If it is meant, leave it: normalisation takes it as constant.",
        )


def grippers(state: Track, action: Track) -> Iterator[Finding]:
    """Grippers whose state and action have another sign or range."""
    of_state, of_action = np.flatnonzero(state.gripper), np.flatnonzero(action.gripper)
    if len(of_state) != len(of_action):
        return
    for i, j in zip(of_state, of_action, strict=True):
        pairs = [(e, s[:, i], a[:, j]) for e, s, a in _pairs(state, action)]
        if not pairs:
            return
        seen, told = np.concatenate([s for _, s, _ in pairs]), np.concatenate([a for _, _, a in pairs])
        if np.ptp(seen) <= CONSTANT or np.ptp(told) <= CONSTANT:
            continue
        correlation = float(np.corrcoef(seen, told)[0, 1])
        episode, s, a = max(pairs, key=lambda p: float(np.ptp(p[2])))
        frame = int(np.argmax(np.abs(a - a[0])))
        if correlation < -0.5:
            yield Finding(
                "gripper_sign",
                "error",
                episode,
                frame,
                f"{state.names[i]} closes in the state where it opens in the action (correlation {correlation:.2f}): "
                f"{s[frame]:.3g} against {a[frame]:.3g}.",
                "Give the dataset an embodiment with state_gripper and action_gripper (docs/data.md).",
            )
        elif not 1 / 3 < state.span[i] / max(action.span[j], 1e-12) < 3:
            yield Finding(
                "gripper_range",
                "warning",
                episode,
                frame,
                f"{state.names[i]} runs from {state.low[i]:.3g} to {state.high[i]:.3g} in the state, and from "
                f"{action.low[j]:.3g} to {action.high[j]:.3g} in the action.",
                "Give the dataset an embodiment with state_gripper and action_gripper, so that both are one unit.",
            )


def agreement(state: Track, action: Track) -> Iterator[Finding]:
    """Actions that are not what the state becomes: late, copied, in other units, or in another order."""
    if len(state.names) != len(action.names):
        return
    dims = [d for d in range(len(state.names)) if state.span[d] > CONSTANT and not state.gripper[d]]
    pairs = _pairs(state, action)
    if not dims or not pairs:
        return
    seen, told = np.concatenate([s for _, s, _ in pairs]), np.concatenate([a for _, _, a in pairs])
    if max(float(np.abs(s - a)[:, dims].max()) for _, s, a in pairs) < 1e-6:
        yield _all_over(
            "action_is_state",
            pairs,
            "The action of every frame is the state of the same frame: a policy would learn to stay where it is.",
            "Record the commands; or use the state of the next frame as the action.",
        )
        return
    ratios = {d: max(_slope(seen[:, d], told[:, d]), _slope(told[:, d], seen[:, d])) for d in dims}
    units = [d for d in dims if ratios[d] > _UNITS]
    if units:
        ratio = ratios[units[0]]
        degrees = " (degrees against radians)" if abs(ratio / _DEGREES - 1) < 0.1 else ""
        yield _all_over(
            "units",
            pairs,
            f"{state.names[units[0]]} is {ratio:.1f} times as large in one of state and action as in the other"
            f"{degrees}; {len(units)} dimensions are so.",
            "Record both in rad and m, or give the dataset an embodiment with joint_unit.",
        )
        return
    yield from _order(state, pairs, seen, told, dims)
    yield from _lag(state, pairs, dims)


def statistics_of(found: Mapping[str, Any], source: str, track: Track, *, own: bool) -> Iterator[Finding]:
    """Statistics that are not this dataset's: of the dataset itself (`own`), or of a policy to be trained further."""
    remedy = (
        "Compute them anew with `f1-ros data stats DIR --write`."
        if own
        else "Compute the policy's statistics from this dataset (`f1-ros data stats DIR --out stats.json`)."
    )
    rows = np.concatenate([values for _, values in track.episodes])
    try:
        mean, std = np.array(found["mean"], np.float64).ravel(), np.array(found["std"], np.float64).ravel()
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{source}: {track.key} has no mean and std ({error}).", remedy=remedy) from error
    if mean.shape != std.shape or mean.size != rows.shape[1]:
        yield Finding(
            "statistics",
            "error",
            None,
            None,
            f"{source} has {mean.size} numbers for {track.key}, the dataset has {rows.shape[1]}.",
            remedy,
        )
        return
    here, spread = rows.mean(0), rows.std(0)
    allowed = (0.25 if own else 1.0) * np.maximum(spread, np.maximum(std, CONSTANT))
    factor = 1.5 if own else 3.0
    wide = np.maximum(spread, CONSTANT) / np.maximum(std, CONSTANT)
    off = ~((np.abs(mean - here) <= allowed) & (wide <= factor) & (wide >= 1 / factor))  # NaN is off, too
    for d in np.flatnonzero(off)[:1]:
        yield Finding(
            "statistics",
            "error" if own else "warning",
            None,
            None,
            f"{source} says {track.key} {track.names[d]} is {mean[d]:.3g} +- {std[d]:.3g}, but here it is "
            f"{here[d]:.3g} +- {spread[d]:.3g}; {int(off.sum())} of {len(off)} dimensions differ.",
            remedy,
        )


def _order(
    state: Track, pairs: list[tuple[int, Array, Array]], seen: Array, told: Array, dims: list[int]
) -> Iterator[Finding]:
    moving = [d for d in dims if np.ptp(told[:, d]) > CONSTANT and np.ptp(seen[:, d]) > CONSTANT]
    if len(moving) < 2:
        return
    both = np.corrcoef(seen[:, moving].T, told[:, moving].T)[: len(moving), len(moving) :]  # [state, action]
    for place, d in enumerate(moving):
        best = int(np.argmax(np.abs(both[:, place])))
        if best != place and abs(both[best, place]) > 0.9 and abs(both[place, place]) < 0.6:
            yield _all_over(
                "order",
                pairs,
                f"The action's number {d} follows the state's {state.names[moving[best]]}, not its own "
                f"{state.names[d]} (correlation {both[best, place]:.2f} against {both[place, place]:.2f}).",
                "Put state and action into one order, or give the dataset an embodiment with its order.",
            )
            return
        if both[place, place] < -0.9:
            yield _all_over(
                "sign",
                pairs,
                f"{state.names[d]} has another sign in the action than in the state "
                f"(correlation {both[place, place]:.2f}).",
                "Record both with one sign.",
            )
            return


def _lag(state: Track, pairs: list[tuple[int, Array, Array]], dims: list[int]) -> Iterator[Finding]:
    errors = {}
    for lag in _LAGS:
        differences = [
            np.abs(s[max(0, lag) : len(s) + min(0, lag)] - a[max(0, -lag) : len(a) - max(0, lag)])[:, dims]
            / state.span[dims]
            for _, s, a in pairs
            if len(s) > abs(lag) + 1
        ]
        if differences:
            errors[lag] = float(np.concatenate(differences).mean())
    best = min(errors, key=lambda lag: errors[lag])
    # Actions that are no targets for the state (velocities, relative motions) fit at no lag.
    if best < 0 and errors[best] < 0.1 and errors[best] < 0.7 * errors[0]:
        yield _all_over(
            "action_behind",
            pairs,
            f"The action of a frame fits the state {-best} frames before it: actions and states are out of step.",
            f"Shift the actions by at least {-best} frames, so that an action leads to the states after it.",
        )


def _pairs(state: Track, action: Track) -> list[tuple[int, Array, Array]]:
    """Episodes of which both are whole."""
    actions = dict(action.episodes)
    return [(e, s, actions[e]) for e, s in state.episodes if e in actions and len(actions[e]) == len(s)]


def _all_over(code: str, pairs: list[tuple[int, Array, Array]], problem: str, remedy: str) -> Finding:
    """A finding of the whole dataset, shown where the state moves most."""
    episode, state, _ = max(pairs, key=lambda p: float(np.ptp(p[1], axis=0).max()))
    change: NDArray[Any] = np.abs(np.diff(state, axis=0)).max(1)
    return Finding(code, "error", episode, int(np.argmax(change)), problem, remedy)


def _slope(x: Array, y: Array) -> float:
    """Slope of y over x where they go together; 0 where they do not."""
    if np.ptp(x) <= CONSTANT or np.ptp(y) <= CONSTANT or np.corrcoef(x, y)[0, 1] < 0.8:
        return 0.0
    return float(np.std(y) / np.std(x))


def _name(names: tuple[str, ...], d: int) -> str:
    return names[d] if d < len(names) else f"[{d}]"
