"""How the processes speak: frames on the control socket, and packets of records on a channel."""

from __future__ import annotations

import array
import json
import os
import socket
import struct
from select import POLLIN, POLLNVAL, poll
from typing import Any, Dict, List, Optional, Tuple

from . import shortcuts

VERSION = 1

# Records from the worker.
RUN, CALL, CANCEL, SOFT, LEAVE = 1, 2, 3, 4, 5
# Records to it.
HELLO, STARTED, STORE, DONE, ANSWER, FAULT = 1, 2, 3, 4, 5, 6
# A packet that lies in a file beside it, in either direction.
IN_FILE = 255

PACKET_LIMIT = 64 * 1024

_HEAD = struct.Struct("<BQI")
_SIZE = struct.Struct("<I")
_FILES = socket.CMSG_SPACE(2 * array.array("i").itemsize)
_CLOEXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)

#: Kind, sequence number, payload.
Record = Tuple[int, int, bytes]

#: What is received if there is nothing and nobody wants to wait; its kind is no record's.
NOTHING: Record = (0, 0, b"")


class Junk(Exception):
    """The other side does not keep to the contract."""


def record(kind: int, seq: int, payload: bytes = b"") -> bytes:
    """A record as it travels in a packet."""
    return _HEAD.pack(kind, seq, len(payload)) + payload


def with_head(head: bytes, rest: bytes) -> bytes:
    """A payload that begins with JSON."""
    return _SIZE.pack(len(head)) + head + rest


def split_head(payload: bytes) -> Tuple[Dict[str, Any], bytes]:
    """The JSON that a payload begins with, and what follows it."""
    end = 4 + _SIZE.unpack_from(payload)[0]
    if end > len(payload):
        raise Junk("the head of a record is longer than the record")
    try:
        return shortcuts.scan(payload[4:end].decode(), 0)[0], payload[end:]
    except StopIteration:
        raise Junk("the head of a record is not JSON") from None


class Control:
    """The stream of frames between the worker and the fork server."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection

    def send(self, frame: Dict[str, Any]) -> None:
        """Sends one object."""
        data = json.dumps(frame).encode()
        self.socket.sendall(_SIZE.pack(len(data)) + data)

    def receive(self) -> Optional[Tuple[Dict[str, Any], List[int]]]:
        """The next object and the descriptors beside it; `None` at the end of the stream."""
        # Exactly the length first, because descriptors belong to the first byte of a frame.
        start, ancillary, _, _ = self.socket.recvmsg(4, _FILES, _CLOEXEC)
        if not start:
            return None
        size = _SIZE.unpack(start + self._exactly(4 - len(start)))[0]
        return json.loads(self._exactly(size)), _descriptors(ancillary)

    def _exactly(self, size: int) -> bytes:
        parts = []
        while size:
            part = self.socket.recv(size)
            if not part:
                raise EOFError("the control socket ended within a frame")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)


class Channel:
    """The packets between the worker and one process; several threads may use it."""

    def __init__(self, descriptor: int) -> None:
        self.socket = socket.socket(fileno=descriptor)
        self.socket.setblocking(True)
        self._receive = self.socket.recvmsg
        self._identity = _identity(descriptor)
        self._descriptor = descriptor
        os.register_at_fork(after_in_child=self._forked)

    def receive(self, wait: bool = True) -> Optional[Record]:
        """The next record; [`NOTHING`] if there is none and `wait` is false; `None` at the end."""
        flags = _CLOEXEC if wait else _CLOEXEC | socket.MSG_DONTWAIT
        try:
            data, ancillary, _, _ = self._receive(PACKET_LIMIT, _FILES, flags)
        except BlockingIOError:
            return NOTHING
        if not data:
            return None
        if ancillary:
            data = _contents(ancillary)
        if len(data) < _HEAD.size:
            raise Junk("a packet is shorter than a record's head")
        kind, seq, size = _HEAD.unpack_from(data)
        payload = data[_HEAD.size :]
        if len(payload) != size:
            raise Junk("a packet is not one record")
        return kind, seq, payload

    def next_is(self, kind: int) -> bool:
        """Waits for the next record, and says whether it is of this kind; one in a file is a call."""
        data = self.socket.recv(1, socket.MSG_PEEK)
        return bool(data) and (data[0] == kind or (data[0] == IN_FILE and kind == RUN))

    def send(self, records: bytes) -> None:
        """Sends one or more records in one packet."""
        if self._identity is None:
            # A process that a task has forked came back from it: the call is not its own.
            os._exit(0)
        if len(records) <= PACKET_LIMIT:
            self.socket.send(records)
            return
        file = os.memfd_create("celeriac-packet", os.MFD_CLOEXEC)
        try:
            with open(file, "wb", closefd=False) as stream:
                stream.write(records)
            beside = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [file]))]
            self.socket.sendmsg([record(IN_FILE, 0)], beside)
        finally:
            os.close(file)

    def is_intact(self) -> bool:
        """Whether the descriptor is still the channel's; a task may have closed it."""
        return _identity(self._descriptor) == self._identity

    def _forked(self) -> None:
        self._identity = None
        self.socket.close()


class Glance:
    """What there is to see between two calls, in one look: a record that waits, standard output and error."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel.socket.fileno()
        self._poll = poll()
        self._poll.register(self._channel, POLLIN)
        # Whether they are open is seen without being asked for.
        self._poll.register(1, 0)
        self._poll.register(2, 0)
        #: Whether a record has come, or the channel has ended.
        self.has_record = False
        #: Whether a task has left standard output and error as they were: open.
        self.is_whole = True

    def take(self) -> None:
        """Looks."""
        self.has_record, self.is_whole = False, True
        for descriptor, events in self._poll.poll(0):
            if descriptor == self._channel:
                self.has_record = True
            elif events & POLLNVAL:
                self.is_whole = False


def _identity(descriptor: int) -> Optional[Tuple[int, int]]:
    try:
        status = os.fstat(descriptor)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _descriptors(ancillary: List[Tuple[int, int, bytes]]) -> List[int]:
    found = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    return list(found)


def _contents(ancillary: List[Tuple[int, int, bytes]]) -> bytes:
    files = _descriptors(ancillary)
    try:
        if len(files) != 1:
            raise Junk("a packet in a file has one file beside it")
        with open(files[0], "rb", closefd=False) as stream:
            stream.seek(0)
            return stream.read()
    finally:
        for file in files:
            os.close(file)
