"""The twins live: Genie-1 or LIFT II behind exactly its robot's topics and types, and `/clock`.

The physics' thread takes the commands, steps the world and publishes what the robot says; the renderer's thread
publishes the pictures (see `SimLoop`). What a robot's messages look like is `twin_ports`, what it makes of a command
`f1_ros.sim.twins.quirks`. When the task is done, or its thing is out of reach, it is laid out anew after a while; so it
is with `give_up_after` if it takes too long, as somebody would in the lab who puts things back.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from std_srvs.srv import Trigger

from f1_ros.errors import ConfigError
from f1_ros.nodes.lifecycle import run
from f1_ros.nodes.parameters import NodeParameter
from f1_ros.nodes.sim_loop import LOOP_PARAMETERS
from f1_ros.nodes.twin_ports import GripperUnits, Port, open_port
from f1_ros.nodes.world_node import COUNTS_HZ, TRUTH_HZ, WorldNode
from f1_ros.paths import share_dir
from f1_ros.sim.camera import Renderer, Snapshot
from f1_ros.sim.config import BeltConfig
from f1_ros.sim.lockstep import TICK_S
from f1_ros.sim.twins.opening import open_twin
from f1_ros.sim.twins.rounds import TaskRounds
from f1_ros.sim.twins.world import TwinWorld
from f1_ros.sim.worlds import load_world_config

PARAMETERS = (
    NodeParameter("config", "genie1", "World: genie1 or arx_lift2 of config/sim, or the path of a YAML file."),
    NodeParameter(
        "variant",
        "",
        "What the robot speaks: Genie-1's own topics (robot) or those of AgiBot's simulator (simulator); LIFT II with "
        "arms x5 or ac_one. Empty: the first of these.",
    ),
    NodeParameter(
        "gripper_closed",
        0.0,
        "What a gripper of Genie-1 reads when closed; its unit is open.",
        lower=-1000.0,
        upper=1000.0,
    ),
    NodeParameter("gripper_open", 120.0, "What it reads when open.", lower=-1000.0, upper=1000.0),
    NodeParameter("gripper_command_closed", 0.0, "What closes it.", lower=-1000.0, upper=1000.0),
    NodeParameter("gripper_command_open", 120.0, "What opens it.", lower=-1000.0, upper=1000.0),
    NodeParameter("seed", 0, "Seed of all that is drawn.", lower=0, upper=2**31 - 1),
    NodeParameter(
        "give_up_after",
        0.0,
        "A task that is not done so long after it was laid out counts as lost, s; 0: it may take for ever.",
        lower=0.0,
        upper=3600.0,
    ),
    NodeParameter("repeat", True, "The task is laid out anew 1.5 s after it is done, or its thing is out of reach."),
    *LOOP_PARAMETERS,
)


class TwinNode(WorldNode[TwinWorld]):
    """A twin behind its robot's topics; see docs/interfaces.md."""

    def __init__(self) -> None:
        """Create the node."""
        super().__init__("twin_node", PARAMETERS)
        self._port: Port | None = None

    def configure(self) -> None:
        """Build the world."""
        name = self.value("config")
        packaged = share_dir() / "config" / "sim" / f"{name}.yaml"
        config = load_world_config(packaged if packaged.is_file() else Path(name))
        if isinstance(config, BeltConfig):
            raise ConfigError(f"{name} is the Franka's belt.", remedy="Start sim_node for it, or give a twin's world.")
        world = open_twin(config)
        world.reset(self.value("seed"))
        robot = world.robot
        grippers = [arm.gripper.name for arm in robot.arms]
        self._adopt(world, robot.name, robot.joint_names, grippers, world.cameras)

    def activate(self) -> None:
        """Let time run."""
        world = self._built()
        variant, reads, takes = self.value("variant"), "gripper", "gripper_command"
        units = GripperUnits(*((self.value(f"{of}_closed"), self.value(f"{of}_open")) for of in (reads, takes)))
        self._port = open_port(self, world, variant, units)
        self._rounds = TaskRounds(
            world, give_up_ticks=round(self.value("give_up_after") / TICK_S), repeat=self.value("repeat")
        )
        self._asked_anew = False
        self._service = self.create_service(Trigger, "/f1_sim/new_task", self._on_new_task)
        self._start_loop()
        spoken = f" that speaks as {variant}" if variant else ""
        self.get_logger().info(f"Simulating '{world.robot.name}'{spoken}: {world.instruction}.")

    def deactivate(self) -> None:
        """Let time stand still; the world stays as it is."""
        if self._loop is not None:
            self.destroy_service(self._service)
        super().deactivate()
        if self._port is not None:
            self._port.close()
            self._port = None

    def _step(self) -> None:
        """A tick of the physics' thread."""
        world, port, loop = self._built(), self._port, self._loop
        assert port is not None
        assert loop is not None
        port.drive(self._base_ns + world.time_ns)
        stamp = self._tell(world, loop)
        if loop.due(port.state_hz):
            port.publish(stamp)
        if loop.due(TRUTH_HZ):
            self._truth.publish(world.joint_positions, world.gripper_widths, stamp)
        if loop.due(COUNTS_HZ):
            done, lost = self._rounds.done, self._rounds.lost
            counts = {"done": done, "lost": lost, "stages": world.stages_done, "refused": port.refused()}
            self._publish_counts("task", counts)
        self._go_on()

    def _go_on(self) -> None:
        rounds = self._rounds
        rounds.repeat = self.value("repeat")
        if self._asked_anew:
            self._asked_anew = False
            rounds.lay_out()
        rounds.follow()

    def _on_new_task(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Lay the task out anew with the physics' next tick; the arms stay where they are."""
        self._asked_anew = response.success = True
        return response

    def _draw(self, renderer: Renderer, snapshot: Snapshot) -> None:
        """Pictures of a snapshot, in the renderer's thread."""
        port, width, height = self._port, self.value("image_width"), self.value("image_height")
        assert port is not None
        for camera in port.cameras:
            picture = renderer.render(snapshot, camera, width, height)
            port.publish_picture(camera, picture, snapshot.time_ns)
            self._truth.show(camera, picture, snapshot.time_ns)


def main(args: Sequence[str] | None = None) -> int:
    """Run the node; see docs/interfaces.md."""
    return run(lambda: [TwinNode()], args)


if __name__ == "__main__":
    sys.exit(main())
