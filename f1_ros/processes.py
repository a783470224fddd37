"""One process of a running system, and what its death means; a system is some of these (`f1_ros.bringup`)."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from f1_ros.errors import BringUpError
from f1_ros.paths import share_dir

Parameter = bool | int | float | str

RESTARTS = 5
"""How often a process that needs no other to start anew is started again in one run of the system."""
RESTART_DELAY_S = 1.0
"""From a process's death to its new start, s: one that dies at once must not keep the machine busy."""
_AS_ASKED, _CANNOT_BE_CONFIGURED = 0, 2  # exit statuses of `f1_ros.nodes.lifecycle.run` that a new start does not mend
DDS_PROFILES = "FASTRTPS_DEFAULT_PROFILES_FILE"


class OnExit(Enum):
    """What the rest of the system does when a process ends by itself, cleanly or not."""

    END_SYSTEM = "end_system"  # nothing sensible can go on without it
    KEEP_OTHERS = "keep_others"  # the action node notices the silence and takes the robot to its safe action


@dataclass(frozen=True)
class ProcessSpec:
    """One process.

    Attributes:
        name: name of the process in logs; that of its node.
        executable: console script of this package; its module is `f1_ros.nodes.<executable>`.
        on_exit: what its end means for the others.
        role: what it does, in the words that a user reads when it has died.
        parameters: ROS parameters; what is not named keeps the node's default (`docs/interfaces.md`).
        remappings: (from, to) pairs of ROS names.
        restarts: how often it is started again after a bug or a signal has ended it; the others go on meanwhile, and
            `on_exit` holds for the death after the last of them.
        restart_parameters: parameters that differ when it is started again.
    """

    name: str
    executable: str
    on_exit: OnExit
    role: str
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    remappings: tuple[tuple[str, str], ...] = ()
    restarts: int = 0
    restart_parameters: Mapping[str, Parameter] = field(default_factory=dict)

    def restarted(self, exit_code: int) -> ProcessSpec | None:
        """What to start in this one's place after it has ended with `exit_code`, or None.

        Not after exit status 0, since someone has asked it to end, nor after 2: it cannot be configured, and could not
        the next time.
        """
        if self.restarts < 1 or exit_code in (_AS_ASKED, _CANNOT_BE_CONFIGURED):
            return None
        return replace(self, restarts=self.restarts - 1, parameters={**self.parameters, **self.restart_parameters})

    def death_notice(self, exit_code: int) -> str:
        """The line to show when this process has ended by itself; a negative exit code is a signal's number."""
        ends = self.on_exit is OnExit.END_SYSTEM
        holds = "the robot holds by its safe action when commands are missing"
        if self.restarted(exit_code) is not None:
            left = f"at most {self.restarts} more times"
            holds = "the robot's own controller holds the last command" if ends else holds
            after = f"It is started again in {RESTART_DELAY_S:g} s ({left}); until then {holds}."
        else:
            after = "The whole system ends." if ends else f"The others go on; {holds}."
        return f"{self.name} ({self.role}) died: {describe_exit(exit_code)}. {after}"


@dataclass(frozen=True)
class BringUp:
    """A whole system, in the order in which its processes are started.

    Raises:
        BringUpError: if two processes share a name.
    """

    name: str
    processes: tuple[ProcessSpec, ...]

    def __post_init__(self) -> None:
        names = [process.name for process in self.processes]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise BringUpError(
                f"Bring-up '{self.name}' has more than one process called {', '.join(twice)}.",
                remedy="Give every process of the description its own name.",
            )


def environment() -> dict[str, str]:
    """What the processes need in their environment: room in shared memory for pictures, unless the user chose himself.

    Fast DDS's default segment is smaller than one picture of 640x480, most of which are then lost on a busy machine.
    """
    return {DDS_PROFILES: os.environ.get(DDS_PROFILES) or str(share_dir() / "config" / "dds" / "shared_memory.xml")}


def describe_exit(code: int) -> str:
    """Exit code in words; a negative code is a signal's number, as in `subprocess`."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
