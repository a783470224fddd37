"""The description of a bring-up, the command line's and launch's reading of it."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from f1_ros.bringup import BRINGUPS, arx_lift2, franka, genie1
from f1_ros.bringup_options import DEVICES, EXPERT, ArxLift2Options, FrankaOptions, Genie1Options, RobotOptions
from f1_ros.cli.main import build_parser
from f1_ros.engine.policy import load_spec
from f1_ros.errors import BringUpError, F1Error
from f1_ros.processes import BringUp, OnExit, ProcessSpec, environment
from f1_ros.robots.profile import load_profile

REPO = Path(__file__).resolve().parents[2]
LAUNCH_FILES = {path.name.partition(".")[0]: path for path in (REPO / "launch").glob("*.launch.py")}


def executables(bringup: BringUp) -> list[str]:
    return [process.executable for process in bringup.processes]


def parameters(bringup: BringUp, name: str) -> dict[str, object]:
    (process,) = [process for process in bringup.processes if process.name == name]
    return dict(process.parameters)


def test_the_real_robot_without_a_policy_is_the_action_node_alone() -> None:
    system = franka(FrankaOptions())
    assert executables(system) == ["action_node"]
    assert parameters(system, "action_node") == {"use_sim_time": False, "profile": "franka_fr3", "initial_mode": "hold"}


def test_the_whole_simulated_system(tmp_path: Path) -> None:
    system = franka(FrankaOptions(sim=True, policy=str(tmp_path), teleop=EXPERT, instruction="pick", seed=3))
    assert executables(system) == ["sim_node", "action_node", "observation_node", "policy_node", "expert_node"]
    assert parameters(system, "policy_node")["instruction"] == "pick"
    assert parameters(system, "policy_node")["policy"] == str(tmp_path)
    assert parameters(system, "sim_node")["seed"] == 3
    follows_sim_time = [p.name for p in system.processes if p.parameters.get("use_sim_time")]
    assert follows_sim_time == ["action_node", "observation_node", "policy_node"]


def test_what_runs_the_policy_is_told_by_name_or_by_a_path_that_holds_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("built", "onnxruntime"):
        (tmp_path / name).mkdir()
    for engine, told in (("onnxruntime", "onnxruntime"), ("built", str(tmp_path / "built"))):
        for shared in (False, True):
            system = franka(FrankaOptions(sim=True, engine=engine, one_process=shared))
            assert parameters(system, "perception_node" if shared else "policy_node")["engine"] == told


def test_a_simulated_twin_speaks_what_its_robots_profile_says(tmp_path: Path) -> None:
    genie = genie1(Genie1Options(sim=True, policy=str(tmp_path), seed=4))
    assert executables(genie) == ["twin_node", "action_node", "observation_node", "policy_node"]
    told = parameters(genie, "twin_node")
    assert (told["config"], told["variant"], told["seed"]) == ("genie1", "robot", 4)
    assert told["give_up_after"] > 0.0
    assert "give_up_after" not in parameters(genie1(Genie1Options(sim=True, policy="none")), "twin_node")
    ends = load_profile("genie1", simulated=True).grippers[0].state
    assert (told["gripper_closed"], told["gripper_open"]) == (ends.closed, ends.open)
    told = parameters(genie1(Genie1Options(sim=True, profile="genie1_simulator")), "twin_node")
    assert (told["variant"], told["gripper_open"], told["gripper_command_open"]) == ("simulator", 0.8, 1.0)
    for profile, variant in (("arx_lift2_x5", "x5"), ("arx_lift2_acone", "ac_one")):
        lift = arx_lift2(ArxLift2Options(sim=True, profile=profile, policy="none"))
        assert executables(lift) == ["twin_node", "action_node"]
        assert (parameters(lift, "twin_node")["config"], parameters(lift, "twin_node")["variant"]) == (
            "arx_lift2", variant,
        )  # fmt: skip
        assert parameters(lift, "action_node")["profile"] == profile


def test_the_simulation_runs_the_shipped_policy_unless_told_otherwise() -> None:
    models = REPO / "models"
    for system, policy in (
        (franka(FrankaOptions(sim=True)), "f1_belt"),
        (genie1(Genie1Options(sim=True)), "f1_genie1"),
        (arx_lift2(ArxLift2Options(sim=True)), "f1_arx_lift2"),
    ):
        assert parameters(system, "policy_node")["policy"] == str(models / policy)
    assert "policy_node" not in executables(arx_lift2(ArxLift2Options(sim=True, profile="arx_lift2_acone")))
    assert executables(franka(FrankaOptions(sim=True, policy="none"))) == ["sim_node", "action_node"]


def test_the_shipped_policy_is_for_one_robot_and_another_one_starts_without(tmp_path: Path) -> None:
    assert FrankaOptions.shipped_for == load_spec(REPO / "models" / FrankaOptions.shipped_policy).robot
    panda = FrankaOptions(sim=True, profile="franka_panda")
    assert executables(franka(panda)) == ["sim_node", "action_node"]
    assert parameters(franka(panda), "sim_node")["profile"] == "franka_panda"
    with pytest.raises(BringUpError, match="no policy is given") as refused:
        FrankaOptions(sim=True, profile="franka_panda", mode="policy")
    assert "for this profile's robot" in refused.value.remedy
    copy = tmp_path / "mine.yaml"
    copy.write_text((REPO / "config" / "robots" / "franka_fr3.yaml").read_text().replace("kinematics: franka", ""))
    assert "policy_node" in executables(franka(FrankaOptions(sim=True, profile=str(copy))))


def test_all_nodes_go_by_the_clock_of_a_simulator_that_runs_already(tmp_path: Path) -> None:
    system = genie1(Genie1Options(profile="genie1_simulator", policy=str(tmp_path), record="x", use_sim_time=True))
    assert executables(system) == ["action_node", "observation_node", "policy_node", "recorder_node"]
    assert all(process.parameters["use_sim_time"] for process in system.processes)
    plain = genie1(Genie1Options(policy=str(tmp_path), record="x"))
    assert not any(process.parameters["use_sim_time"] for process in plain.processes)


def test_observation_and_policy_can_share_a_process(tmp_path: Path) -> None:
    apart = franka(FrankaOptions(sim=True, policy=str(tmp_path), policy_rate=5.0))
    together = franka(FrankaOptions(sim=True, policy=str(tmp_path), policy_rate=5.0, one_process=True))
    assert executables(together) == ["sim_node", "action_node", "perception_node"]
    both = {**parameters(apart, "observation_node"), **parameters(apart, "policy_node")}
    assert parameters(together, "perception_node") == both
    assert both["max_rate"] == 5.0


def test_commands_outlive_perception_and_nothing_outlives_the_commands(tmp_path: Path) -> None:
    system = franka(FrankaOptions(sim=True, policy=str(tmp_path), teleop=EXPERT))
    ends = {process.name for process in system.processes if process.on_exit is OnExit.END_SYSTEM}
    assert ends == {"sim_node", "action_node"}


def test_a_recorder_comes_on_request_and_records_what_the_policy_sees(tmp_path: Path) -> None:
    system = franka(FrankaOptions(sim=True, policy=str(tmp_path), record="data/live", instruction="pick"))
    assert executables(system)[-1] == "recorder_node"
    assert parameters(system, "recorder_node") == {
        "use_sim_time": True,
        "profile": "franka_fr3",
        "dataset": str(Path("data/live").absolute()),
        "policy": str(tmp_path),
        "cameras": "",
        "instruction": "pick",
    }
    alone = franka(FrankaOptions(record="~/data"))
    assert executables(alone) == ["action_node", "recorder_node"]
    assert parameters(alone, "recorder_node")["dataset"] == str(Path("~/data").expanduser())
    assert parameters(alone, "recorder_node")["policy"] == ""
    assert [p.name for p in system.processes if p.on_exit is OnExit.END_SYSTEM] == ["sim_node", "action_node"]


@pytest.mark.parametrize("device", DEVICES)
def test_a_person_can_move_the_real_arm_and_the_simulated_one(tmp_path: Path, device: str) -> None:
    for sim in (True, False):
        system = franka(FrankaOptions(sim=sim, policy="none", teleop=device))
        assert executables(system) == ["sim_node"] * sim + ["action_node", "teleop_node"]
        assert parameters(system, "teleop_node")["device"] == device
        assert [p.name for p in system.processes if p.on_exit is OnExit.KEEP_OTHERS] == ["teleop_node"]


def test_teleop_without_a_value_is_the_scripted_expert() -> None:
    parse = build_parser().parse_args
    assert parse(["up", "franka", "--sim", "--teleop", "--mode", "teleop"]).teleop == EXPERT
    assert parse(["up", "franka", "--teleop", "gamepad"]).teleop == "gamepad"
    assert parse(["up", "franka"]).teleop is None


def test_every_executable_is_a_module_and_a_console_script() -> None:
    scripts = (REPO / "setup.py").read_text()
    apart, together = (
        franka(FrankaOptions(sim=True, policy=str(REPO), teleop=EXPERT, one_process=one, record="x"))
        for one in (False, True)
    )
    for process in (*apart.processes, *together.processes, *genie1(Genie1Options(sim=True)).processes):
        assert importlib.util.find_spec(f"f1_ros.nodes.{process.executable}") is not None
        assert f'"{process.executable} = f1_ros.nodes.{process.executable}:main"' in scripts


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"sim": "maybe"}, "sim is 'maybe', expected bool"),
        ({"control_rate": "fast"}, "control_rate is 'fast', expected float"),
        ({"control_rate": "nan"}, "control_rate is nan Hz"),
        ({"control_rate": "-1"}, "control_rate is -1.0 Hz"),
        ({"speed": "1"}, "Unknown argument speed"),
        ({"policy": "/no/such/folder"}, "policy '/no/such/folder' is not a folder"),
        ({"teleop": "true"}, "teleop is 'true'"),
        ({"teleop": "expert"}, "teleop expert needs the simulation"),
        ({"view": "true"}, "view needs the simulation"),
        ({"mode": "policy"}, "mode is 'policy' but no policy is given"),
        ({"mode": "fault"}, "mode is 'fault'"),
        ({"belt_speed": "3", "sim": "1"}, "belt_speed is 3.0 m/s"),
        ({"real_time_factor": "0"}, "real_time_factor is 0.0"),
    ],
)
def test_a_wrong_argument_is_named(values: dict[str, str], named: str) -> None:
    with pytest.raises(BringUpError, match=named.replace("(", r"\(")) as caught:
        BRINGUPS["franka"].build(values)
    assert caught.value.remedy


@pytest.mark.parametrize("robot", BRINGUPS)
@given(data=st.data())
def test_any_text_is_read_or_refused_with_a_remedy(robot: str, data: st.DataObject) -> None:
    names = [argument.name for argument in BRINGUPS[robot].arguments]
    values = data.draw(st.dictionaries(st.sampled_from(names), st.text(max_size=12)))
    try:
        started = executables(BRINGUPS[robot].build(values))
    except F1Error as error:
        started = ["action_node"] if error.remedy else []
    assert "action_node" in started


@pytest.mark.parametrize("options", [FrankaOptions, Genie1Options, ArxLift2Options])
def test_defaults_as_text_read_back_as_the_defaults(options: type[RobotOptions]) -> None:
    assert options.parse({a.name: a.default for a in options.arguments()}) == options()


def test_the_command_line_takes_every_argument() -> None:
    texts = {"sim": "true", "belt_speed": "-0.2", "seed": "7"}
    line = ["up", "franka", "--sim", "--belt-speed", "-0.2", "--seed", "7", "--domain-id", "9"]
    args = build_parser().parse_args(line)
    given_here = {a.name: getattr(args, a.name) for a in FrankaOptions.arguments()}
    assert {name: value for name, value in given_here.items() if value is not None} == texts


def test_two_processes_cannot_share_a_name() -> None:
    one = ProcessSpec("a", "action_node", OnExit.END_SYSTEM, "test")
    with pytest.raises(BringUpError, match="more than one process called a"):
        BringUp("twice", (one, one))


def test_the_launch_files_say_nothing_that_the_description_does_not() -> None:
    assert set(LAUNCH_FILES) == set(BRINGUPS)
    for robot, path in LAUNCH_FILES.items():
        tree = ast.parse(path.read_text())
        texts = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
        assert texts == {ast.get_docstring(tree, clean=False), robot}
    module = ast.parse((REPO / "f1_ros" / "launching.py").read_text())
    calls = [
        node.func.id for node in ast.walk(module) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    ]
    assert calls.count("Node") == 1  # and that one is of whatever process the description has


@pytest.mark.parametrize("robot", BRINGUPS)
def test_launch_starts_the_same_processes(robot: str) -> None:
    # `launch.actions`, since this repository's own launch/ folder can be imported as `launch`.
    pytest.importorskip("launch.actions")
    pytest.importorskip("launch_ros.actions")
    from launch import LaunchContext
    from launch.actions import DeclareLaunchArgument, OpaqueFunction

    loaded = importlib.util.spec_from_file_location(f"{robot}_launch", LAUNCH_FILES[robot])
    assert loaded is not None
    assert loaded.loader is not None
    module = importlib.util.module_from_spec(loaded)
    loaded.loader.exec_module(module)
    description = module.generate_launch_description()
    declared = [entity.name for entity in description.entities if isinstance(entity, DeclareLaunchArgument)]
    arguments = BRINGUPS[robot].arguments
    assert declared == [argument.name for argument in arguments]
    context = LaunchContext()
    for argument in arguments:
        context.launch_configurations[argument.name] = argument.default
    context.launch_configurations.update(sim="true", policy="none")
    (starts,) = [entity for entity in description.entities if isinstance(entity, OpaqueFunction)]
    nodes = [node.node_executable for node in starts.execute(context) or []]
    assert nodes == executables(BRINGUPS[robot].build({"sim": "true", "policy": "none"}))


def test_pictures_have_room_in_shared_memory_unless_the_user_chose_himself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FASTRTPS_DEFAULT_PROFILES_FILE", raising=False)
    (path,) = environment().values()
    segment = ElementTree.parse(path).find(".//{*}segment_size")
    assert segment is not None
    assert int(segment.text or 0) >= 3 * 1280 * 720 * 3
    monkeypatch.setenv("FASTRTPS_DEFAULT_PROFILES_FILE", "/mine.xml")
    assert environment() == {"FASTRTPS_DEFAULT_PROFILES_FILE": "/mine.xml"}
