"""The protocol: what is sent comes out the same, and anything else is refused with a clear error."""

import contextlib
import json
import socket
import struct
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from f1_ros.errors import SimulationError
from f1_ros.libero import wire
from f1_ros.libero.wire import Connection, Message, decode, encode

NAMES = st.text(max_size=20)
VALUES = st.dictionaries(
    NAMES, st.text() | st.integers() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False), max_size=5
)
SHAPES = arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=6)
ARRAYS = st.dictionaries(
    NAMES,
    arrays.arrays(np.uint8, SHAPES) | arrays.arrays(np.float64, SHAPES, elements=st.floats(width=64)),
    max_size=4,
)
MESSAGES = st.builds(Message, NAMES, VALUES, ARRAYS)


def frame(header: object, body: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("!4sII", b"F1L1", len(text), len(body)) + text + body


def header(**array: object) -> dict[str, object]:
    return {"kind": "x", "values": {}, "arrays": [{"name": "a", "dtype": "uint8", "shape": [3], **array}]}


@given(MESSAGES)
def test_what_is_encoded_is_decoded(message) -> None:
    found = decode(encode(message))
    assert (found.kind, found.values) == (message.kind, message.values)
    assert found.arrays.keys() == message.arrays.keys()
    for name, array in message.arrays.items():
        assert found.arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(found.arrays[name], array)


@given(st.binary(max_size=200))
def test_bytes_that_are_no_message_are_refused(data) -> None:
    with pytest.raises(SimulationError, match="malformed"):
        decode(data)


@given(MESSAGES, st.data())
def test_a_damaged_message_is_refused_or_read_but_never_anything_else(message, data) -> None:
    frame = bytearray(encode(message))
    for _ in range(data.draw(st.integers(1, 4))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(SimulationError):
        assert isinstance(decode(bytes(frame[: data.draw(st.integers(0, len(frame)))])), Message)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(list(wire.DTYPES)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)
ENTRY = st.fixed_dictionaries({"name": JSON, "dtype": JSON, "shape": JSON | st.lists(st.integers(), max_size=5)})
HEADER = st.fixed_dictionaries({"kind": JSON, "values": JSON, "arrays": st.lists(ENTRY, max_size=3) | JSON})


@given(HEADER | JSON, st.binary(max_size=64))
def test_any_header_is_refused_or_gives_arrays_that_fill_the_body(header, body) -> None:
    with contextlib.suppress(SimulationError):
        found = decode(frame(header, body))
        assert sum(array.nbytes for array in found.arrays.values()) == len(body)
        assert all(array.dtype.name in wire.DTYPES for array in found.arrays.values())


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "begins with"),
        (b"HTTP/1.1 200 OK\r\n", "begins with"),
        (struct.pack("!4sII", b"F1L1", 1 << 31, 0), "at most 65536"),
        (struct.pack("!4sII", b"F1L1", 0, 1 << 31), "at most"),
        (frame({"kind": "x", "values": {}, "arrays": []}, b"more"), "its arrays have 0 bytes, its body 4"),
        (frame({"kind": "x", "values": {}, "arrays": []})[:-1], "its prefix says"),
        (frame(b"{'kind'}"), "no JSON"),
        (frame(b"[" * 5000), "no JSON"),
        (frame(b'{"kind": "x", "values": {"a": NaN}, "arrays": []}'), "NaN is no number"),
        (frame(b'{"kind": "x", "values": {"a": 1e999}, "arrays": []}'), "finite"),
        (frame({"kind": "x", "values": {}}), "not of kind, values and arrays"),
        (frame({"kind": 1, "values": {}, "arrays": []}), "kind"),
        (frame({"kind": "x", "values": {"a": [1]}, "arrays": []}), "value 'a'"),
        (frame({"kind": "x", "values": {}, "arrays": [header()["arrays"][0]] * 17}), "at most 16"),
        (frame({"kind": "x", "values": {}, "arrays": [header()["arrays"][0]] * 2}, bytes(6)), "twice"),
        (frame(header(dtype="object"), bytes(3)), "neither uint8 nor float64"),
        (frame(header(shape=[-1]), bytes(3)), "shape"),
        (frame(header(shape=[True, 3]), bytes(3)), "shape"),
        (frame(header(shape=[3, 1, 1, 1, 1]), bytes(3)), "shape"),
        (frame(header(shape=[1 << 40]), bytes(3)), "shape"),
        (frame(header(shape=[1 << 20] * 4), bytes(3)), "bytes, 3 are left"),
        (frame(header(shape=[2]), bytes(3)), "its arrays have 2 bytes, its body 3"),
    ],
)
def test_what_is_wrong_is_named(data, words) -> None:
    with pytest.raises(SimulationError, match=words) as raised:
        decode(data)
    assert raised.value.remedy


def test_what_the_form_does_not_have_is_not_sent() -> None:
    with pytest.raises(SimulationError, match="object"):
        encode(Message("x", arrays={"a": np.array([None])}))
    with pytest.raises(SimulationError, match="at most"):
        encode(Message("x", arrays={"a": np.zeros(wire.MAX_BODY + 1, np.uint8)}))
    with pytest.raises(SimulationError, match="NaN"):
        encode(Message("x", {"a": float("nan")}))


def test_what_a_reader_needs_is_checked_as_it_is_read() -> None:
    message = Message("x", {"a": "1", "b": True}, {"n": np.array([1.0, np.nan]), "p": np.zeros((2, 2, 3), np.uint8)})
    assert message.text("a") == "1"
    assert message.flag("b") is True
    assert message.picture("p", 2).shape == (2, 2, 3)
    for read in (
        lambda: message.text("b"), lambda: message.whole("b"), lambda: message.whole("a"), lambda: message.flag("a"),
        lambda: message.numbers("n", 2), lambda: message.numbers("n", 3), lambda: message.picture("p", 4),
        lambda: message.picture("gone", 4),
    ):  # fmt: skip
        with pytest.raises(SimulationError, match="'x' has no"):
            read()


@pytest.fixture
def pair():
    left, right = socket.socketpair()
    yield left, right
    left.close()
    right.close()


def test_messages_cross_a_socket_in_pieces_and_the_end_is_told(pair) -> None:
    left, right = pair
    message = Message("step", {"n": 3}, {"picture": np.arange(256 * 256 * 3, dtype=np.uint8).reshape(256, 256, 3)})

    def send() -> None:
        data = encode(message) + encode(Message("last"))
        for at in range(0, len(data), 50_001):
            left.sendall(data[at : at + 50_001])
        left.close()

    thread = threading.Thread(target=send)
    thread.start()
    connection = Connection(right)
    first = connection.receive(5.0)
    np.testing.assert_array_equal(first.arrays["picture"], message.arrays["picture"])
    assert connection.receive(5.0) == Message("last")
    assert connection.receive(5.0) is None
    thread.join()


def test_an_end_within_a_message_silence_and_a_lost_reader_are_errors(pair) -> None:
    left, right = pair
    connection = Connection(right)
    with pytest.raises(SimulationError, match=r"did not answer within 0\.05 s"):
        connection.receive(0.05)
    left.sendall(encode(Message("cut"))[:-3])
    left.close()
    with pytest.raises(SimulationError, match="is gone"):
        connection.receive(5.0)
    with pytest.raises(SimulationError, match="is gone"):
        connection.send(Message("x", arrays={"a": np.zeros(1 << 20, np.uint8)}), 5.0)
