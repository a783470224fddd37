"""What a person asks for with a gamepad, a SpaceMouse or a keyboard."""

import math
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from f1_ros.control.arbiter import Mode
from f1_ros.errors import ConfigError
from f1_ros.teleop.inputs import BUTTONS, ButtonMap, GripperPress, TeleopInput, limited
from f1_ros.teleop.joystick import GAMEPAD_AXES, GAMEPAD_BUTTONS, SPACEMOUSE_BUTTONS, Gamepad, SpaceMouse, parse_axes
from f1_ros.teleop.keyboard import Keyboard, Terminal

LB, A, B, X, START = 4, 0, 1, 2, 7


def gamepad() -> Gamepad:
    return Gamepad(parse_axes(GAMEPAD_AXES), ButtonMap.parse(GAMEPAD_BUTTONS), deadzone=0.1, timeout_s=0.5)


def pad(*pressed: int, axes=(0.0,) * 8) -> tuple[list[float], list[int]]:
    return list(axes), [int(i in pressed) for i in range(11)]


def spacemouse() -> SpaceMouse:
    return SpaceMouse(ButtonMap.parse(SPACEMOUSE_BUTTONS), deadzone=0.1, timeout_s=0.5)


def test_a_gamepad_moves_the_tool_only_while_its_deadman_is_held() -> None:
    device, forward = gamepad(), (0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0)
    device.on_joy(*pad(axes=forward), 0.0)
    assert (device.read(0.0).twist.tolist(), device.read(0.0).held) == ([0.0] * 6, False)
    device.on_joy(*pad(LB, axes=forward), 0.1)
    assert (device.read(0.1).twist.tolist(), device.read(0.1).held) == ([1.0, 0, 0, 0, 0, 0], True)


def test_a_device_that_falls_silent_has_been_let_go_of() -> None:
    device = gamepad()
    device.on_joy(*pad(LB, axes=(1.0,) * 8), 0.0)
    assert device.read(0.5).held
    silent = device.read(0.51)
    assert (silent.held, silent.twist.tolist()) == (False, [0.0] * 6)
    mouse = spacemouse()
    mouse.on_joy([], [1, 0], 0.0)
    mouse.on_twist([1.0, 0.0, 0.0], [0.0, 0.0, 0.0], 0.0)
    mouse.on_joy([], [1, 0], 0.4)
    assert (mouse.read(0.6).held, mouse.read(0.6).twist.tolist()) == (True, [0.0] * 6)
    assert mouse.read(1.0).held is False


def test_a_press_counts_once_and_only_when_the_button_goes_down() -> None:
    device = gamepad()
    device.on_joy(*pad(A, START), 0.0)
    first = device.read(0.0)
    assert (first.gripper, first.asks) == (GripperPress.CLOSE, Mode.TELEOP)
    device.on_joy(*pad(A, START), 0.1)
    assert (device.read(0.1).gripper, device.read(0.1).asks) == (None, None)
    device.on_joy(*pad(), 0.2)
    device.on_joy(*pad(B, X), 0.3)
    again = device.read(0.3)
    assert (again.gripper, again.asks) == (GripperPress.OPEN, Mode.CORRECTION)


def test_a_spacemouse_gives_its_twist_and_toggles_the_gripper() -> None:
    device = spacemouse()
    device.on_twist([0.55, 0.0, -1.0], [0.05, 0.0, 2.0], 0.0)
    device.on_joy([], [1, 1], 0.0)
    read = device.read(0.0)
    np.testing.assert_allclose(read.twist, [0.5, 0.0, -1.0, 0.0, 0.0, 1.0])
    assert (read.held, read.gripper) == (True, GripperPress.TOGGLE)


@given(
    axes=st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=10),
    buttons=st.lists(st.integers(-(2**31), 2**31 - 1), max_size=12),
    twist=st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=6, max_size=6),
)
def test_whatever_a_driver_sends_the_twist_is_finite_and_within_one(axes, buttons, twist) -> None:
    device, mouse = gamepad(), spacemouse()
    device.on_joy(axes, buttons, 0.0)
    mouse.on_joy(axes, buttons, 0.0)
    mouse.on_twist(twist[:3], twist[3:], 0.0)
    for read in (device.read(0.0), mouse.read(0.0)):
        assert np.isfinite(read.twist).all()
        assert np.abs(read.twist).max() <= 1.0
        assert read.held or not read.twist.any()


