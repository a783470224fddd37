"""`make bench`: what compiling and keeping is worth, against the released model's own algorithm. One thread, in turn.

    python bench/engine.py [--rounds 7] [--curves cameras layers] [--width 256] [--out DIR]
    bench/gpu.sh           the same on a GPU

The released algorithm, which lives here alone: eager PyTorch; all history frames encoded for each inference, in one
batch; the instruction embedded each time; keys and values grown by concatenation, in every flow step anew. The weights,
draws and everything around the network are the engine's own, and the actions are compared before anything is timed.

Two policies: the shipped one (or another one), and one of a middle size with random weights and a SigLIP tower, of
which the curves are. Each observation brings one history frame that was not seen before, as on a robot. Engines take
turns; of each the least of the rounds' medians counts. Time to the first chunk and peak memory are of a process of its
own. On a GPU a stage lasts until somebody asks for its results: history's time is then part of the prefix's.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from f1_ros.cli.report import Report, Result
from f1_ros.engine.caches import TextCache
from f1_ros.engine.config import load_engine_config
from f1_ros.engine.export import build_engine
from f1_ros.engine.opening import built_engine, compiled_stages, torch_stages
from f1_ros.engine.policy import STATS_FILE, load_policy_file
from f1_ros.engine.policy_engine import PolicyEngine
from f1_ros.engine.protocol import Engine, PolicySpec
from f1_ros.engine.staged import StagedNetwork
from f1_ros.engine.stages import TorchStages
from f1_ros.errors import EngineError, F1Error
from f1_ros.model.config import ExpertConfig, F1Config, SiglipConfig
from f1_ros.model.f1 import F1Model
from f1_ros.model.gemma import KVCache
from f1_ros.model.language import LanguageTokenizer
from f1_ros.observe.observation import Observation
from f1_ros.train.export import write_policy

HERE = Path(__file__).parent
BELT = HERE.parent / "models" / "f1_belt"
STAGES = ("history", "prefix", "foresight", "flow", "total")
EAGER = ("released", "torch")
ENGINES = (*EAGER, "onnxruntime", "onnxruntime_int8")
GOALS = {"onnxruntime": 2.5, "onnxruntime_int8": 5.0}
HISTORY_GOAL = 3.5
SAME = 1e-4
"""Largest difference of an action in float32, rad or m: as the gate has it."""


@dataclass(frozen=True)
class Size:
    """What the curves change of the middle size."""

    cameras: int = 2
    chunk: int = 16
    flow_steps: int = 5
    scales: int = 4
    layers: int = 4
    width: int = 256


CURVES: dict[str, tuple[int, ...]] = {
    "cameras": (1, 2, 3),
    "chunk": (8, 16, 50),
    "flow_steps": (1, 2, 5, 10),
    "scales": (1, 2, 4),
    "layers": (2, 4, 6),
}


class GrowingCache(KVCache):
    """Keys and values by concatenation: every pass copies all of them."""

    def __init__(self, layers: int) -> None:
        super().__init__(layers, 0)
        self._static = False


class ReleasedNetwork(StagedNetwork):
    """The network as `F1Model` has it, without stages and with a growing cache.

    Args:
        stages: whose network and layout are taken.
        device: where it runs.
    """

    def __init__(self, stages: TorchStages, device: str) -> None:
        super().__init__(stages)
        self.model = stages.network.to(device)
        self.place = torch.device(device)

    def encode_all(self, frames: Tensor) -> Tensor:
        """History frames (T, 3, H, H) -> (1, T, L - 1, C)."""
        tokenizer = self.model.tokenizer
        return tokenizer.var_input(tokenizer.encode(frames.to(self.place)))[None]

    def words(self, tokens: Tensor) -> Tensor:
        """See `StagedNetwork`."""
        return self.model.words(tokens.to(self.place))

    def read(
        self,
        images: Tensor,
        image_mask: Tensor,
        words: Tensor,
        language_mask: Tensor,
        history: Tensor | None = None,
    ) -> Tensor | None:
        """See `StagedNetwork`."""
        model, place = self.model, self.place
        seen = model.vision(images.to(place)).tokens.flatten(1, 2)
        embeds = None if history is None else model.history_embeds(history)
        cache = GrowingCache(self.layout.config.und.num_hidden_layers)
        self.prefix = model.read(seen, image_mask.to(place), words, language_mask.to(place), embeds, cache)
        return model.foresight_logits(self.prefix.last).cpu() if self.layout.predicts else None

    def foresight(self, logits: Tensor, choose: Callable[[int, Tensor], Tensor]) -> list[Tensor]:
        """See `StagedNetwork`."""
        f_hat, codes = self.model.tokenizer.empty(1), [choose(0, logits)]
        for scale in range(1, len(self.layout.scales)):
            logits, f_hat = self.model.foresight_step(self.prefix, scale, codes[-1].to(self.place), f_hat)
            codes.append(choose(scale, logits.cpu()))
        return codes

    def velocity(self, state: Tensor, actions: Tensor, t: Tensor) -> Tensor:
        """See `StagedNetwork`."""
        place = self.place
        return self.model.velocity(self.prefix, state.to(place), actions.to(place), t.to(place)).cpu()


class ForgetfulText(TextCache):
    """Embeds the instruction each time."""

    def get(self, text: str) -> tuple[Tensor, Tensor]:
        """See `TextCache`."""
        self._known = None
        return super().get(text)


class Released(PolicyEngine):
    """The released algorithm behind the engine's own interface."""

    def __init__(self, policy_dir: Path, flow_steps: int, device: str) -> None:
        file = load_policy_file(policy_dir)
        stages = torch_stages(policy_dir, file)
        super().__init__(policy_dir, file, stages, flow_steps=flow_steps)
        self._network = ReleasedNetwork(stages, device)
        config = stages.layout.config
        language = LanguageTokenizer(policy_dir, config.tokenizer_max_length, config.und.vocab_size)
        self._text = ForgetfulText(language, self._network.words)

    def _history(self, observation: Observation) -> Tensor:
        return self._network.encode_all(torch.from_numpy(observation.history).float().div_(127.5).sub_(1.0))


