"""A video of what the policy saw, every episode after the other, in real time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from f1_ros.errors import ConfigError
from f1_ros.libero.layout import CONTROL_HZ, PICTURE_SIZE, VIEWS

TITLE_PX = 24
_COLOUR = (235, 235, 235)


class Film:
    """Writes H.264. Use it in a `with` statement: leaving it closes the file.

    Args:
        path: the file to write, its folder included.

    Raises:
        ConfigError: if it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            self._container: Any = av.open(str(path), "w")
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path}: no video can be written ({error}).", remedy="Give a writable .mp4.") from error
        self._stream = self._container.add_stream("libx264", rate=CONTROL_HZ, options={"preset": "veryfast"})
        self._stream.width, self._stream.height = PICTURE_SIZE * len(VIEWS), PICTURE_SIZE + TITLE_PX
        self._stream.pix_fmt = "yuv420p"
        self._path, self._empty = path, True

    def add(self, pictures: Mapping[str, NDArray[np.uint8]], title: str, *, hold: bool = False) -> None:
        """Append a frame.

        Args:
            pictures: (256, 256, 3) uint8 RGB by view.
            title: what to write above them.
            hold: show it for a second.
        """
        self._empty = False
        frame = np.zeros((self._stream.height, self._stream.width, 3), np.uint8)
        frame[TITLE_PX:] = np.concatenate([pictures[view] for view in VIEWS], axis=1)
        cv2.putText(frame, title, (6, TITLE_PX - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.5, _COLOUR, 1, cv2.LINE_AA)
        for _ in range(CONTROL_HZ if hold else 1):
            self._container.mux(self._stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))

    def close(self) -> None:
        """Write what is left and close the file; one without a frame is removed."""
        if not self._empty:
            self._container.mux(self._stream.encode())
        self._container.close()
        if self._empty:
            self._path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
