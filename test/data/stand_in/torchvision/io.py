"""torchvision's video reader over PyAV."""

from collections.abc import Iterator
from typing import Any

import av
import torch


class VideoReader:
    def __init__(self, path: str, stream: str) -> None:
        self.container = av.open(path)

    def seek(self, time_s: float, keyframes_only: bool) -> None:
        self.container.seek(int(time_s * av.time_base), backward=True)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for frame in self.container.decode(video=0):
            data = torch.from_numpy(frame.to_ndarray(format="rgb24")).permute(2, 0, 1)
            yield {"pts": frame.time, "data": data}
