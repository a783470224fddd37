"""Deaths are said by name, a stop leaves nothing behind, and nothing outlives a killed supervisor."""

from __future__ import annotations

import dataclasses
import io
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from f1_ros.errors import BringUpError
from f1_ros.processes import BringUp, OnExit, ProcessSpec
from f1_ros.supervisor import Supervisor

# What the fake processes do, by executable name.
PROGRAMS = {
    "sleeper": "import time; print('up', flush=True); time.sleep(60)",
    "stubborn": """
        import signal, time
        signal.signal(signal.SIGINT, signal.SIG_IGN); signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print('up', flush=True); time.sleep(60)""",
    "parent": """
        import subprocess, sys, time
        child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])
        print(f'child {child.pid}', flush=True)
        time.sleep(60)""",
    "doomed": """
        import signal, sys, time
        signal.signal(signal.SIGUSR1, lambda *_: sys.exit(3))
        print('up', flush=True); time.sleep(60)""",
    "failing": "print('about to fail', flush=True); raise SystemExit(3)",
    "printer": """
        import sys, time
        for i in range(200000): print('x' * 50)
        print('done', flush=True); time.sleep(60)""",
    "arguments": "import sys, time; print(sys.argv[1:], flush=True); time.sleep(60)",
}


def command(executable: str) -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(PROGRAMS[executable])]


def spec(executable: str, on_exit: OnExit = OnExit.KEEP_OTHERS, **more: object) -> ProcessSpec:
    return ProcessSpec(executable, executable, on_exit, "test", **more)  # type: ignore[arg-type]


def supervisor(tmp_path: Path, *specs: ProcessSpec, console: io.StringIO | None = None) -> Supervisor:
    return Supervisor(BringUp("test", specs), log_dir=tmp_path / "log", console=console, command=command)


