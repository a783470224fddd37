"""Records episodes of a running robot into a LeRobot dataset.

    recorder = LiveRecorder(profile, settings, limits)
    recorder.take("/target_joint", stamp_ns, CommandSample(...))       every message
    recorder.advance()                                                 every few milliseconds
    recorder.start("pick the cube", None, now_ns)
    answer = recorder.stop(keep=True, end_ns=None, now_ns=now_ns)      a Future: the episode is on disk when it is done
    recorder.statuses(now_ns)                                          for /diagnostics
    recorder.close(timeout_s)

What goes into an episode follows from the messages and their stamps alone: the same messages give the same files,
whatever their delays. Nothing here waits for the disk. An episode that cannot go on (a camera is lost, the disk is full
or too slow) ends there, and says why; what it has until then can be kept or discarded.
"""

from __future__ import annotations

import shutil
from concurrent.futures import Future
from dataclasses import dataclass, replace

from f1_ros.data.live.frames import EpisodeFrames
from f1_ros.data.live.inputs import PATIENCE_NS, RobotInputs
from f1_ros.data.live.messages import Message
from f1_ros.data.live.settings import RecorderSettings
from f1_ros.data.live.writing import COLUMNS, EpisodeWriter, Saved
from f1_ros.data.recording import Description
from f1_ros.data.writer import DatasetWriter, refuse_folder
from f1_ros.errors import ConfigError, DataError, F1Error
from f1_ros.observe.health import SECOND_NS, HealthLimits, Level, Status
from f1_ros.robots.profile import RobotProfile

LEAST_FREE = 500 << 20
"""No episode is begun with less room on the disk, bytes."""
LITTLE_FREE = 2 << 30
"""With less room than this, bytes, there is a warning."""


@dataclass
class _Episode:
    """The episode under way. It is being ended once it has an `answer`, and cannot go on once it has a `trouble`."""

    frames: EpisodeFrames
    task: str
    end_ns: int | None = None
    answer: Future[Saved] | None = None
    saving: Future[Saved] | None = None
    trouble: F1Error | None = None

    @property
    def takes_frames(self) -> bool:
        return self.trouble is None and self.saving is None


