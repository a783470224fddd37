"""Widths and heights that go out each tick: from where they are found, no faster than they may."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from f1_ros.control.streamed import StreamedValues
from f1_ros.robots.transport import Stream

STREAMS = (Stream("left", 0.1), Stream("lift", 0.02, target=0.3))


def test_nothing_is_known_before_it_has_been_measured() -> None:
    values = StreamedValues(STREAMS, 0.01)
    assert values.missing == ("left", "lift")
    values.measured("left", float("nan"))
    values.measured("other", 0.1)
    assert values.missing == ("left", "lift")
    values.measured("left", 0.04)
    values.measured("lift", 0.1)
    assert values.missing == ()


def test_a_value_stays_where_it_is_found_until_it_is_commanded_or_has_a_target() -> None:
    values = StreamedValues(STREAMS, 0.01)
    values.measured("left", 0.04)
    values.measured("lift", 0.1)
    values.measured("left", 0.07)  # noise of the measurement is not followed while it is sent
    assert values.step({"left": None}) == {"left": 0.04, "lift": pytest.approx(0.1002)}
    assert values.step({})["left"] == 0.04
    assert values.step({"left": 0.08})["left"] == pytest.approx(0.041)
    values.measured("left", 0.02, follow=True)  # nothing goes out: the next command begins there
    assert values.step({"left": 0.08})["left"] == pytest.approx(0.021)


@given(
    start=st.floats(0.0, 0.1),
    targets=st.lists(st.none() | st.floats(-1.0, 1.0), min_size=1, max_size=30),
    speed=st.floats(0.01, 1.0),
)
def test_no_step_is_larger_than_the_speed_allows_and_a_target_is_reached(start, targets, speed) -> None:
    values = StreamedValues((Stream("left", speed),), 0.01)
    values.measured("left", start)
    before = start
    for target in targets:
        after = values.step({"left": target})["left"]
        assert abs(after - before) <= speed * 0.01 + 1e-12
        before = after
    for _ in range(round(2.0 / (speed * 0.01)) + 1):
        after = values.step({"left": 0.05})["left"]
    assert after == pytest.approx(0.05)