def middle_policy(folder: Path, size: Size) -> Path:
    """A policy of random weights: the belt's visual tokenizer and statistics, a SigLIP tower, experts of any size."""
    belt = F1Config.from_json(BELT / "config.json")
    assert belt.vae is not None

    def expert(width: int) -> ExpertConfig:
        return ExpertConfig(width, 4 * width, size.layers, 4, 1, 64, vocab_size=belt.und.vocab_size)

    config = dataclasses.replace(
        belt,
        vision=SiglipConfig(
            hidden_size=192, intermediate_size=768, num_hidden_layers=4, num_attention_heads=4, image_size=112
        ),
        und=expert(size.width),
        gen=expert(size.width // 2),
        act=expert(size.width // 2),
        chunk_size=size.chunk,
        num_steps=size.flow_steps,
        num_resolutions=size.scales,
    )
    file = load_policy_file(BELT)
    spec = dataclasses.replace(
        file.spec,
        name="middle",
        cameras=tuple(f"camera{i}" for i in range(size.cameras)),
        image_size=config.image_size,
        past_images=(),
        chunk_size=size.chunk,
    )
    torch.manual_seed(0)
    stats = json.loads((BELT / STATS_FILE).read_text(encoding="utf-8"))
    write_policy(folder, F1Model(config), dataclasses.replace(file, spec=spec, step_scale=()), stats, BELT)
    return folder


def stream(spec: PolicySpec) -> Iterator[Observation]:
    """Observations without end, each with one new history frame."""
    draw = np.random.default_rng(0)
    count, side = len(spec.history_offsets), spec.history_size
    frames = list(draw.integers(0, 256, (count, 3, side, side)).astype(np.uint8))
    now = count
    while True:
        yield Observation(
            stamp_ns=now,
            cameras=spec.cameras,
            camera_stamps_ns=(now,) * len(spec.cameras),
            images=draw.uniform(-1, 1, (len(spec.cameras), 3, spec.image_size, spec.image_size)).astype(np.float32),
            history=np.stack(frames),
            history_stamps_ns=tuple(range(now - count, now)),
            state_names=spec.state_names,
            state=draw.uniform(-0.3, 0.3, len(spec.state_names)),
        )
        frames = [*frames[1:], draw.integers(0, 256, (3, side, side)).astype(np.uint8)]
        now += 1


def build(policy: Path, name: str, folder: Path) -> Path:
    """Compile a policy into a folder."""
    print(f"building {name} of {policy.name}", file=sys.stderr, flush=True)
    build_engine(policy, load_engine_config(name), folder)
    return folder


def opened(policy: Path, name: str, folders: Path, device: str, flow_steps: int = 0) -> Engine:
    """An engine by its name; a compiled one lies in a folder of that name."""
    if name == "released":
        return Released(policy, flow_steps, device)
    file = load_policy_file(policy)
    if name == "torch":
        stages = torch_stages(policy, file)
    else:
        stages = compiled_stages(policy, folders / name, built_engine(policy, folders / name), threads=1)
    return PolicyEngine(policy, file, stages, flow_steps=flow_steps)


def compare(policy: Path, engines: dict[str, Engine]) -> None:
    """The engines that are all in float32 give the same actions.

    Raises:
        EngineError: if one does not.
    """
    observations = stream(load_policy_file(policy).spec)
    for seed, observation in zip(range(3), observations, strict=False):
        actions = {name: engine.infer(observation, "pick", seed).actions for name, engine in engines.items()}
        for name, found in actions.items():
            error = float(np.abs(found - actions["released"]).max())
            exact = name in EAGER or engines[name].info.precision == "fp32"
            if exact and error > SAME:
                raise EngineError(f"{name} is {error:.1e} off on {policy}.", remedy="Times of it say nothing.")


def measure(policy: Path, engines: dict[str, Engine], rounds: int, count: int) -> dict[str, dict[str, float]]:
    """Times of each stage of each engine in ms: least of the rounds' medians."""
    observations = stream(load_policy_file(policy).spec)
    next(observations)
    found: dict[str, dict[str, list[float]]] = {name: {stage: [] for stage in STAGES} for name in engines}
    for _ in range(rounds):
        batch = [next(observations) for _ in range(count + 1)]
        for name, engine in engines.items():
            # The first brings an engine's caches to this stretch of the stream.
            times = [engine.infer(observation, "pick", 0).stage_ms for observation in batch][1:]
            for stage in STAGES:
                found[name][stage].append(statistics.median(t[stage] for t in times))
    return {name: {stage: min(medians) for stage, medians in by.items()} for name, by in found.items()}


def first_chunk(policy: Path, name: str, folders: Path, device: str) -> dict[str, float]:
    """Seconds from a process's start to its first chunk, and its peak memory in MB.

    Raises:
        EngineError: if the process fails.
    """
    began = time.time()
    done = subprocess.run(
        [sys.executable, __file__, "--first", name, "--policy", policy, "--folders", folders, "--device", device],
        stdout=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise EngineError(f"{name} of {policy} gave no chunk.", remedy="See what it printed.")
    answer = json.loads(done.stdout)
    return {"first_chunk_s": answer["chunk"] - began, "opened_s": answer["opened_s"], "peak_mb": answer["peak_mb"]}


def run_first(policy: Path, name: str, folders: Path, device: str) -> int:
    """What `first_chunk` starts."""
    torch.set_num_threads(1)
    began = time.perf_counter()
    engine = opened(policy, name, folders, device)
    opened_s = time.perf_counter() - began
    engine.infer(next(stream(engine.spec)), "pick", 0)
    # Not getrusage's maximum, in which a process begins with that of the one that started it.
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    peak_mb = int(re.search(r"VmHWM:\s*(\d+)", status)[1]) / 1024  # type: ignore[index]
    print(json.dumps({"chunk": time.time(), "opened_s": opened_s, "peak_mb": peak_mb}))
    return 0


def stage_table(
    policy: Path, label: str, folders: Path, args: argparse.Namespace
) -> tuple[list[Result], dict[str, dict[str, float]]]:
    """All engines of one policy, end to end and by stage."""
    names = args.engines
    compiled = [name for name in names if name not in EAGER]
    for name in compiled:
        build(policy, name, folders / name)
    engines = {name: opened(policy, name, folders, args.device) for name in names}
    compare(policy, engines)
    table = measure(policy, engines, args.rounds, args.count)
    for name in names:
        table[name] |= first_chunk(policy, name, folders, args.device)
    results = []
    for name in names[1:]:
        ratio = table["released"]["total"] / table[name]["total"]
        goal = GOALS.get(name)
        results.append(
            Result(f"{label}_released_over_{name}", ratio, "", goal and f">= {goal}", ok=goal is None or ratio >= goal)
        )
    ratio = table["released"]["history"] / table[compiled[0]]["history"]
    results.append(Result(f"{label}_history_stage", ratio, "", f">= {HISTORY_GOAL}", ratio >= HISTORY_GOAL))
    for name in names:
        results.append(Result(f"{label}_{name}_ms", table[name]["total"], "ms"))
        results.append(Result(f"{label}_{name}_first_chunk_s", table[name]["first_chunk_s"], "s"))
        results.append(Result(f"{label}_{name}_peak_mb", table[name]["peak_mb"], "MB"))
    return results, table


def curve(name: str, base: Size, folder: Path, args: argparse.Namespace) -> list[dict[str, Any]]:
    """The middle size with one thing changed: ms of the released algorithm and of the first compiled engine."""
    points = []
    compiled = next(engine for engine in args.engines if engine not in EAGER)
    for value in CURVES[name]:
        size = dataclasses.replace(base, **{name: value})
        policy, engines_in, flow_steps = folder / "middle", folder / "middle_engines", 0
        if name == "flow_steps":
            flow_steps = value
        elif size != base:
            policy = middle_policy(folder / f"{name}_{value}", size)
            engines_in = folder / f"{name}_{value}_engines"
            build(policy, compiled, engines_in / compiled)
        engines = {kind: opened(policy, kind, engines_in, args.device, flow_steps) for kind in ("released", compiled)}
        compare(policy, engines)
        table = measure(policy, engines, max(1, args.rounds // 2), args.count)
        points.append({name: value, **{kind: stages["total"] for kind, stages in table.items()}})
    return points


def plot(tables: dict[str, dict[str, dict[str, float]]], curves: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Stages as bars, curves as lines."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    panels = len(tables) + len(curves)
    figure, axes = pyplot.subplots(1, panels, figsize=(3.2 * panels, 3.2), layout="constrained", squeeze=False)
    for axis, (label, table) in zip(axes[0], tables.items(), strict=False):
        bottom = np.zeros(len(table))
        for stage in STAGES[:-1]:
            heights = np.array([stages[stage] for stages in table.values()])
            axis.bar([name.replace("onnxruntime", "ort") for name in table], heights, bottom=bottom, label=stage)
            bottom += heights
        axis.set_title(label)
        axis.set_ylabel("ms")
        axis.legend(fontsize="small")
    for axis, (name, points) in zip(axes[0][len(tables) :], curves.items(), strict=True):
        for kind in (key for key in points[0] if key != name):
            axis.plot([p[name] for p in points], [p[kind] for p in points], marker="o", label=kind)
        axis.set_title(f"middle, by {name.replace('_', ' ')}")
        axis.set_ylim(bottom=0)
        axis.legend(fontsize="small")
    figure.savefig(path, dpi=80)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; exit status as of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="of each engine, half of them for a curve (default 7)")
    parser.add_argument("--count", type=int, default=8, help="inferences of a round (default 8)")
    parser.add_argument("--curves", nargs="*", choices=CURVES, default=list(CURVES), help="which curves (default all)")
    for field in dataclasses.fields(Size):
        parser.add_argument(
            f"--{field.name.replace('_', '-')}",
            type=int,
            default=field.default,
            help=f"of the middle size (default {field.default})",
        )
    parser.add_argument("--out", type=Path, default=HERE / "results")
    parser.add_argument(
        "--engines",
        nargs="+",
        default=list(ENGINES),
        help=f"the baseline, then engines of config/engines (default {' '.join(ENGINES)})",
    )
    parser.add_argument("--device", default="cpu", help="what the released algorithm runs on (default cpu)")
    parser.add_argument("--policy", type=Path, default=BELT, help="in place of models/f1_belt")
    parser.add_argument("--first", help="time to the first chunk of one engine, in this process")
    parser.add_argument("--folders", type=Path, help="of --first: where compiled engines lie")
    args = parser.parse_args(argv)
    if args.first:
        return run_first(args.policy, args.first, args.folders, args.device)
    if args.engines[0] != "released" or not set(args.engines) - set(EAGER):
        parser.error("--engines begins with released, and has one that is compiled")
    torch.set_num_threads(1)
    base = Size(**{field.name: getattr(args, field.name) for field in dataclasses.fields(Size)})
    conditions = {"nice": os.nice(0), "load_average_before": os.getloadavg()[0], "size": dataclasses.asdict(base)}
    began = time.monotonic()
    results, tables, curves = [], {}, {}
    try:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            middle = middle_policy(folder / "middle", base)
            for label, policy in ((args.policy.absolute().name, args.policy), ("middle", middle)):
                more, tables[label] = stage_table(policy, label, folder / f"{label}_engines", args)
                results += more
            for name in args.curves:
                curves[name] = curve(name, base, folder, args)
    except F1Error as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    conditions |= {"load_average_after": os.getloadavg()[0], "took_s": time.monotonic() - began}
    args.out.mkdir(parents=True, exist_ok=True)
    plot(tables, curves, args.out / "engine.png")
    report = Report("make bench", results, {"conditions": conditions, "stage_ms": tables, "curves": curves})
    return report.conclude(args.out / "engine.json")


if __name__ == "__main__":
    raise SystemExit(main())
