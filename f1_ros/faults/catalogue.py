"""All faults, for a robot profile: the times in them come from its timeouts and from the nodes' own periods."""

from __future__ import annotations

from f1_ros.control.timeline import PushOutcome
from f1_ros.errors import ConfigError
from f1_ros.faults.fault import (
    Action,
    Base,
    Fault,
    FullDisk,
    Injection,
    Killed,
    Leader,
    Named,
    Nonsense,
    OutOfMemory,
    Relayed,
    Rival,
    Stopped,
    Throttled,
)
from f1_ros.observe.health import HealthLimits
from f1_ros.robots.profile import RobotProfile

STEP_S = 0.05
"""The belt policy's step: one observation a step, s."""
SWING_RAD, SWING_PERIOD_S = 0.6, 4.0
"""How the leader of the runs swings the first joint: to and fro by so much, once in so many s."""

SAID_S = 1.2
"""From when a node knows a trouble to its name on /diagnostics: it looks every 0.2 to 0.5 s, and says a part's changes
once a second at most."""
MESSAGE_S = 0.2
"""Time for a message or two of the stream to come, for the control loop to take it, and for the request that makes the
fault, which counts from when it is sent."""
UNDER_WAY_S = 0.8 + MESSAGE_S
"""An observation that was made before the fault may still become a chunk; it goes out until its last step is due."""
REPORT_S = 0.5
"""The action node looks for rivals, and at itself, twice a second."""


class _Entries:
    """Writes faults with what they have in common."""

    def __init__(self, profile: RobotProfile) -> None:
        self.timeouts = profile.timeouts
        self.silence = f"no usable action chunk for {profile.timeouts.policy:g} s"
        self._silence_why = (
            f"the policy's timeout of {profile.timeouts.policy:g} s, and {UNDER_WAY_S:g} s for a chunk under way"
        )

    def blind(
        self, name: str, what: str, alterations: str, part: str, words: str, *, known_s: float = 0.0, note: str = ""
    ) -> Fault:
        """The policy goes without observations, after `known_s` of them that look right; the chunk it had runs out."""
        within_s = known_s + self.timeouts.policy + UNDER_WAY_S
        why = self._silence_why + (f"; before that {known_s:g} s in which nothing can be noticed" if known_s else "")
        named = Named(f"observation_node: {part}", words, known_s + SAID_S)
        return self._policy(name, what, Relayed(alterations), within_s, why, named, self.silence, note)

    def mute(
        self, name: str, what: str, injection: Injection, named: Named | None = None, *, known_s: float = 0.0,
        note: str = "",
    ) -> Fault:  # fmt: skip
        """The action node goes without chunks that it can use."""
        within_s = known_s + self.timeouts.policy + UNDER_WAY_S
        named = named or Named("action_node: control", self.silence, within_s + SAID_S)
        why = self._silence_why + (
            f"; before that {known_s:g} s in which late chunks may still be used" if known_s else ""
        )
        return self._policy(name, what, injection, within_s, why, named, self.silence, note)

    def refused(self, name: str, what: str, alteration: str, outcome: str, note: str = "") -> Fault:
        """Chunks come, and none is used."""
        words = outcome.replace("_", " ")
        named = Named("action_node: chunks", words, UNDER_WAY_S + REPORT_S + SAID_S)
        return self.mute(name, what, Relayed(f"chunk:{alteration}"), named, note=note)

    def wrong(self, name: str, what: str, alteration: str, reason: str) -> Fault:
        """A chunk comes that no healthy policy sends: FAULT at once."""
        named = Named("action_node: control", reason, UNDER_WAY_S + SAID_S)
        why = f"the next chunk, within {UNDER_WAY_S:g} s"
        return self._policy(name, what, Relayed(f"chunk:{alteration}"), UNDER_WAY_S, why, named, reason)

    def stops(
        self, name: str, what: str, injection: Injection, within_s: float, why: str, reason: str, note: str = ""
    ) -> Fault:
        """The control process notices it by itself, while the arm follows a leader."""
        named = Named("action_node: control", reason, within_s + SAID_S)
        return Fault(name, what, Base.TELEOP, injection, Action.FAULT, within_s, why, named, reason, note=note)

    def harmless(
        self, name: str, what: str, injection: Injection, named: Named | None, why: str, *, watched_s: float = 2.0,
        note: str = "",
    ) -> Fault:  # fmt: skip
        """The arm goes on following its leader."""
        return Fault(name, what, Base.TELEOP, injection, Action.GOES_ON, watched_s, why, named, note=note)

    def _policy(
        self, name: str, what: str, injection: Injection, within_s: float, why: str, named: Named, reason: str,
        note: str = "",
    ) -> Fault:  # fmt: skip
        return Fault(name, what, Base.POLICY, injection, Action.FAULT, within_s, why, named, reason, note=note)