class LiveRecorder:
    """Records one robot into one dataset. Not thread-safe: one caller, or a lock around it.

    Args:
        profile: the robot.
        settings: what is recorded.
        limits: when a stream counts as ill.

    Attributes:
        inputs: the robot's streams.

    Raises:
        ConfigError: if the robot lacks a camera or a joint, or the folder holds something else.
    """

    def __init__(self, profile: RobotProfile, settings: RecorderSettings, limits: HealthLimits) -> None:
        refuse_folder(settings.root)
        self._settings = settings
        self._robot = profile.embodiment
        self._step_ns = SECOND_NS // settings.fps
        self.inputs = RobotInputs(
            profile, settings.cameras, settings.state_names, settings.action_names, self._step_ns, limits
        )
        self._instruction = ""
        self._writer: EpisodeWriter | None = None
        self._episode: _Episode | None = None
        self._unsaved = ""  # why the last episode is not in the dataset

    @property
    def episodes(self) -> int:
        """Finished episodes of the dataset, as far as it has been opened."""
        return self._writer.episodes if self._writer is not None else 0

    @property
    def frames(self) -> int:
        """Frames of the episode under way."""
        return self._episode.frames.made if self._episode is not None else 0

    # -- what comes in ------------------------------------------------------------------------------------------------

    def take(self, stream: str, stamp_ns: int, message: Message) -> None:
        """Take a message.

        Args:
            stream: a camera's name, the topic of joints or commands, or `inputs.STATUS`.
            stamp_ns: its header stamp, ns.
            message: its content.

        Raises:
            KeyError: if there is no such stream.
        """
        self.inputs.take(stream, stamp_ns, message)

    def note_instruction(self, text: str) -> None:
        """Note what the policy follows: what an episode is about if no one says otherwise."""
        self._instruction = text

    def advance(self) -> None:
        """Work off what has come."""
        episode, writer = self._episode, self._writer
        try:
            self._work_off(episode)
        except F1Error as error:
            self._cut_short(error)
        if episode is None or writer is None:
            return
        self._cut_short(writer.failure or self.inputs.lost())
        if episode.answer is not None and episode.saving is None and self._all_in(episode):
            self._save(episode, writer)
        if episode.saving is not None and episode.saving.done():
            self._answer(episode, episode.saving)

    def give_up(self, why: str) -> None:
        """End the episode under way: nothing has come for so long that nothing will."""
        self._cut_short(DataError(why, remedy="Check the robot's drivers and the simulation."))

    # -- what people ask for ------------------------------------------------------------------------------------------

    def start(self, instruction: str, begin_ns: int | None, now_ns: int) -> str:
        """Begin an episode.

        Args:
            instruction: what the robot is going to do; empty: what the policy follows, or the settings' own.
            begin_ns: no frame before this instant, ns; None: now.
            now_ns: now on the ROS clock, ns.

        Returns:
            What was begun, in words.

        Raises:
            F1Error: if it cannot be: why, and what to do about it.
        """
        if self._episode is not None:
            raise self._busy(self._episode)
        task = (instruction or self._instruction or self._settings.instruction).strip()
        if not task or not task.isprintable():
            raise DataError(
                "There is no instruction." if not task else "The instruction has line breaks or control characters.",
                remedy="Say in one line of plain words what the robot is going to do.",
            )
        obstacle = self._obstacle()
        if obstacle is not None:
            raise obstacle
        begin_ns = self._beginning(begin_ns, now_ns)
        if self._writer is None:
            self._writer = self._open()
        self.inputs.begin()
        self.inputs.actions.missing = 0
        frames = EpisodeFrames(
            self.inputs.matched,
            self.inputs.actions,
            self._settings.state_names,
            self.inputs.numbers,
            self._step_ns,
            self._settings.max_repeated,
            begin_ns,
        )
        self._episode, self._unsaved = _Episode(frames, task), ""
        return f"Episode {self.episodes} begins: {task}."

    def stop(self, *, keep: bool, end_ns: int | None, now_ns: int) -> Future[Saved]:
        """End the episode.

        Args:
            keep: add it to the dataset; if not, throw it away.
            end_ns: no frame after this instant, ns; None: now.
            now_ns: now on the ROS clock, ns.

        Returns:
            What was saved, once it is on disk. It may be an F1Error instead; the episode is thrown away then.

        Raises:
            F1Error: if there is no episode to end, or it already has frames after `end_ns`.
        """
        episode, writer = self._episode, self._writer
        if episode is None or writer is None:
            raise DataError("No episode is being recorded.", remedy="Start one first.")
        if episode.answer is not None:
            raise self._busy(episode)
        last_ns = episode.frames.last_ns
        if keep and end_ns is not None and last_ns is not None and end_ns < last_ns:
            raise DataError(
                f"The episode was to end at {end_ns / SECOND_NS:.3f} s, but has frames up to "
                f"{last_ns / SECOND_NS:.3f} s already.",
                remedy="Ask for it before the robot's clock gets there, or give no stamp.",
            )
        episode.answer = Future()
        episode.end_ns = now_ns if end_ns is None else end_ns
        if not keep:
            writer.discard()
            self._end()
            episode.answer.set_result(Saved(writer.episodes, episode.frames.made, {}, 0))
        return episode.answer

    def settle(self) -> None:
        """Save the episode that is being ended as it is: what is still missing does not come."""
        episode, writer = self._episode, self._writer
        if episode is not None and writer is not None and episode.answer is not None and episode.saving is None:
            self._save(episode, writer)

    def close(self, timeout_s: float) -> F1Error | None:
        """Throw an unfinished episode away and finish the dataset.

        Args:
            timeout_s: how long that may take, s.

        Returns:
            What went wrong, if anything; finished episodes are kept all the same.
        """
        writer, self._writer = self._writer, None
        episode = self._episode
        self._end()
        if episode is not None and episode.answer is not None:
            episode.answer.set_exception(
                DataError("The recorder ends: the episode is thrown away.", remedy="Record it again.")
            )
        if writer is None:
            return None
        if writer.close(timeout_s):
            return writer.failure
        return DataError(
            f"{self._settings.root}: its statistics were not finished in time.",
            remedy=f"Compute them with `f1-ros data stats {self._settings.root} --write`.",
        )

    # -- what there is to report --------------------------------------------------------------------------------------

    def statuses(self, now_ns: int) -> tuple[Status, ...]:
        """State of every camera, of every source of joint states, and of the recording."""
        return (*self.inputs.statuses(now_ns), self._status())

    def _status(self) -> Status:
        episode, free = self._episode, self._free()
        lost = episode.frames.lost if episode is not None else 0
        values: dict[str, float | int | str] = {
            "dataset": str(self._settings.root),
            "episodes": self.episodes,
            "frames": self.frames,
            "frames missing": lost,
            "commands missing": self.inputs.actions.missing if episode is not None else 0,
            "waiting to be written": self._writer.waiting if self._writer is not None else 0,
            "free disk GB": round(free / 1e9, 1),
        }
        obstacle = self._obstacle() if episode is None else None
        if obstacle is not None:
            return Status("recording", Level.WARN, f"idle, not ready: {obstacle}", values)
        if episode is not None and episode.trouble is not None:
            return Status("recording", Level.ERROR, f"the episode ended early: {episode.trouble}", values)
        if episode is None and self._unsaved:
            return Status("recording", Level.ERROR, f"the last episode is lost: {self._unsaved}", values)
        said = "idle" if episode is None else "recording" if episode.answer is None else "writing the episode"
        if free < LITTLE_FREE:
            return Status("recording", Level.WARN, f"{said}; the disk is nearly full: make room", values)
        if lost:
            return Status("recording", Level.WARN, f"{said}; frames are missing, the ones before stand in", values)
        return Status("recording", Level.OK, said, values)

    def _obstacle(self) -> F1Error | None:
        """What stands against beginning an episode."""
        free = self._free()
        if free < LEAST_FREE:
            return DataError(
                f"The disk of {self._settings.root} has only {free >> 20} MB left.", remedy="Make room on it."
            )
        return self.inputs.lost()

    def _busy(self, episode: _Episode) -> F1Error:
        if episode.answer is not None:
            return DataError("The last episode is still being written.", remedy="Ask again in a moment.")
        if episode.trouble is not None:
            return DataError(
                f"The last episode ended early and is undecided: {episode.trouble.problem}",
                remedy=f"Keep its {episode.frames.made} frames, or discard it.",
            )
        return DataError("An episode is being recorded.", remedy="Keep or discard it first.")

    def _free(self) -> int:
        folder = self._settings.root.absolute()
        while not folder.exists():
            folder = folder.parent
        return shutil.disk_usage(folder).free

    # -- the episode --------------------------------------------------------------------------------------------------

    def _beginning(self, begin_ns: int | None, now_ns: int) -> int:
        newest_ns = self.inputs.newest_ns
        if begin_ns is None:
            if now_ns - newest_ns > PATIENCE_NS:
                raise DataError(
                    f"The newest message is {(now_ns - newest_ns) / SECOND_NS:.1f} s old by its stamp.",
                    remedy="Check that the robot's drivers run and stamp on the ROS clock (use_sim_time).",
                )
            return max(now_ns, newest_ns + 1)
        if begin_ns <= newest_ns:
            raise DataError(
                f"An episode from {begin_ns / SECOND_NS:.3f} s on was asked for, but messages of "
                f"{newest_ns / SECOND_NS:.3f} s have come already.",
                remedy="Ask for it before the robot's clock gets there, or give no stamp.",
            )
        return begin_ns

    def _open(self) -> EpisodeWriter:
        settings = self._settings
        about = Description(
            settings.fps,
            self._robot,
            settings.state_names,
            settings.action_names,
            dict(self.inputs.sizes()),
            settings.pictures,
            COLUMNS,
        )
        try:
            dataset = DatasetWriter(settings.root, about)
        except OSError as error:
            raise ConfigError(
                f"{settings.root} cannot be made ({error}).", remedy="Record into a folder that can be written."
            ) from error
        return EpisodeWriter(dataset, self.inputs.matched.views, settings.queue_frames)

    def _work_off(self, episode: _Episode | None) -> None:
        begin_ns = episode.frames.begin_ns if episode is not None else 0
        for stream, stamp_ns, ready in self.inputs.release(begin_ns):
            if episode is None or not episode.takes_frames:
                continue
            if ready is not None:
                episode.frames.add_pictures(ready, self.inputs.matched.skipped)
            if stream not in self.inputs.cameras:
                episode.frames.come_to(stream, stamp_ns)
            self._hand_over(episode)

    def _hand_over(self, episode: _Episode) -> None:
        writer = self._writer
        assert writer is not None
        for frame in episode.frames.until(episode.end_ns):
            if not writer.offer(frame, episode.task):
                episode.frames.made -= 1
                raise DataError(
                    f"{self._settings.queue_frames} frames wait to be written: the disk or the CPU is too slow.",
                    remedy="Record smaller pictures, onto a faster disk, or free the CPU.",
                )

    def _cut_short(self, error: F1Error | None) -> None:
        """Note that the episode, if there is one, cannot go on: no frame is added any more, whatever comes."""
        episode = self._episode
        if error is not None and episode is not None and episode.takes_frames:
            episode.trouble = error
            self.inputs.end()

    def _all_in(self, episode: _Episode) -> bool:
        """Whether nothing more can come that belongs into the episode."""
        complete_ns, end_ns = self.inputs.complete_ns, episode.end_ns
        if episode.trouble is not None or end_ns is None:
            return True
        come = complete_ns is not None and complete_ns >= end_ns + self._step_ns
        return come and not episode.frames.waits_before(end_ns)

    def _save(self, episode: _Episode, writer: EpisodeWriter) -> None:
        if episode.frames.made:
            episode.saving = writer.save()
            return
        why = episode.trouble or DataError("No frame has come.", remedy="Record for longer than a frame takes.")
        writer.discard()
        self._end()
        assert episode.answer is not None
        episode.answer.set_exception(why)

    def _answer(self, episode: _Episode, saving: Future[Saved]) -> None:
        self._end()
        assert episode.answer is not None
        error = saving.exception()
        if error is not None:
            self._unsaved = str(error)
            episode.answer.set_exception(error)
        else:
            early = "" if episode.trouble is None else str(episode.trouble)
            missing = self.inputs.actions.missing
            episode.answer.set_result(replace(saving.result(), commands_missing=missing, ended_early=early))

    def _end(self) -> None:
        self._episode = None
        self.inputs.end()
