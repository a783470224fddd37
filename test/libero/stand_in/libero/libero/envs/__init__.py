import os
from types import SimpleNamespace

import numpy as np


class OffScreenRenderEnv:
    def __init__(self, bddl_file_name, camera_names, camera_heights, camera_widths):
        if bddl_file_name.endswith("lift_9.bddl"):
            raise RuntimeError("no EGL here")
        if bddl_file_name.endswith("lift_8.bddl"):
            print("Segmentation fault, sort of")
            os._exit(11)
        self.cameras = camera_names
        self.shape = (camera_heights, camera_widths, 3)
        self.env = SimpleNamespace(control_freq=20)
        self.noise = None

    def seed(self, seed):
        self.noise = np.random.default_rng(seed)

    def reset(self):
        self.tool = self.steps = None

    def set_init_state(self, state):
        self.tool, self.start, self.steps, self.closed = state.copy(), state[2], 0, False

    def step(self, action):
        action = np.asarray(action, float)
        assert action.shape == (7,)
        assert np.abs(action).max() <= 1.0
        self.tool += 0.05 * action[:3]
        self.closed = action[6] > 0
        self.steps += 1
        done = self.tool[2] - self.start > 0.12 and self.closed
        seen = {f"{name}_image": self._picture(i) for i, name in enumerate(self.cameras)}
        width = 0.0 if self.closed else 0.04
        return {
            **seen,
            "robot0_eef_pos": self.tool.copy(),
            "robot0_eef_quat": np.array([0.0, 0.0, np.sin(0.25), np.cos(0.25)]),  # half a radian about z
            "robot0_gripper_qpos": np.array([width, -width]),
        }, 0.0, done, {}  # fmt: skip

    def _picture(self, camera):
        """Dark, with the number of steps in the first pixel of the first row, as MuJoCo has it: bottom left."""
        picture = np.full(self.shape, 10 * camera, np.uint8)
        picture[0, 0] = self.steps
        return picture

    def close(self):
        pass
