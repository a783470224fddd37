"""Build file of the ament_python package f1_ros, read by colcon and pip."""

from pathlib import Path

from setuptools import find_packages, setup

PACKAGE = "f1_ros"


def share(*folders: str) -> list[tuple[str, list[str]]]:
    """Return data_files entries that install each folder's files below share/f1_ros, keeping the layout."""
    entries: dict[str, list[str]] = {}
    for folder in folders:
        for path in sorted(Path(folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                entries.setdefault(f"share/{PACKAGE}/{path.parent.as_posix()}", []).append(path.as_posix())
    return list(entries.items())


setup(
    name=PACKAGE,
    version="0.1.0",
    description="Runs the F1 vision-language-action model on real robots, through ROS 2",
    license="Apache-2.0",
    maintainer="f1_ros maintainers",
    maintainer_email="f1-ros@example.com",
    python_requires=">=3.11",
    packages=find_packages(include=[PACKAGE, f"{PACKAGE}.*"]),
    package_data={f"{PACKAGE}.sim": ["assets/**/*", "assets/*"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f".ci/resource/{PACKAGE}"]),
        (f"share/{PACKAGE}", ["package.xml"]),
        *share("launch", "config", "models"),
    ],
    install_requires=["setuptools"],
    extras_require={"ray": ["ray==2.60.0"], "tensorrt-rtx": ["tensorrt-rtx==1.7.1.116"]},
    zip_safe=False,
    entry_points={
        "console_scripts": [
            "f1-ros = f1_ros.cli.main:main",
            "observation_node = f1_ros.nodes.observation_node:main",
            "policy_node = f1_ros.nodes.policy_node:main",
            "perception_node = f1_ros.nodes.perception_node:main",
            "action_node = f1_ros.nodes.action_node:main",
            "sim_node = f1_ros.nodes.sim_node:main",
            "twin_node = f1_ros.nodes.twin_node:main",
            "expert_node = f1_ros.nodes.expert_node:main",
            "teleop_node = f1_ros.nodes.teleop_node:main",
            "stand_in_node = f1_ros.nodes.stand_in_node:main",
            "recorder_node = f1_ros.nodes.recorder_node:main",
        ]
    },
)
