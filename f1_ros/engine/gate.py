"""The gate: a compiled engine against PyTorch in float32, on recorded observations.

Stage by stage: an inference runs in PyTorch, and each stage of it also in the compiled engine with the very same
inputs, so that a difference belongs to the stage that it shows in. End to end: both engines answer the same
observations with the same draws.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from f1_ros.engine.bounds import BOUNDS, ActionBounds, Bounds, action_bounds, loosest
from f1_ros.engine.comparison import Comparison, Figures
from f1_ros.engine.config import Precision
from f1_ros.engine.layout import Layout, StageRunner
from f1_ros.engine.policy import PolicyFile
from f1_ros.engine.policy_engine import PolicyEngine
from f1_ros.engine.protocol import EngineInfo
from f1_ros.engine.recorded import Recorded
from f1_ros.errors import EngineError
from f1_ros.observe.observation import Observation
from f1_ros.robots.profile import RobotProfile

END_TO_END = "end to end"
WITHOUT_CAMERA = 4
"""Every fourth observation is checked without its last camera, so that masks count."""


@dataclass(frozen=True)
class StageCheck:
    """One stage of a compiled engine.

    Attributes:
        precision: that it was built in.
        outputs: figures of each of its outputs, by name.
        problems: what is out of bounds, in words; empty if nothing is.
    """

    precision: Precision
    outputs: dict[str, Figures]
    problems: tuple[str, ...]


@dataclass(frozen=True)
class ActionCheck:
    """Errors of one action over all observations and steps, rad or m.

    Attributes:
        median, usual, largest: median, 95th percentile and maximum.
        bounds: of the last two.
    """

    median: float
    usual: float
    largest: float
    bounds: ActionBounds


@dataclass(frozen=True)
class WholeCheck:
    """A compiled engine end to end.

    Attributes:
        codes: share of foresight's codes that are others, and
        codes_by_scale: the same by scale.
        actions: by name.
        problems: what is out of bounds, in words; empty if nothing is.
    """

    codes: float
    codes_by_scale: tuple[float, ...]
    actions: dict[str, ActionCheck]
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Verdict:
    """What the gate found.

    Attributes:
        observations: how many were run.
        stages: by name.
        whole: end to end.
    """

    observations: int
    stages: dict[str, StageCheck]
    whole: WholeCheck

    @property
    def failed(self) -> tuple[str, ...]:
        """Stages that are out of bounds; `END_TO_END` alone if none is and the whole is."""
        stages = tuple(name for name, check in self.stages.items() if check.problems)
        return stages or ((END_TO_END,) if self.whole.problems else ())


class SideBySide:
    """Runs the reference, and the compiled stages with the same inputs beside it. A `StageRunner`."""

    def __init__(self, reference: StageRunner, compiled: StageRunner) -> None:
        self._reference, self._compiled = reference, compiled
        self.failures: dict[str, str] = {}
        self.comparisons: dict[str, dict[str, Comparison]] = {}
        layout = reference.layout
        for stage, signature in layout.signatures().items():
            self.comparisons[stage] = {
                port.name: Comparison(
                    sizes=tuple(side * side for side in layout.config.scales) if port.name == "frame_codes" else (),
                    logits=port.name.startswith("logits_"),
                )
                for port in signature.outputs
            }

    @property
    def layout(self) -> Layout:
        """The reference's."""
        return self._reference.layout

    @property
    def device(self) -> torch.device:
        """The reference's."""
        return self._reference.device

    @property
    def info(self) -> EngineInfo:
        """The reference's."""
        return self._reference.info

    def run(self, stage: str, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Run a stage in both; gives the reference's outputs."""
        outputs = self._reference.run(stage, *inputs)
        try:
            others = self._compiled.run(stage, *inputs)
        except EngineError as error:
            self.failures[stage] = error.problem
            return outputs
        for comparison, ours, theirs in zip(self.comparisons[stage].values(), outputs, others, strict=True):
            comparison.add(ours, theirs.cpu())
        return outputs

    def close(self) -> None:
        """Close both."""
        self._reference.close()
        self._compiled.close()


def check(
    policy_dir: Path,
    file: PolicyFile,
    profile: RobotProfile,
    recorded: Sequence[Recorded],
    reference: StageRunner,
    compiled: StageRunner,
    precisions: Mapping[str, Precision],
    *,
    flow_steps: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Verdict:
    """Compare a compiled engine with PyTorch.

    Args:
        policy_dir: the policy.
        file: its `policy.json`.
        profile: its robot.
        recorded: observations.
        reference: the stages in eager PyTorch, float32.
        compiled: the stages of the engine.
        precisions: of each stage of the engine.
        flow_steps: Euler steps that the engine is run with; 0: the network's own.
        progress: told how many observations are done, and of how many.

    Raises:
        ConfigError: if the profile is of another robot.
        EngineError: if an observation does not fit the policy.
    """
    both = SideBySide(reference, compiled)
    ours = PolicyEngine(policy_dir, file, both, flow_steps=flow_steps)
    theirs = PolicyEngine(policy_dir, file, compiled, flow_steps=flow_steps)
    bounds = loosest(precisions.values())
    allowed = action_bounds(bounds, file.spec.action_names, profile)
    codes = Comparison(sizes=tuple(side * side for side in reference.layout.scales))
    errors = []
    for number, one in enumerate(recorded):
        observation = without_last_camera(one) if number % WITHOUT_CAMERA == WITHOUT_CAMERA - 1 else one.observation
        expected = ours.infer(observation, one.instruction, seed=number)
        if expected.foresight is not None:
            ours.decode_foresight(expected.foresight)
        try:
            answer = theirs.infer(observation, one.instruction, seed=number)
        except EngineError:  # a stage that fails, or NaN: its comparison shows it as well
            errors.append(np.full((file.spec.chunk_size, len(allowed)), np.inf))
        else:
            errors.append(np.abs(expected.actions - answer.actions))
            if expected.foresight is not None and answer.foresight is not None:
                codes.add(torch.from_numpy(expected.foresight.codes), torch.from_numpy(answer.foresight.codes))
        progress(number + 1, len(recorded))
    stages = {
        stage: _judge(precisions[stage], {name: c.figures for name, c in outputs.items()}, both.failures.get(stage))
        for stage, outputs in both.comparisons.items()
    }
    return Verdict(len(recorded), stages, _judge_whole(bounds, allowed, np.concatenate(errors), codes.figures))


def without_last_camera(one: Recorded) -> Observation:
    """An observation whose last camera is missing, if it has more than one."""
    whole = one.observation
    if len(whole.cameras) < 2:
        return whole
    return dataclasses.replace(
        whole, cameras=whole.cameras[:-1], camera_stamps_ns=whole.camera_stamps_ns[:-1], images=whole.images[:-1]
    )


def _judge(precision: Precision, outputs: dict[str, Figures], failure: str | None) -> StageCheck:
    bounds, problems = BOUNDS[precision], [] if failure is None else [failure]
    for name, figures in outputs.items():
        if figures.differ > 0.0:
            problems.append(f"{name}: {figures.differ:.2%} of the values are others")
        if figures.flips > bounds.flips:
            problems.append(f"{name}: {figures.flips:.2%} of the codes are others, {bounds.flips:.2%} may be")
        if figures.cosine < bounds.cosine:
            problems.append(f"{name}: the cosine is {figures.cosine:.7f}, at least {bounds.cosine:g} is asked")
        if not figures.error <= bounds.error:
            problems.append(f"{name}: the error is {figures.error:.3g} of its size, {bounds.error:g} may be")
    return StageCheck(precision, outputs, tuple(problems))


def _judge_whole(
    bounds: Bounds,
    allowed: dict[str, ActionBounds],
    errors: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
    codes: Figures,
) -> WholeCheck:
    problems, actions = [], {}
    if codes.flips > bounds.codes:
        problems.append(f"{codes.flips:.2%} of foresight's codes are others, {bounds.codes:.2%} may be")
    median, usual = np.quantile(errors, [0.5, 0.95], axis=0, method="higher")
    for i, (name, allow) in enumerate(allowed.items()):
        found = ActionCheck(float(median[i]), float(usual[i]), float(errors[:, i].max()), allow)
        actions[name] = found
        if not found.usual <= allow.usual:
            problems.append(f"{name} is {found.usual:.3g} off in one of 20 steps, {allow.usual:.3g} may be")
        if allow.largest is not None and not found.largest <= allow.largest:
            problems.append(f"{name} is up to {found.largest:.3g} off, {allow.largest:.3g} may be")
    return WholeCheck(codes.flips, codes.flipped, actions, tuple(problems))
