"""The little of torchvision that LeRobot's loader needs: no build of it goes with our torch."""

from . import io as io
from . import transforms as transforms


def set_video_backend(name: str) -> None:
    assert name == "pyav"
