import math

import numpy as np


def quat2axisangle(quat):
    length = math.sqrt(1.0 - quat[3] ** 2)
    return np.zeros(3) if length == 0 else quat[:3] * 2.0 * math.acos(quat[3]) / length
