"""Messages between the evaluation and the simulator: a JSON header and raw arrays, over a local socket. No pickle.

    prefix    4 bytes "F1L1", length of the header, length of the body; big-endian uint32 each
    header    {"kind": str, "values": {name: str | int | float | bool}, "arrays": [{"name", "dtype", "shape"}, ...]}
    body      the arrays one after the other: C order, little-endian

Sizes are bounded before anything is allocated, and a message that is not exactly of this form is refused.
Runs in LIBERO's environment too: numpy and the standard library only.
"""

from __future__ import annotations

import json
import math
import socket
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from f1_ros.errors import SimulationError

Value = str | int | float | bool
Array = NDArray[Any]

MAGIC = b"F1L1"
MAX_HEADER = 64 * 1024
MAX_BODY = 16 * 1024 * 1024
MAX_ARRAYS = 16
MAX_DIMENSIONS = 4
DTYPES: dict[str, np.dtype[Any]] = {"uint8": np.dtype("|u1"), "float64": np.dtype("<f8")}

_PREFIX = struct.Struct("!4sII")
PREFIX_SIZE = _PREFIX.size


@dataclass(frozen=True)
class Message:
    """One message. Read it with the methods below, which check what they give.

    Attributes:
        kind: what it is.
        values: plain values by name.
        arrays: arrays by name, of the types in `DTYPES`.
    """

    kind: str
    values: Mapping[str, Value] = field(default_factory=dict)
    arrays: Mapping[str, Array] = field(default_factory=dict)

    def text(self, name: str) -> str:
        """Return a string.

        Raises:
            SimulationError: if it is missing or something else.
        """
        value = self.values.get(name)
        return value if isinstance(value, str) else self._lacks(name, "a string")

    def whole(self, name: str) -> int:
        """Return a whole number, 0 or more.

        Raises:
            SimulationError: if it is missing or something else.
        """
        value = self.values.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
        return self._lacks(name, "a whole number from 0")

    def flag(self, name: str) -> bool:
        """Return true or false.

        Raises:
            SimulationError: if it is missing or something else.
        """
        value = self.values.get(name)
        return value if isinstance(value, bool) else self._lacks(name, "true or false")

    def numbers(self, name: str, size: int) -> NDArray[np.float64]:
        """Return `size` finite numbers, float64.

        Raises:
            SimulationError: if they are missing, of another type or size, NaN or infinite.
        """
        array = self.arrays.get(name)
        if array is None or array.dtype != np.float64 or array.shape != (size,) or not np.isfinite(array).all():
            return self._lacks(name, f"{size} finite numbers (float64)")
        return array

    def picture(self, name: str, size: int) -> NDArray[np.uint8]:
        """Return a picture, (size, size, 3) uint8.

        Raises:
            SimulationError: if it is missing or of another type or shape.
        """
        array = self.arrays.get(name)
        if array is None or array.dtype != np.uint8 or array.shape != (size, size, 3):
            return self._lacks(name, f"a picture of {size}x{size} pixels (uint8)")
        return array

    def _lacks(self, name: str, what: str) -> NoReturn:
        _refuse(f"'{self.kind}' has no '{name}' that is {what}")


def encode(message: Message) -> bytes:
    """Make the bytes of a message.

    Raises:
        SimulationError: if it is larger than allowed, or holds what the form does not have.
    """
    arrays, body = [], []
    for name, array in message.arrays.items():
        if array.dtype.name not in DTYPES:
            _refuse(f"'{message.kind}': array '{name}' is {array.dtype}, not {' or '.join(DTYPES)}")
        arrays.append({"name": name, "dtype": array.dtype.name, "shape": list(array.shape)})
        body.append(np.ascontiguousarray(array, DTYPES[array.dtype.name]).tobytes())
    header = json.dumps({"kind": message.kind, "values": dict(message.values), "arrays": arrays}).encode()
    content = b"".join(body)
    frame = _PREFIX.pack(MAGIC, len(header), len(content)) + header + content
    decode(frame)  # what is sent is what the other side takes
    return frame


def decode(frame: bytes) -> Message:
    """Read the bytes of one message.

    Raises:
        SimulationError: if they are not exactly one message.
    """
    header_size, body_size = sizes(frame[:PREFIX_SIZE])
    if len(frame) != PREFIX_SIZE + header_size + body_size:
        _refuse(f"it has {len(frame)} bytes, its prefix says {PREFIX_SIZE + header_size + body_size}")
    header = _header(frame[PREFIX_SIZE : PREFIX_SIZE + header_size])
    return Message(header["kind"], header["values"], _arrays(header["arrays"], frame[PREFIX_SIZE + header_size :]))


def sizes(prefix: bytes) -> tuple[int, int]:
    """Lengths of header and body that a prefix gives.

    Raises:
        SimulationError: if it is no prefix, or a length is over its bound.
    """
    if len(prefix) != PREFIX_SIZE or not prefix.startswith(MAGIC):
        _refuse(f"it begins with {prefix[:4]!r}, not {MAGIC!r}")
    _, header_size, body_size = _PREFIX.unpack(prefix)
    if header_size > MAX_HEADER or body_size > MAX_BODY:
        _refuse(f"header and body of {header_size} and {body_size} bytes; at most {MAX_HEADER} and {MAX_BODY}")
    return header_size, body_size


