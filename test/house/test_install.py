"""What colcon installs, as `ros2 run`, `ros2 launch` and f1_ros itself look for it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prefix of f1_ros built by colcon; f1_msgs comes from the environment, as `make setup` built it."""
    folder = tmp_path_factory.mktemp("colcon")
    bin_folder = Path(sys.executable).parent
    done = subprocess.run(
        [bin_folder / "colcon", "--log-base", folder / "log", "build", "--base-paths", ROOT,
         "--build-base", folder / "build", "--install-base", folder / "install"],
        env={**os.environ, "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}", "COLCON_HOME": str(folder)},
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "install" / "f1_ros"


def test_executables_lie_where_ros2_run_looks(prefix: Path) -> None:
    names = {path.name for path in (prefix / "lib" / "f1_ros").iterdir()}
    assert names == {
        "f1-ros",
        "observation_node",
        "policy_node",
        "perception_node",
        "action_node",
        "sim_node",
        "twin_node",
        "expert_node",
        "teleop_node",
        "recorder_node",
        "stand_in_node",
    }


def test_ament_index_and_share_have_what_launch_and_the_nodes_read(prefix: Path) -> None:
    assert (prefix / "share/ament_index/resource_index/packages/f1_ros").is_file()
    share = prefix / "share" / "f1_ros"
    assert (share / "package.xml").is_file()
    for folder in ("launch", "config", "models"):
        inside = {
            p.relative_to(ROOT) for p in (ROOT / folder).rglob("*") if p.is_file() and "__pycache__" not in p.parts
        }
        assert inside == {p.relative_to(share) for p in (share / folder).rglob("*") if p.is_file()}


def test_the_installed_package_finds_its_share_folder_and_assets(prefix: Path) -> None:
    site = next((prefix / "lib").glob("python3.*/site-packages"))
    code = "import f1_ros; from f1_ros.paths import share_dir; print(f1_ros.__path__[0]); print(share_dir())"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=prefix, env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    package, share = (Path(line) for line in done.stdout.splitlines())
    assert (package, share) == (site / "f1_ros", prefix / "share" / "f1_ros")
    source = ROOT / "f1_ros" / "sim" / "assets"
    assets = {p.relative_to(source) for p in source.rglob("*") if p.is_file()}
    assert assets == {p.relative_to(package / "sim/assets") for p in (package / "sim/assets").rglob("*") if p.is_file()}


def test_every_executable_names_a_main_that_is_there() -> None:
    targets = re.findall(r"= f1_ros\.([\w.]+):main", (ROOT / "setup.py").read_text())
    assert len(targets) == 11
    for target in targets:
        module = ROOT / "f1_ros" / f"{target.replace('.', '/')}.py"
        assert re.search(r"^def main\(", module.read_text(), re.MULTILINE), module