def catalogue(profile: RobotProfile) -> tuple[Fault, ...]:
    """All faults, in the order in which they are best run."""
    entries = _Entries(profile)
    return (
        *_cameras(entries, profile), *_chunks(entries), *_processes(entries, profile), *_joint_states(entries, profile),
        *_teleoperation(entries, profile), *_clocks(profile), *_publisher(entries), *_others(entries),
    )  # fmt: skip


def choose(names: list[str], profile: RobotProfile) -> tuple[Fault, ...]:
    """The faults of these names in the catalogue's order; all of them for no name.

    Raises:
        ConfigError: if a name is unknown.
    """
    faults = catalogue(profile)
    unknown = sorted(set(names) - {fault.name for fault in faults})
    if unknown:
        raise ConfigError(f"There is no fault {', '.join(unknown)}.", remedy="See `f1-ros faults list`.")
    return tuple(fault for fault in faults if not names or fault.name in names)


def _cameras(entries: _Entries, profile: RobotProfile) -> tuple[Fault, ...]:
    limits = HealthLimits()
    frozen_s = limits.frozen_after * STEP_S
    missing_s = limits.missing_after_ns * 1e-9
    front, wrist = (camera.name for camera in profile.cameras)
    seen = f"camera {front}"
    blind = entries.blind
    slow = 4
    return (
        blind("camera_missing", "a camera sends nothing any more", f"{front}:drop", seen, "missing"),
        blind("second_camera_missing", "the other camera sends nothing any more", f"{wrist}:drop", f"camera {wrist}",
              "missing"),
        blind("camera_frozen", "a camera repeats its last picture with new stamps", f"{front}:freeze", seen, "frozen",
              known_s=frozen_s,
              note=f"{limits.frozen_after} equal frames in a row; a still scene differs by the sensor's noise"),
        blind("camera_late", "a camera's frames come 0.4 s late", f"{front}:delay:0.4", "observation", "ms old"),
        blind("camera_slow", f"one of {slow} frames of a camera comes", f"{front}:thin:{slow}", "observation",
              "without a gap", known_s=missing_s, note="the policy's history needs a frame each step"),
        blind("camera_black", "a camera's pictures are black", f"{front}:black", seen, "black",
              note="a frame whose brightest pixel is below `black_below` is not used"),
        blind("camera_missized", "a camera changes its resolution", f"{front}:size", seen, "expected 640x480"),
        blind("camera_misencoded", "a camera changes to an encoding that no node converts", f"{front}:encoding", seen,
              "encoding", note="rgb8 sent as bgr8 has the same form: nothing but the policy's results can show it"),
        blind("camera_truncated", "half of each picture's bytes are missing", f"{front}:truncate", seen,
              "bytes of data"),
        blind("cameras_swapped", "two cameras' pictures change places", f"{front}:swap,{wrist}:swap", seen,
              "its frames are of",
              note="by the header's frame_id; swapped cables that keep topic and frame_id, nothing here notices"),
        blind("camera_clock_ahead", "one camera's clock jumps ahead by 5 s", f"{wrist}:shift:5", f"camera {wrist}",
              "not on the ROS clock"),
        blind("camera_clock_back", "one camera's clock jumps back by 2 s", f"{front}:shift:-2", seen,
              "clock set back"),
    )  # fmt: skip


