"""`f1-ros model`: check the network against recordings of the released code, and list its checkpoint."""

from __future__ import annotations

import argparse
import math

from f1_ros.cli.report import Report, Result


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the `model` group."""
    group = subparsers.add_parser("model", help="verify the network, list its checkpoint")
    commands = group.add_subparsers(metavar="COMMAND", required=True)

    verify = commands.add_parser("verify", help="compare with a golden directory of the released code")
    verify.add_argument("directory", metavar="DIR", help="holds config.json, model, inputs and outputs.safetensors")
    verify.add_argument("--json", metavar="FILE", help="also write the report here")
    verify.set_defaults(run=_verify)

    manifest = commands.add_parser("manifest", help="list the full-size checkpoint: names and shapes")
    manifest.add_argument("--json", metavar="FILE", help="also write the report here")
    manifest.set_defaults(run=_manifest)


def _verify(args: argparse.Namespace) -> int:
    import torch

    from f1_ros.model.golden import verify

    torch.set_num_threads(1)  # one order of summation, whatever the machine
    errors = verify(args.directory)
    results = [
        Result(e.name, int(e.error) if e.exact else e.error, "codes" if e.exact else "", f"<= {e.tolerance:g}", e.ok)
        for e in errors
    ]
    floats = [e.error for e in errors if not e.exact]
    worst = math.nan if any(math.isnan(e) for e in floats) else max(floats)
    results.append(Result("golden_max_error", worst, "", "every output within its own", all(e.ok for e in errors)))
    return _finish(Report(f"f1-ros model verify {args.directory}", results), args.json)


def _manifest(args: argparse.Namespace) -> int:
    from f1_ros.model.manifest import manifest

    listed = manifest()
    tensors = {**listed.loaded, **listed.unused}
    parameters = sum(math.prod(shape) for name, shape in listed.loaded.items() if not name.startswith("vae."))
    results = [
        Result("tensors", len(tensors)),
        Result("tensors_loaded", len(listed.loaded)),
        Result("tensors_unused", len(listed.unused)),
        Result("parameters", parameters),
    ]
    details = {
        "tensors": {name: list(shape) for name, shape in tensors.items()},
        "loaded": sorted(listed.loaded),
        "unused": listed.reasons,
    }
    return _finish(Report("f1-ros model manifest", results, details), args.json)


def _finish(report: Report, path: str | None) -> int:
    return report.conclude(path)
