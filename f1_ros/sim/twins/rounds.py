"""A twin's tasks one after the other, as they come live: each is laid out anew a while after the one before is over.

rounds = TaskRounds(world)
world.step(joints, widths)
rounds.tick()                  after each tick of 10 ms
rounds.done, rounds.lost
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from f1_ros.sim.twins.world import TwinWorld

PAUSE_TICKS = 150
"""From a task's end to the next one: time for the arms to go back, for a hand to put things there."""


GIVE_UP_S = 20.0
"""A task that a policy has not done by then counts as lost: a hand would put things back, s."""


class TaskRounds:
    """Counts the tasks of a world and lays them out. Not thread-safe.

    Args:
        world: the world, with its first task laid out.
        give_up_ticks: a task that is not done so long after it was laid out counts as lost; 0: it may take for ever.
        repeat: whether there is a next task.

    Attributes:
        done, lost: tasks that were done, and those that ended otherwise.
        begun: tasks laid out since the first one.
        pause_ticks: from a task's end to the next one.
    """

    def __init__(self, world: TwinWorld, *, give_up_ticks: int = 0, repeat: bool = True) -> None:
        self._world, self._give_up_ticks, self.repeat = world, give_up_ticks, repeat
        self.pause_ticks = PAUSE_TICKS
        self.done = self.lost = self.begun = 0
        self._task_ticks = self._over_ticks = 0

    def follow(self, ticks: int = 1) -> None:
        """Follow the world after so many ticks of it."""
        for _ in range(ticks):
            self._tick()

    def lay_out(self) -> None:
        """Lay the task out anew at once; the robot stays as it is."""
        self._world.next_task()
        self._over_ticks = self._task_ticks = 0
        self.begun += 1

    def _tick(self) -> None:
        world = self._world
        self._task_ticks += 1
        given_up = 0 < self._give_up_ticks <= self._task_ticks
        over = self._over_ticks > 0 or world.done or world.lost or given_up  # whatever is pushed back into reach then
        self._over_ticks = self._over_ticks + 1 if over else 0
        if self._over_ticks == 1:
            self.done, self.lost = self.done + world.done, self.lost + (not world.done)
        if self._over_ticks >= self.pause_ticks and self.repeat:
            self.lay_out()