def _chunks(entries: _Entries) -> tuple[Fault, ...]:
    refused, wrong = entries.refused, entries.wrong
    return (
        wrong("chunk_nan", "a chunk holds NaN", "nan", "NaN"),
        wrong("chunk_empty", "a chunk has no steps", "empty", "has shape"),
        wrong("chunk_ragged", "a chunk's step lacks a joint", "ragged", "steps without a position"),
        refused("chunk_out_of_range", "chunks send a joint 10 rad away", "far", "out_of_range"),
        refused("chunk_of_another_robot", "chunks are for another robot", "foreign", PushOutcome.WRONG_ROBOT.value),
        refused("chunk_of_another_period", "chunks have another step period", "period", PushOutcome.OTHER_PERIOD.value),
        refused("chunk_from_the_future", "chunks are stamped 5 s ahead", "shift:5", PushOutcome.FROM_FUTURE.value),
        entries.mute("chunk_late", "chunks come 1.5 s late, when their last step is past", Relayed("chunk:delay:1.5")),
        Fault(
            "chunk_from_before_the_switch", "after HOLD and POLICY only chunks from before the switch come", Base.HOLD,
            Relayed("chunk:old"), Action.FAULT, entries.timeouts.policy + UNDER_WAY_S,
            f"the policy's timeout of {entries.timeouts.policy:g} s from the switch; the arm does not move before it",
            Named("action_node: chunks", PushOutcome.BEFORE_SWITCH.value.replace("_", " "),
                  UNDER_WAY_S + REPORT_S + SAID_S),
            entries.silence, asks="POLICY",
        ),
    )  # fmt: skip


def _processes(entries: _Entries, profile: RobotProfile) -> tuple[Fault, ...]:
    mute, starts_again = entries.mute, "the supervisor starts it again after 1 s"
    robot = ",".join(f"{name}:drop" for name in ("joints", "fingers", *(camera.name for camera in profile.cameras)))
    lost_s = profile.timeouts.joint_state
    return (
        mute("inference_slow", "the policy's process gets a hundredth of its time", Throttled("policy_node", 0.01, 1.0),
             known_s=0.8),
        mute("inference_hung", "the policy's process stands still", Stopped("policy_node")),
        mute("inference_killed", "the policy's process is killed", Killed("policy_node"), note=starts_again),
        mute("inference_out_of_memory", "memory runs out: the policy's process is killed, and the next gets 512 MB",
             OutOfMemory("policy_node", 512 << 20), note="the next dies too, and the one after it has memory again"),
        mute("policy_partitioned", "the policy's process runs, and neither hears nor is heard",
             Relayed("observation:drop,chunk:drop"),
             Named("policy_node: observations", "No observation arrives", 1.0 + SAID_S)),
        mute("observation_killed", "the observation process is killed", Killed("observation_node"), note=starts_again),
        mute("observation_hung", "the observation process stands still", Stopped("observation_node"),
             Named("policy_node: observations", "No observation arrives", 1.0 + SAID_S)),
        entries.stops("robot_partitioned", "nothing of the robot's driver and cameras comes any more", Relayed(robot),
                      lost_s + MESSAGE_S, f"the joint state's timeout of {lost_s:g} s", "no joint state"),
    )  # fmt: skip


def _joint_states(entries: _Entries, profile: RobotProfile) -> tuple[Fault, ...]:
    stops, lost_s = entries.stops, profile.timeouts.joint_state
    why = f"the joint state's timeout of {lost_s:g} s"
    away = f"the arm is {profile.max_tracking_error:g} rad from its command"
    return (
        stops("joint_state_lost", "no joint state comes any more", Relayed("joints:drop"), lost_s + MESSAGE_S, why,
              "no joint state"),
        stops("joint_state_nan", "a joint's position is NaN", Relayed("joints:nan"), MESSAGE_S, "the next message",
              "NaN"),
        stops("joint_state_repeats", "the driver repeats its last message, stamp and all", Relayed("joints:repeat"),
              lost_s + MESSAGE_S, why + "; a stamp that stands still is silence", "no joint state"),
        stops("joint_state_of_another_robot", "the joints have other names", Relayed("joints:foreign"),
              lost_s + MESSAGE_S, why, "no joint state"),
        stops("joint_state_jumps", "one joint's reading jumps by 1 rad", Relayed("joints:offset:1"), MESSAGE_S,
              f"the next message: {away}", "from its command"),
        stops("state_does_not_follow", "the measured joints stand still while commands move them",
              Relayed("joints:stick"), SWING_PERIOD_S + 0.5 + MESSAGE_S,
              "when the command, 0.9 of max_tracking_error ahead, has waited for the joint for 0.5 s: here within a "
              "swing of the leader", "does not follow"),
        entries.harmless("gripper_state_lost", "no gripper state comes any more", Relayed("fingers:drop"),
                         Named("action_node: gripper gripper state", "No message",
                               profile.timeouts.gripper_state + SAID_S),
                         "under teleoperation nothing depends on it", watched_s=profile.timeouts.gripper_state + 1.5,
                         note="a policy goes without observations: FAULT, as with a missing camera"),
    )  # fmt: skip


