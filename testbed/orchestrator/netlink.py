"""A small rtnetlink and generic netlink client: messages are packed with struct and sent in batches.

One batch configures one namespace in one system call, which is what makes building a network fast (a shell round trip
costs 1.8 ms, an ``ip`` process 2 ms, a message here some microseconds). Only the messages that this project needs
exist.

Sources: netlink(7), rtnetlink(7), linux/{netlink,rtnetlink,if_link,if_addr,fib_rules,neighbour,genetlink}.h.
The kernel answers a message that failed whether or not an acknowledgement was asked for, and handles a batch in order;
so only the last message of a batch asks for one.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from testbed.orchestrator.errors import InvalidTrial

NETLINK_ROUTE, NETLINK_GENERIC = 0, 16
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 0x1, 0x4, 0x300
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE = 0x100, 0x200, 0x400
NLMSGERR_ATTR_MSG = 1
NLM_F_ACK_TLVS = 0x200
NLA_F_NESTED = 0x8000
SOL_NETLINK, NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK = 270, 10, 11, 12
SO_RCVBUFFORCE = 33

_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_RECEIVE_BYTES = 1 << 17
_BATCH_BYTES = 1 << 16


class NetlinkError(InvalidTrial):
    """The kernel refused a message; the text names the message and repeats the kernel's reason."""

    def __init__(self, number: int, what: str, reason: str = "") -> None:
        self.errno = number
        super().__init__(f"{what}: {os.strerror(number)}{f' ({reason})' if reason else ''}")


@dataclass(frozen=True, slots=True)
class Message:
    """One request: its type, flags, body and what to call it in an error."""

    kind: int
    flags: int
    body: bytes
    what: str


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded to four bytes."""
    return _ATTRIBUTE.pack(4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def u32(kind: int, value: int) -> bytes:
    """An attribute that is a 32-bit number in host order."""
    return attribute(kind, value.to_bytes(4, "little" if struct.pack("=H", 1)[0] else "big"))


def text(kind: int, value: str) -> bytes:
    """An attribute that is a NUL-terminated string."""
    return attribute(kind, value.encode() + b"\0")


def nested(kind: int, *parts: bytes) -> bytes:
    """An attribute that contains attributes."""
    return attribute(kind | NLA_F_NESTED, b"".join(parts))


def attributes(data: bytes) -> dict[int, bytes]:
    """Attribute number -> value; of a repeated number the last."""
    return dict(each_attribute(data))


def each_attribute(data: bytes) -> Iterator[tuple[int, bytes]]:
    """All attributes in their order."""
    offset = 0
    while offset + 4 <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < 4:
            return
        yield kind & 0x3FFF, data[offset + 4 : offset + length]
        offset += (length + 3) & ~3


class Netlink:
    """A netlink socket of the namespace that the calling thread is in when it is made; it stays there."""

    def __init__(self, protocol: int = NETLINK_ROUTE) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        self._sequence = 0
        try:
            self._socket.bind((0, 0))
            self._socket.setsockopt(SOL_NETLINK, NETLINK_CAP_ACK, 1)
            self._socket.setsockopt(SOL_NETLINK, NETLINK_EXT_ACK, 1)
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Netlink:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket; needed, for an open socket keeps its namespace alive."""
        self._socket.close()

    def send(self, messages: Sequence[Message]) -> None:
        """Have the kernel carry out all messages in order. Raises NetlinkError for the first that it refused.

        What comes after a refused message in the same batch is carried out all the same.
        """
        for batch in _batches(messages):
            self._send_batch(batch)

    def _send_batch(self, messages: Sequence[Message]) -> None:
        first = self._sequence + 1
        packed = bytearray()
        for number, message in enumerate(messages):
            flags = message.flags | NLM_F_REQUEST | (NLM_F_ACK if number == len(messages) - 1 else 0)
            packed += _HEADER.pack(16 + len(message.body), message.kind, flags, first + number, 0) + message.body
            packed += b"\0" * (-len(packed) % 4)
        self._sequence += len(messages)
        self._socket.send(packed)
        refused: NetlinkError | None = None
        while True:
            for kind, flags, sequence, body in self._receive():
                if kind != NLMSG_ERROR or not first <= sequence <= self._sequence:
                    continue
                error = _error(flags, body, messages[sequence - first].what)
                refused = refused or error
                if sequence == self._sequence:
                    if refused is not None:
                        raise refused
                    return

    def dump(self, message: Message) -> list[tuple[int, bytes]]:
        """(type, body) of each answer to a dump request."""
        return self._request(message, NLM_F_DUMP)

    def ask(self, message: Message) -> list[tuple[int, bytes]]:
        """(type, body) of each answer to a request for one object."""
        return self._request(message, NLM_F_ACK)

    def _request(self, message: Message, extra: int) -> list[tuple[int, bytes]]:
        self._sequence += 1
        flags = message.flags | NLM_F_REQUEST | extra
        self._socket.send(_HEADER.pack(16 + len(message.body), message.kind, flags, self._sequence, 0) + message.body)
        answers: list[tuple[int, bytes]] = []
        while True:
            for kind, answer_flags, sequence, body in self._receive():
                if sequence != self._sequence:
                    continue
                if kind == NLMSG_DONE:
                    return answers
                if kind == NLMSG_ERROR:
                    error = _error(answer_flags, body, message.what)
                    if error is not None:
                        raise error
                    return answers
                answers.append((kind, body))

    def _receive(self) -> Iterator[tuple[int, int, int, bytes]]:
        data = self._socket.recv(_RECEIVE_BYTES)
        offset = 0
        while offset + 16 <= len(data):
            length, kind, flags, sequence, _ = _HEADER.unpack_from(data, offset)
            yield kind, flags, sequence, data[offset + 16 : offset + length]
            offset += (length + 3) & ~3


def _batches(messages: Sequence[Message]) -> Iterator[Sequence[Message]]:
    """As few batches as fit into the socket's send buffer (212992 bytes by default, book-keeping included)."""
    begin, size = 0, 0
    for number, message in enumerate(messages):
        length = 20 + len(message.body)
        if size + length > _BATCH_BYTES:
            yield messages[begin:number]
            begin, size = number, 0
        size += length
    if begin < len(messages):
        yield messages[begin:]


def _error(flags: int, body: bytes, what: str) -> NetlinkError | None:
    (code,) = struct.unpack_from("=i", body)
    if code == 0:
        return None
    reason = ""
    if flags & NLM_F_ACK_TLVS:
        reason = attributes(body[20:]).get(NLMSGERR_ATTR_MSG, b"").rstrip(b"\0").decode(errors="replace")
    return NetlinkError(-code, what, reason)