class Connection:
    """Sends and receives whole messages. Not thread-safe.

    Args:
        stream: a connected stream socket; closed by `close`.
    """

    def __init__(self, stream: socket.socket) -> None:
        self._stream = stream

    def send(self, message: Message, timeout_s: float | None = None) -> None:
        """Send one message.

        Args:
            message: what to send.
            timeout_s: how long it may take, s; None waits for ever.

        Raises:
            SimulationError: if the other side is gone or does not read.
        """
        try:
            self._stream.settimeout(timeout_s)
            self._stream.sendall(encode(message))
        except TimeoutError as error:
            raise _silent("did not take a message", timeout_s) from error
        except OSError as error:
            raise _gone() from error

    def receive(self, timeout_s: float | None = None) -> Message | None:
        """Wait for one message.

        Args:
            timeout_s: how long it may take, s; None waits for ever.

        Returns:
            The message; None if the other side has closed the connection between two messages.

        Raises:
            SimulationError: if what comes is no message, or does not come in time or whole.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        prefix = self._read(PREFIX_SIZE, timeout_s, deadline)
        if not prefix:
            return None
        rest = sum(sizes(prefix))
        content = self._read(rest, timeout_s, deadline)
        if len(prefix) + len(content) < PREFIX_SIZE + rest:
            raise _gone()
        return decode(prefix + content)

    def close(self) -> None:
        """Close the socket."""
        self._stream.close()

    def _read(self, size: int, timeout_s: float | None, deadline: float | None) -> bytes:
        """`size` bytes, or fewer if the connection ends before."""
        buffer = bytearray(size)
        done = 0
        while done < size:
            try:
                self._stream.settimeout(None if deadline is None else max(deadline - time.monotonic(), 1e-3))
                got = self._stream.recv_into(memoryview(buffer)[done:])
            except TimeoutError as error:
                raise _silent("did not answer", timeout_s) from error
            except OSError as error:
                raise _gone() from error
            if not got:
                break
            done += got
        return bytes(buffer[:done])


def _header(data: bytes) -> dict[str, Any]:
    try:
        header = json.loads(data.decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise _malformed(f"its header is no JSON ({error})") from error
    if not isinstance(header, dict) or set(header) != {"kind", "values", "arrays"}:
        _refuse("its header is not of kind, values and arrays")
    if not isinstance(header["kind"], str) or not isinstance(header["values"], dict):
        _refuse("its kind is no string or its values are no object")
    for name, value in header["values"].items():
        if not isinstance(value, str | int | float) or (isinstance(value, float) and not math.isfinite(value)):
            _refuse(f"its value '{name[:40]}' is no string, finite number or true or false")
    return header


def _arrays(entries: Any, body: bytes) -> dict[str, Array]:
    if not isinstance(entries, list) or len(entries) > MAX_ARRAYS:
        _refuse(f"its arrays are no list of at most {MAX_ARRAYS}")
    arrays: dict[str, Array] = {}
    at = 0
    for entry in entries:
        if not isinstance(entry, dict) or set(entry) != {"name", "dtype", "shape"}:
            _refuse("an array is not described by name, dtype and shape")
        name, dtype, shape = entry["name"], entry["dtype"], entry["shape"]
        if not isinstance(name, str) or name in arrays:
            _refuse("an array's name is no string, or given twice")
        if not isinstance(dtype, str) or dtype not in DTYPES:
            _refuse(f"array '{name[:40]}' is neither {' nor '.join(DTYPES)}")
        # `type is int`: true and false are no lengths.
        if not isinstance(shape, list) or len(shape) > MAX_DIMENSIONS or not all(type(n) is int for n in shape):
            _refuse(f"array '{name[:40]}' has a shape that is no list of at most {MAX_DIMENSIONS} whole numbers")
        if any(not 0 <= n <= MAX_BODY for n in shape):
            _refuse(f"array '{name[:40]}' has the shape {shape}")
        size = math.prod(shape) * DTYPES[dtype].itemsize
        if size > len(body) - at:
            _refuse(f"array '{name[:40]}' needs {size} bytes, {len(body) - at} are left")
        # A slice, since numpy takes no offset at the end of a body, where an empty array may lie.
        arrays[name] = np.frombuffer(body[at : at + size], DTYPES[dtype]).reshape(shape)
        at += size
    if at != len(body):
        _refuse(f"its arrays have {at} bytes, its body {len(body)}")
    return arrays


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _malformed(what: str) -> SimulationError:
    return SimulationError(
        f"A message on the simulator's socket is malformed: {what}.",
        remedy="Start both sides from the same f1_ros, and let nothing else write to that socket.",
    )


def _refuse(what: str) -> NoReturn:
    raise _malformed(what)


def _silent(what: str, timeout_s: float | None) -> SimulationError:
    return SimulationError(
        f"The other side of the simulator's socket {what} within {timeout_s} s.",
        remedy="See whether the machine is overloaded, then start the evaluation again.",
    )


def _gone() -> SimulationError:
    return SimulationError(
        "The other side of the simulator's socket is gone.", remedy="See its last words, then start again."
    )
