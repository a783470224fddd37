"""The benchmarks start: a piece that they use and that was renamed would show only when somebody runs `make bench`."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"
SCRIPTS = sorted(path.name for path in BENCH.glob("*.py") if "argparse" in path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_benchmark_finds_all_that_it_uses(script: str) -> None:
    done = subprocess.run([sys.executable, str(BENCH / script), "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: {script}")


def test_make_bench_runs_every_one_of_them() -> None:
    makefile = (BENCH.parent / "Makefile").read_text(encoding="utf-8")
    assert SCRIPTS
    assert [name for name in SCRIPTS if f"bench/{name}" not in makefile] == []
