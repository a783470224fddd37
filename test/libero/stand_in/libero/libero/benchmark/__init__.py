from collections import namedtuple

import numpy as np

Task = namedtuple("Task", "name language problem_folder bddl_file")


class Spatial:
    n_tasks = 10

    def get_task(self, number):
        return Task(f"lift_{number}", f"lift the bowl {number}", "libero_spatial", f"lift_{number}.bddl")

    def get_task_init_states(self, number):
        # Where the tool stands (m).
        return np.array([[0.1 * number, 0.01 * state, 1.0] for state in range(5)])


def get_benchmark_dict():
    return {"libero_spatial": Spatial}
