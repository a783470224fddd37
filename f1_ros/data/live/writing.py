"""Encoding and writing frames in a thread of their own, behind a bounded queue."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Literal

from f1_ros.control.arbiter import Mode
from f1_ros.data.live.frames import LiveFrame
from f1_ros.data.writer import DatasetWriter
from f1_ros.errors import F1Error
from f1_ros.observe.view import CameraView

COLUMNS: dict[str, Literal["int64", "string"]] = {
    "f1.mode": "int64",
    "f1.source": "string",
    "f1.intervention": "int64",
    "f1.stamp": "int64",
    "f1.repeated": "int64",
}
"""What a recorded frame has beside state, action and pictures; docs/data.md says what each means."""

REST_S = 2.0
"""After an episode and so long without another, the statistics are brought up to date: the end need not wait then."""
_NICENESS = 10  # encoding may take its time; control and inference may not


@dataclass(frozen=True)
class Saved:
    """An episode that was ended.

    Attributes:
        episode: its number.
        frames: its frames.
        sources: how many of them had an action from each source.
        repeated: how many of them have the pictures of the frame before.
        commands_missing: commands that did not come: actions are interpolated there.
        ended_early: why it could not go on; empty if it could.
    """

    episode: int
    frames: int
    sources: Mapping[str, int]
    repeated: int
    commands_missing: int = 0
    ended_early: str = ""


def describe(saved: Saved) -> str:
    """What was saved, in a line for people."""
    sources = ", ".join(f"{count} {source}" for source, count in sorted(saved.sources.items()))
    text = f"Episode {saved.episode} is kept: {saved.frames} frames ({sources})."
    if saved.repeated:
        text += f" {saved.repeated} frames were missing; the pictures before them stand in."
    if saved.commands_missing:
        text += f" {saved.commands_missing} commands were missing; actions are interpolated there."
    if saved.ended_early:
        text += f" It ended early: {saved.ended_early}"
    return text


@dataclass(frozen=True)
class _Save:
    answer: Future[Saved]


@dataclass(frozen=True)
class _Discard:
    pass


@dataclass(frozen=True)
class _Close:
    pass


class EpisodeWriter:
    """Writes episodes. `offer`, `save`, `discard` and `close` are one caller's; none of them waits for the disk.

    Args:
        writer: the dataset; from now on the thread's alone.
        views: what is seen of each camera, by name.
        depth: frames that may wait to be written.
    """

    def __init__(self, writer: DatasetWriter, views: Mapping[str, CameraView], depth: int) -> None:
        self._writer = writer
        self._views = dict(views)
        self._depth = depth
        self._queue: queue.SimpleQueue[tuple[LiveFrame, str] | _Save | _Discard | _Close] = queue.SimpleQueue()
        self._failure: F1Error | None = None
        self._bug: BaseException | None = None
        self._closing = self._stale = False
        self._sources: Counter[str] = Counter()
        self._repeated = 0
        self._thread = threading.Thread(target=self._run, name="dataset writer", daemon=True)
        self._thread.start()

    @property
    def episodes(self) -> int:
        """Finished episodes of the dataset."""
        return self._writer.episodes

    @property
    def waiting(self) -> int:
        """Frames that wait to be written."""
        return self._queue.qsize()

    @property
    def failure(self) -> F1Error | None:
        """Why the episode cannot be written any further; it is thrown away then.

        Raises:
            Exception: whatever ended the thread, which is a bug.
        """
        if self._bug is not None:
            raise self._bug
        return self._failure

    def offer(self, frame: LiveFrame, task: str) -> bool:
        """Hand over a frame; false if too many wait already."""
        if self._queue.qsize() >= self._depth:
            return False
        self._queue.put((frame, task))
        return True

    def save(self) -> Future[Saved]:
        """Finish the episode once all its frames are written; the answer may be an F1Error."""
        answer: Future[Saved] = Future()
        self._queue.put(_Save(answer))
        return answer

    def discard(self) -> None:
        """Throw the episode away."""
        self._queue.put(_Discard())

    def close(self, timeout_s: float) -> bool:
        """Throw an unfinished episode away and finish the dataset; false if that takes longer than `timeout_s`."""
        self._closing = True
        self._queue.put(_Close())
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
        while True:
            item = self._next()
            try:
                if item is None:
                    self._rest()
                elif isinstance(item, _Close):
                    self._writer.close()
                    return
                else:
                    self._do(item)
            except F1Error as error:
                self._fail(error)
                if isinstance(item, _Close):
                    return
            except BaseException as bug:  # noqa: BLE001 - it is raised where `failure` is asked for
                self._bug = bug
                if isinstance(item, _Save):
                    item.answer.set_exception(bug)
                return

    def _next(self) -> tuple[LiveFrame, str] | _Save | _Discard | _Close | None:
        """What is to be done next; None if statistics are to be made and that is nothing for a while."""
        try:
            return self._queue.get(timeout=REST_S if self._stale else None)
        except queue.Empty:
            return None

    def _rest(self) -> None:
        """Bring the statistics up to date, unless something comes; what goes wrong is said at the end."""
        self._stale = False
        with contextlib.suppress(F1Error):
            self._stale = not self._writer.write_statistics(lambda: not self._queue.empty() and not self._closing)

    def _do(self, item: tuple[LiveFrame, str] | _Save | _Discard) -> None:
        if isinstance(item, tuple):
            if self._failure is None:
                self._write(*item)
        elif isinstance(item, _Save):
            self._save(item.answer)
        else:
            self._writer.discard_episode()
            self._begin()

    def _write(self, frame: LiveFrame, task: str) -> None:
        named = zip(frame.pictures.cameras, frame.pictures.frames, strict=True)
        self._writer.add_frame(
            frame.state,
            frame.action,
            {name: self._views[name].picture(stamped.frame) for name, stamped in named},
            task,
            {
                "f1.mode": frame.mode.value,
                "f1.source": frame.source,
                "f1.intervention": int(frame.mode is Mode.CORRECTION),
                "f1.stamp": frame.stamp_ns,
                "f1.repeated": int(frame.repeated),
            },
        )
        self._sources[frame.source] += 1
        self._repeated += frame.repeated

    def _save(self, answer: Future[Saved]) -> None:
        failure = self._failure
        made = Saved(self._writer.episodes, self._writer.frames, dict(self._sources), self._repeated)
        if failure is None:
            try:
                self._writer.save_episode()
                self._stale = True
            except F1Error as error:
                self._writer.discard_episode()
                failure = error
        self._begin()
        if failure is None:
            answer.set_result(made)
        else:
            answer.set_exception(failure)

    def _fail(self, error: F1Error) -> None:
        self._failure = error
        self._writer.discard_episode()

    def _begin(self) -> None:
        self._failure, self._repeated = None, 0
        self._sources.clear()
