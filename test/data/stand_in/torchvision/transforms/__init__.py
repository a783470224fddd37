"""torchvision's pictures to tensors."""

import numpy as np
import torch
from PIL import Image

from . import v2 as v2


class ToTensor:
    def __call__(self, picture: Image.Image) -> torch.Tensor:
        return torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255