def wait(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def wrote(tmp_path: Path, name: str, text: str) -> Callable[[], bool]:
    return lambda: text in (tmp_path / "log" / f"{name}.log").read_text()


def test_a_death_is_said_by_name_and_code_and_the_others_go_on(tmp_path: Path) -> None:
    console = io.StringIO()
    with supervisor(tmp_path, spec("sleeper"), spec("failing"), console=console) as system:
        deaths = system.poll(20.0)
        assert [(death.process.name, death.exit_code) for death in deaths] == [("failing", 3)]
        assert system.running
        assert list(system.pids) == ["sleeper"]
    said = console.getvalue()
    assert "failing (test) died: exit code 3. The others go on" in said
    assert "failing | about to fail" in said


def test_the_death_of_a_process_that_others_need_ends_the_system(tmp_path: Path) -> None:
    with supervisor(tmp_path, spec("sleeper"), spec("doomed", OnExit.END_SYSTEM)) as system:
        # An interpreter that is still starting may swallow the interrupt: both are up before one dies.
        assert wait(wrote(tmp_path, "sleeper", "up"))
        assert wait(wrote(tmp_path, "doomed", "up"))
        os.kill(system.pids["doomed"], signal.SIGUSR1)
        assert system.run() == 1
        assert system.exit_codes == {"sleeper": -signal.SIGINT, "doomed": 3}


def test_a_killed_process_is_said_with_its_signal(tmp_path: Path) -> None:
    with supervisor(tmp_path, spec("sleeper")) as system:
        os.kill(system.pids["sleeper"], signal.SIGKILL)
        (death,) = system.poll(20.0)
    assert death.how == "killed by SIGKILL"


def test_stop_kills_what_ignores_its_signals(tmp_path: Path) -> None:
    with supervisor(tmp_path, spec("stubborn")) as system:
        assert wait(wrote(tmp_path, "stubborn", "up"))
        system.stop()
        system.stop()
        assert system.exit_codes == {"stubborn": -signal.SIGKILL}
        assert not system.running


@pytest.mark.parametrize("end", ["stop", "death"])
def test_children_of_a_node_end_with_it(tmp_path: Path, end: str) -> None:
    with supervisor(tmp_path, spec("parent")) as system:
        log = tmp_path / "log" / "parent.log"
        assert wait(lambda: log.read_text().endswith("\n"))
        grandchild = int(log.read_text().split()[1])
        assert alive(grandchild)
        if end == "death":
            os.kill(system.pids["parent"], signal.SIGKILL)
            assert system.poll(20.0)
            assert wait(lambda: not alive(grandchild))
    assert wait(lambda: not alive(grandchild))


def test_no_child_outlives_a_killed_supervisor(tmp_path: Path) -> None:
    program = textwrap.dedent(f"""
        import sys, time
        from pathlib import Path
        from f1_ros.processes import BringUp, OnExit, ProcessSpec
        from f1_ros.supervisor import Supervisor
        system = Supervisor(
            BringUp("test", (ProcessSpec("sleeper", "sleeper", OnExit.KEEP_OTHERS, "test"),)),
            log_dir=Path({str(tmp_path / "log")!r}),
            command=lambda executable: [sys.executable, "-c", {PROGRAMS["sleeper"]!r}],
        )
        system.start()
        print(system.pids["sleeper"], flush=True)
        time.sleep(60)
    """)
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as outer:
        assert outer.stdout is not None
        child = int(outer.stdout.readline())
        assert alive(child)
        outer.kill()
    assert wait(lambda: not alive(child))


def test_a_process_never_waits_for_the_console(tmp_path: Path) -> None:
    # 10 MB of output, and nobody polls: far more than a pipe would hold.
    with supervisor(tmp_path, spec("printer")):
        assert wait(lambda: wrote(tmp_path, "printer", "done\n")())


def test_parameters_and_remappings_reach_the_process(tmp_path: Path) -> None:
    process = spec("arguments", parameters={"rate": 50.0, "instruction": "yes"}, remappings=(("in", "/out"),))
    with supervisor(tmp_path, process):
        assert wait(wrote(tmp_path, "arguments", "]\n"))
    given = (tmp_path / "log" / "arguments.log").read_text()
    parameters = tmp_path / "log" / "arguments.yaml"
    assert given.splitlines()[0] == str(["--ros-args", "--params-file", str(parameters), "-r", "in:=/out"])
    assert parameters.read_text() == "/**:\n  ros__parameters:\n    instruction: 'yes'\n    rate: 50.0\n"


def test_a_log_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("a file")
    with pytest.raises(BringUpError, match="log"), supervisor(tmp_path, spec("sleeper")):
        pass


def test_a_killed_process_is_started_again_while_the_others_run_on(tmp_path: Path) -> None:
    console = io.StringIO()
    again = spec("sleeper", OnExit.END_SYSTEM, restarts=1, parameters={"mode": "policy"})
    again = dataclasses.replace(again, restart_parameters={"mode": "hold"})
    with supervisor(tmp_path, again, spec("arguments"), console=console) as system:
        assert wait(wrote(tmp_path, "sleeper", "up"))
        first, other = system.pids["sleeper"], system.pids["arguments"]
        os.kill(first, signal.SIGKILL)
        (death,) = system.poll(20.0)
        assert "It is started again in 1 s (at most 1 more times)" in death.notice
        assert system.running
        assert wait(lambda: not system.poll(0.05) and "sleeper" in system.pids)
        assert system.pids["sleeper"] != first
        assert system.pids["arguments"] == other
        assert (tmp_path / "log" / "sleeper.yaml").read_text() == "/**:\n  ros__parameters:\n    mode: hold\n"
        assert wait(lambda: (tmp_path / "log" / "sleeper.log").read_text() == "up\nup\n")  # what it said before stays
        assert not system.poll(0.1)
        os.kill(system.pids["sleeper"], signal.SIGKILL)
        (death,) = system.poll(20.0)
        assert death.notice.endswith("The whole system ends.")
        assert not system.running
    assert console.getvalue().count("sleeper | up") == 2


@pytest.mark.parametrize("code", [0, 2])
def test_a_process_that_was_asked_to_end_or_cannot_be_configured_is_not_started_again(
    tmp_path: Path, code: int
) -> None:
    again = spec("failing", restarts=3)
    assert again.restarted(code) is None
    assert "The others go on" in again.death_notice(code)
    left = again.restarted(1)
    assert left is not None
    assert left.restarts == 2


def test_a_process_that_waits_for_its_new_start_is_not_started_by_a_stop(tmp_path: Path) -> None:
    with supervisor(tmp_path, spec("failing", restarts=3)) as system:
        assert system.poll(20.0)
        assert system.running
        system.stop()
        system.poll(1.5)
        assert (tmp_path / "log" / "failing.log").read_text() == "about to fail\n"
