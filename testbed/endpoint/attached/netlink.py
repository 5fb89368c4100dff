"""The netlink that an attached endpoint speaks: requests and their answers, and notices of what changes.

Sources: netlink(7), linux/netlink.h. The orchestrator has a client of its own that builds networks in batches; an
endpoint may not import the orchestrator, and asks other questions.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator

NETLINK_ROUTE, NETLINK_NETFILTER = 0, 12
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 0x1, 0x4, 0x300
NLM_F_REPLACE, NLM_F_CREATE = 0x100, 0x400
NLA_F_NESTED = 0x8000

_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_SOL_NETLINK, _NETLINK_CAP_ACK = 270, 10
_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_RECEIVE_BYTES = 1 << 17

Answer = tuple[int, bytes]
"""Message type and body."""


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded to four octets."""
    return _ATTRIBUTE.pack(4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def attributes(data: bytes) -> dict[int, bytes]:
    """Attribute number -> value; of a repeated number the last."""
    found: dict[int, bytes] = {}
    offset = 0
    while offset + 4 <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < 4:
            break
        found[kind & 0x3FFF] = data[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    return found


class Netlink:
    """A socket for requests; :meth:`messages` is for one that has joined groups and hears notices."""

    def __init__(self, protocol: int, groups: int = 0) -> None:
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | (socket.SOCK_NONBLOCK if groups else 0)
        self._socket = socket.socket(socket.AF_NETLINK, kind, protocol)
        self._socket.bind((0, groups))
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_CAP_ACK, 1)
        self._sequence = 0

    def fileno(self) -> int:
        """For select."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close; what the kernel bound to the socket (a table with an owner) goes with it."""
        self._socket.close()

    def request(self, kind: int, body: bytes, flags: int = NLM_F_ACK) -> list[Answer]:
        """The answers to one request. Raises OSError with the kernel's error number."""
        self._sequence += 1
        self._socket.send(_HEADER.pack(16 + len(body), kind, flags | NLM_F_REQUEST, self._sequence, 0) + body)
        answers: list[Answer] = []
        while True:
            for answer_kind, sequence, answer in _parse(self._socket.recv(_RECEIVE_BYTES)):
                if sequence != self._sequence:
                    continue
                if answer_kind == _NLMSG_DONE:
                    return answers
                if answer_kind == _NLMSG_ERROR:
                    _raise_if_error(answer)
                    return answers
                answers.append((answer_kind, answer))

    def batch(self, messages: list[tuple[int, int, bytes]], begin: int, end: int, envelope: bytes) -> None:
        """Messages (type, flags, body) as one transaction of nfnetlink. Raises OSError for the first refusal."""
        self._sequence += 1
        data = bytearray(_HEADER.pack(16 + len(envelope), begin, NLM_F_REQUEST, self._sequence, 0) + envelope)
        for kind, flags, body in messages:
            self._sequence += 1
            header = _HEADER.pack(16 + len(body), kind, flags | NLM_F_REQUEST | NLM_F_ACK, self._sequence, 0)
            data += header + body
        first, last = self._sequence - len(messages) + 1, self._sequence
        self._sequence += 1
        data += _HEADER.pack(16 + len(envelope), end, NLM_F_REQUEST, self._sequence, 0) + envelope
        self._socket.send(data)
        acknowledged = 0
        while acknowledged < len(messages):
            for kind, sequence, answer in _parse(self._socket.recv(_RECEIVE_BYTES)):
                if kind == _NLMSG_ERROR:
                    _raise_if_error(answer)
                    acknowledged += first <= sequence <= last

    def messages(self) -> list[Answer]:
        """The notices that have come; does not block. A queue that overflowed is told by an empty one of type 0."""
        found: list[Answer] = []
        while True:
            try:
                data = self._socket.recv(_RECEIVE_BYTES)
            except BlockingIOError:
                return found
            except OSError:  # ENOBUFS: notices were lost, so anything may have changed
                found.append((0, b""))
                continue
            found += [(kind, body) for kind, _, body in _parse(data)]


def _parse(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    offset = 0
    while offset + 16 <= len(data):
        length, kind, _, sequence, _ = _HEADER.unpack_from(data, offset)
        if length < 16:
            return
        yield kind, sequence, data[offset + 16 : offset + length]
        offset += (length + 3) & ~3


def _raise_if_error(body: bytes) -> None:
    (code,) = struct.unpack_from("=i", body)
    if code:
        raise OSError(-code, os.strerror(-code))