def _teleoperation(entries: _Entries, profile: RobotProfile) -> tuple[Fault, ...]:
    stops, silent_s = entries.stops, profile.timeouts.teleop
    reason, why = f"no leader arm's message for {silent_s:g} s", f"the leader's timeout of {silent_s:g} s"
    return (
        stops("leader_disconnects", "the leader arm sends nothing any more", Leader("silent"), silent_s + MESSAGE_S,
              why, reason),
        stops("leader_nan", "the leader arm sends NaN", Leader("nan"), MESSAGE_S, "the next message", "NaN"),
        stops("leader_out_of_range", "the leader arm sends positions 10 rad away", Leader("far"), silent_s + MESSAGE_S,
              why + ": such messages are refused", reason),
        stops("leader_lacks_a_joint", "the leader arm's messages lack a joint", Leader("partial"),
              silent_s + MESSAGE_S, why + ": such messages are refused", reason),
        entries.harmless("leader_floods", "the leader arm sends 2000 messages a second", Leader("floods"), None,
                         "each tick takes the newest message, whatever has come before it"),
        entries.harmless("leader_jumps", "the leader arm is 0.3 rad elsewhere all at once", Leader("jumps"), None,
                         "the arm approaches it slowly, as at the beginning"),
        stops("rival_publisher", "another node publishes on the command topic", Rival(), 2 * REPORT_S + MESSAGE_S,
              f"DDS tells within {REPORT_S:g} s, and the action node looks every {REPORT_S:g} s", "command topic",
              note="FAULT cannot be left before the other one is gone"),
    )  # fmt: skip


def _clocks(profile: RobotProfile) -> tuple[Fault, ...]:
    stamped = ("clock", "joints", "fingers", *(camera.name for camera in profile.cameras))
    back, ahead = (",".join(f"{name}:shift:{by}" for name in stamped) for by in (-5, 5))
    stalled, message = "no command for", "the next /clock message"
    return (
        Fault("clock_reset", "/clock and all stamps go back by 5 s, as when a simulation starts anew", Base.TELEOP,
              Relayed(back), Action.HOLD, MESSAGE_S, message, Named("action_node: clock", "set back", SAID_S),
              note="commands start anew from the measured joints"),
        Fault("clock_ahead", "/clock and all stamps jump ahead by 5 s", Base.TELEOP, Relayed(ahead), Action.FAULT,
              MESSAGE_S, message, Named("action_node: control", stalled, SAID_S), stalled),
        Fault("clock_stops", "/clock stands still", Base.TELEOP, Relayed("clock:drop"), Action.SILENT,
              REPORT_S, "time is taken on for 0.5 s at the most",
              Named("action_node: clock", "Stands still", REPORT_S + 2 * SAID_S),
              note="in simulation only: without use_sim_time the system's clock is read"),
    )  # fmt: skip


def _publisher(entries: _Entries) -> tuple[Fault, ...]:
    return (
        entries.stops("publisher_stopped", "the action node is stopped for 1.5 s, then goes on",
                      Stopped("action_node", for_s=1.5), MESSAGE_S,
                      "its first tick when it goes on; until then the robot's own controller holds",
                      "no command for",
                      note="times are from when it goes on"),
        Fault("publisher_killed", "the action node is killed", Base.TELEOP, Killed("action_node"), Action.SILENT,
              MESSAGE_S, "nothing is sent by a dead process",
              None,
              note="the supervisor says so by name and starts it again, in HOLD; a robot's controller that follows no "
                   "topic with two publishers counts the dead one until DDS forgets it, up to 20 s later"),
    )  # fmt: skip


def _others(entries: _Entries) -> tuple[Fault, ...]:
    return (
        entries.harmless("parameters_nonsense", "all nodes are asked to take nonsense while they run", Nonsense(), None,
                         "each is refused with its reason, to who asked"),
        entries.harmless("disk_full", "the disk takes no more while an episode is recorded, and it is to be kept",
                         FullDisk("recorder_node", 100_000),
                         Named("recorder_node: recording", "cannot be written", 10.0),
                         "nothing that commands the robot waits for the recorder", watched_s=3.0,
                         note="who asked to keep it is told as well; finished episodes stay"),
    )  # fmt: skip
