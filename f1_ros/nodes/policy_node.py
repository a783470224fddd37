"""The policy node: observations in, action chunks and predicted views out.

A predicted view's picture bears the stamp of the instant that it predicts, so that it can be laid beside what came.
While the action node says that the policy is in force, a policy that can plans from what the arm will have done
when its chunk arrives; see `inference`. Observations are taken by a thread of their own (`polled.Reader`).
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NoReturn

from f1_msgs.msg import ActionChunk as ActionChunkMsg
from f1_msgs.msg import ControlStatus
from f1_msgs.msg import Foresight as ForesightMsg
from f1_msgs.msg import Observation as ObservationMsg
from f1_msgs.srv import SetInstruction
from rclpy.clock import Clock, ClockType
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image

from f1_ros.engine import open_engine
from f1_ros.engine.config import AUTO
from f1_ros.engine.continuity import CONTINUITIES, check_continuity
from f1_ros.engine.gate_record import refuse_unchecked
from f1_ros.engine.protocol import Engine
from f1_ros.errors import ConfigError, EngineFailedError, F1Error, ObservationError
from f1_ros.nodes.conversions import chunk_to_msg, foresight_to_msg, image_to_msg, observation_from_msg, to_ns
from f1_ros.nodes.diagnostics import Diagnostics, Level
from f1_ros.nodes.inference import Answer, InferenceThread, Picture, Settings
from f1_ros.nodes.lifecycle import ManagedNode, leave, run
from f1_ros.nodes.parameters import POLICY, TRACE, NodeParameter, policy_dir, refuse_instruction
from f1_ros.nodes.polled import PolledSubscription, Reader
from f1_ros.nodes.qos import COMMAND, OBSERVATION, SENSOR
from f1_ros.observe.observation import Observation
from f1_ros.trace import Trace

SILENCE_S = 1.0
"""Without an observation for this long, the node warns."""
STATUS_S = 0.5
"""The action node's last word on the mode holds for this long: five times its period."""
WATCH_PERIOD_S = 0.5
STUCK_S = 10.0
"""When an inference has not ended for so long, or the engine has given nothing but failures, the process ends, and
whoever started it starts it anew: what a lost device or memory has broken does not mend itself."""
STOP_S = 1.0
"""How long the end of the node waits for the inference under way, s."""


PARAMETERS = (
    POLICY,
    NodeParameter(
        "engine",
        AUTO,
        "What runs the policy: auto (compiled if that passes its check, torch otherwise), a name in config/engines, a "
        "YAML file, or a directory of `f1-ros engine build`.",
    ),
    NodeParameter(
        "allow_unchecked_engine",
        False,
        "Take a compiled engine without a passing record of `f1-ros engine check`; `/diagnostics` says so.",
    ),
    NodeParameter("threads", 0, "CPU threads of the engine; 0: as its configuration says.", lower=0, upper=64),
    NodeParameter(
        "continuity",
        "auto",
        f"How a chunk goes on from the one before it: {', '.join(CONTINUITIES)} (architecture.md).",
        check=lambda value: None if value in CONTINUITIES else f"'{value}' is none of {', '.join(CONTINUITIES)}.",
    ),
    NodeParameter(
        "instruction",
        "",
        "What the policy is to do, in plain words; empty: the policy's default.",
        live=True,
        check=refuse_instruction,
    ),
    NodeParameter(
        "seed",
        0,
        "Seed of the policy's random draws; an inference's own also depends on its observation's stamp.",
        lower=0,
        upper=2**31 - 1,
        live=True,
    ),
    NodeParameter(
        "max_rate",
        0.0,
        "Inferences per second, Hz, at most; 0: as many as the engine can.",
        lower=0.0,
        upper=1000.0,
        live=True,
    ),
    NodeParameter(
        "foresight_image_rate",
        2.0,
        "Predicted views decoded to pictures, Hz, at most; 0: none.",
        lower=0.0,
        upper=30.0,
        live=True,
    ),
    NodeParameter(
        "max_observation_age",
        0.0,
        "Oldest observation whose chunk goes out, s; 0: until the chunk's last step is due.",
        lower=0.0,
        upper=60.0,
        live=True,
    ),
    TRACE,
)