@given(st.floats(-1.0, 1.0), st.floats(0.0, 0.9))
def test_a_deflection_begins_at_zero_at_the_edge_of_the_dead_zone(value, deadzone) -> None:
    (scaled,) = limited([value], deadzone)
    assert abs(scaled) <= abs(value) + 1e-12
    assert scaled * value >= 0.0
    assert (scaled == 0.0) == (abs(value) <= deadzone)


@pytest.mark.parametrize("text", ["close=0", "deadman=4 jump=1", "deadman=-1", "deadman", "deadman=1 deadman=2", "x"])
def test_buttons_that_make_no_sense_are_refused_with_a_remedy(text) -> None:
    with pytest.raises(ConfigError) as caught:
        ButtonMap.parse(text)
    assert caught.value.remedy


@pytest.mark.parametrize("text", ["1 2 3", "+1 +0 +4 +6 +7", "+a 0 0 0 0 0", "1 +0 +4 +6 +7 +3", "+ 0 0 0 0 0"])
def test_axes_that_make_no_sense_are_refused_with_a_remedy(text) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_axes(text)
    assert caught.value.remedy


def test_what_a_button_can_do_has_one_name_each() -> None:
    assert ButtonMap({name: i for i, name in enumerate(BUTTONS)}).numbers["fault"] == BUTTONS.index("fault")


# -- keyboard ---------------------------------------------------------------------------------------------------------


def keyboard(keys: str, at_s: float = 0.0) -> Keyboard:
    device = Keyboard()
    for key in keys:
        device.on_key(key, at_s)
    return device


def test_a_key_moves_for_a_moment_and_on_while_the_terminal_repeats_it() -> None:
    device = keyboard("w")
    assert device.read(0.1).twist.tolist() == [1.0, 0, 0, 0, 0, 0]
    device.on_key("w", 0.12)
    assert device.read(0.2).twist.tolist() == [1.0, 0, 0, 0, 0, 0]
    assert device.read(0.3).twist.tolist() == [0.0] * 6
    assert device.read(0.3).held is None


def test_keys_ask_for_modes_and_the_gripper_and_any_other_key_stops_the_motion() -> None:
    read = keyboard("wsg").read(0.0)
    assert (read.twist.tolist(), read.gripper, read.asks) == ([0.0] * 6, GripperPress.TOGGLE, None)
    for key, mode in zip("tpc x", (Mode.TELEOP, Mode.POLICY, Mode.CORRECTION, Mode.HOLD, Mode.FAULT), strict=True):
        device = keyboard("w" + key)
        assert device.read(0.0).asks is mode
        assert device.read(0.0).asks is None
    assert keyboard("wq").read(0.0).twist.tolist() == [0.0] * 6


@given(st.text())
def test_any_key_may_be_pressed(keys) -> None:
    assert isinstance(keyboard(keys).read(0.0), TeleopInput)


def test_a_terminal_gives_keys_at_once_and_is_left_as_it_was() -> None:
    import termios

    ours, theirs = os.openpty()
    try:
        before = termios.tcgetattr(theirs)
        with Terminal(os.ttyname(theirs)) as terminal:
            assert terminal.pressed() == ""
            os.write(ours, b"ww")
            assert terminal.pressed() == "ww"
            assert termios.tcgetattr(theirs)[3] & termios.ISIG  # Ctrl-C still ends the system
        assert termios.tcgetattr(theirs) == before
    finally:
        os.close(ours)
        os.close(theirs)


def test_what_is_no_terminal_is_refused(tmp_path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "missing"):
        with pytest.raises(ConfigError, match="cannot be used as a terminal"), Terminal(str(path)):
            pass


def test_deflections_that_are_no_numbers_are_none() -> None:
    assert limited([math.nan, math.inf, -math.inf], 0.0).tolist() == [0.0, 0.0, 0.0]