class PolicyNode(ManagedNode):
    """Runs a policy on the newest observation; see docs/interfaces.md."""

    def __init__(self, subscribe: bool = True, open_engine: Callable[..., Engine] = open_engine) -> None:
        """Create the node.

        Args:
            subscribe: take observations from the topic; false: only from `offer`.
            open_engine: loads a policy directory, see `f1_ros.engine.open_engine`.
        """
        super().__init__("policy_node", PARAMETERS)
        self._subscribe = subscribe
        self._open_engine = open_engine
        self._engine: Engine | None = None
        self._diagnostics: Diagnostics | None = None
        self._thread: InferenceThread | None = None
        self._settings = Settings("", 0, 0.0, 0.0, 0.0)
        self._settings_lock = threading.Lock()
        self._sequence = 0
        self._arrived_s = time.monotonic()
        self._refusal: tuple[float, str] | None = None
        self._policy_heard_s = float("-inf")
        self._service: Any = None
        self._status: Any = None
        self._reader: Reader | None = None
        self._timer: Any = None
        self.add_post_set_parameters_callback(lambda _: self._read_settings())

    def configure(self) -> None:
        """Load the policy and run it once, so that the first chunk is no later than the others."""
        folder, began_s = policy_dir(self.value("policy")), time.monotonic()
        diagnostics = self._diagnostics = Diagnostics(self)

        def say(line: str) -> None:
            # Said at once on both: an engine that is compiled first keeps the robot waiting for about a minute.
            diagnostics.set("engine", Level.WARN, f"No chunks yet. {line}")
            self.has_progressed()

        engine = self.value("engine")
        if engine == AUTO and self.value("continuity") == "guided":
            engine = "torch"  # alone has the gradients
        self._engine = self._open_engine(folder, engine, self.value("threads"), say=say)
        if not self.value("allow_unchecked_engine"):
            refuse_unchecked(self._engine.info, folder)
        spec = self._engine.spec
        check_continuity(spec, self.value("continuity"), self._engine.info)
        self._read_settings()
        diagnostics.hardware_id = spec.robot
        self._chunks = self.create_publisher(ActionChunkMsg, "action_chunk", COMMAND)
        self._foresights = self.create_publisher(ForesightMsg, "foresight", SENSOR)
        self._pictures = self.create_publisher(Image, "foresight/image", SENSOR)
        self._service = self.create_service(SetInstruction, "set_instruction", self._on_set_instruction)
        self._trace = self.open_trace()
        self._engine.warm_up()
        where = f" in {self._engine.info.directory}" if self._engine.info.directory else ""
        diagnostics.set("engine", Level.OK, f"{self._engine.info}{where}")
        self.get_logger().info(
            f"Policy '{spec.name}' for '{spec.robot}' from {folder} is warm after {time.monotonic() - began_s:.1f} s; "
            f"engine {self._engine.info}{where}."
        )

    def activate(self) -> None:
        """Start to answer observations."""
        engine, self._sequence = self._loaded(), 0
        self._arrived_s, self._refusal = time.monotonic(), None
        self._policy_heard_s = float("-inf")
        self._thread = InferenceThread(
            engine, self._current, self._now_ns, self._on_answer, self._on_picture, self._on_failure
        )
        self._thread.start()
        self._status = self.create_subscription(ControlStatus, "status", self._on_status, COMMAND)
        if self._subscribe:
            observations = PolledSubscription(self, ObservationMsg, "observation", OBSERVATION)
            self._reader = Reader(self, {observations: self._on_message})
        self._timer = self.create_timer(WATCH_PERIOD_S, self._watch, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def deactivate(self) -> None:
        """Stop answering; an inference under way gives no chunk any more."""
        if self._reader is not None:
            self._reader.close()
        if self._status is not None:
            self.destroy_subscription(self._status)
        if self._timer is not None:
            self.destroy_timer(self._timer)
        self._reader = self._status = self._timer = None
        thread, self._thread = self._thread, None
        if thread is not None and not thread.stop(STOP_S):
            self._engine = None  # still in use by the thread: it goes with the process
            self.get_logger().warning("The inference under way does not end: left behind.")

    def cleanup(self) -> None:
        """Free the policy."""
        if self._diagnostics is not None:
            self._diagnostics.close()
            self._diagnostics = None
        if self._service is not None:
            self.destroy_service(self._service)
            self._service = None
            for publisher in (self._chunks, self._foresights, self._pictures):
                self.destroy_publisher(publisher)
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def offer(self, observation: Observation) -> None:
        """Hand in an observation by reference, from any thread; returns at once."""
        thread = self._thread
        if thread is not None:
            self._arrived_s = time.monotonic()
            thread.offer(observation)

    def _loaded(self) -> Engine:
        if self._engine is None:
            raise ConfigError("The policy is not loaded.", remedy="Configure policy_node before activating it.")
        return self._engine

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    def _current(self) -> Settings:
        with self._settings_lock:
            settings = self._settings
        return replace(settings, followed=time.monotonic() - self._policy_heard_s < STATUS_S)

    def _read_settings(self) -> None:
        if self._engine is None:
            return
        spec = self._engine.spec
        last_step_s = (spec.first_step_offset + spec.chunk_size - 1) * spec.step_s
        settings = Settings(
            instruction=self.value("instruction") or spec.default_instruction,
            seed=self.value("seed"),
            max_rate_hz=self.value("max_rate"),
            picture_rate_hz=self.value("foresight_image_rate"),
            max_age_s=self.value("max_observation_age") or last_step_s,
            continuity=self.value("continuity"),
        )
        with self._settings_lock:
            self._settings = settings

    def _on_message(self, msg: ObservationMsg, info: dict[str, int]) -> None:
        robot, trace = self._loaded().spec.robot, self._trace
        try:
            if msg.header.frame_id != robot:
                raise ObservationError(
                    f"An observation is of '{msg.header.frame_id}', the policy is for '{robot}'.",
                    remedy="Start the observation node with the profile that the policy was trained for.",
                )
            self.offer(observation_from_msg(msg))
        except ObservationError as error:
            self._refusal = (time.monotonic(), str(error))
            self._say("observations", Level.ERROR, str(error))
        if trace is not None:
            stamp_ns = to_ns(msg.header.stamp)
            trace.mark_system("observation sent", stamp_ns, info["source_timestamp"])
            trace.mark_system("observation received", stamp_ns, info["received_timestamp"])
            trace.mark("observation taken", stamp_ns)

    def _on_status(self, msg: ControlStatus) -> None:
        followed = msg.header.frame_id == self._loaded().spec.robot and msg.mode == ControlStatus.POLICY
        self._policy_heard_s = time.monotonic() if followed else float("-inf")

    def _on_set_instruction(
        self, request: SetInstruction.Request, response: SetInstruction.Response
    ) -> SetInstruction.Response:
        changed = self.set_parameters([Parameter("instruction", value=request.instruction)])[0]
        response.success, response.message = changed.successful, changed.reason
        response.instruction = self._current().instruction
        return response

    def _on_answer(self, answer: Answer) -> None:
        spec = self._loaded().spec
        if self._trace is not None:
            self._trace_inference(self._trace, answer)
        self._chunks.publish(chunk_to_msg(answer.chunk, self._sequence, spec.name, answer.instruction))
        self._sequence += 1
        if not answer.whole:
            return
        if answer.foresight is not None:
            self._foresights.publish(
                foresight_to_msg(answer.foresight, answer.chunk.stamp_ns, spec.cameras[0], spec.name)
            )
        age_ms = (self._now_ns() - answer.chunk.stamp_ns) / 1e6
        stages = {f"{stage} [ms]": figure for stage, figure in answer.stage_ms.items()}
        level, message = Level.OK, "Chunks go out."
        objection = self._loaded().info.objection
        if objection:
            level, message = Level.WARN, f"Chunks go out, and allow_unchecked_engine is set: {objection}."
        self._say("inference", level, message, {"age of chunk [ms]": age_ms, **stages})

    @staticmethod
    def _trace_inference(trace: Trace, answer: Answer) -> None:
        stamp_ns, ended_ns = answer.chunk.stamp_ns, time.monotonic_ns()
        at_ns = ended_ns - answer.chunk.latency_ns
        trace.mark("inference begun", stamp_ns, at_ns)
        for stage, ms in answer.stage_ms.items():
            if stage not in ("total", "near"):  # they overlap the others
                at_ns += round(ms * 1e6)
                trace.mark(f"model {stage}", stamp_ns, at_ns)
        trace.mark("inference ended", stamp_ns, ended_ns)

    def _on_picture(self, picture: Picture) -> None:
        camera = self._loaded().spec.cameras[0]
        self._pictures.publish(image_to_msg(picture.pixels, picture.target_stamp_ns, camera))

    def _on_failure(self, error: Exception) -> None:
        if not isinstance(error, F1Error):
            self.get_logger().error("".join(traceback.format_exception(error)))
            error = ConfigError(f"The engine failed with {type(error).__name__}.", remedy="See the log; report a bug.")
        self._say("inference", Level.ERROR, str(error))

    def _watch(self) -> None:
        """Say so when nothing arrives, or nothing that can be used. End the process when the engine is stuck."""
        if self._reader is not None:
            self._reader.check()
        if self._thread is not None and self._thread.stuck_s() > STUCK_S:
            raise EngineFailedError(
                f"Nothing comes from the engine for {STUCK_S:.0f} s.",
                remedy="See the log; the process is started anew.",
            )
        now_s = time.monotonic()
        silent_s = now_s - self._arrived_s
        if self._refusal is not None and now_s - self._refusal[0] < SILENCE_S:
            self._say("observations", Level.ERROR, self._refusal[1])
        elif silent_s > SILENCE_S:
            remedy = "See what observation_node says of its cameras and joint states."
            self._say("observations", Level.WARN, "No observation arrives.", {"for [s]": silent_s, "remedy": remedy})
        else:
            self._say("observations", Level.OK, "Observations arrive.")

    def _say(self, part: str, level: Level, message: str, values: dict[str, object] | None = None) -> None:
        if self._diagnostics is None or self._thread is None:
            return
        figures: dict[str, object] = dict(values or {})
        if part == "inference":
            p50, p95 = self._thread.latency_ms()
            figures |= {
                "chunks": self._sequence,
                "model latency p50 [ms]": p50,
                "model latency p95 [ms]": p95,
                "skipped for a newer observation": self._thread.skipped,
                "dropped for age": self._thread.too_old,
                "instruction": self._current().instruction,
                "engine": str(self._loaded().info),
                "engine directory": self._loaded().info.directory,
            }
        self._diagnostics.set(part, level, message, figures)


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run the policy node; see docs/interfaces.md."""
    leave(run(lambda: [PolicyNode()], args))


if __name__ == "__main__":
    main()
