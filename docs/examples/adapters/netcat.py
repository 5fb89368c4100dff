#!/usr/bin/env python3
"""An adapter: this kernel's MPTCP through a plain Python socket. Standard library only; start from here for your own.

Bytes from standard input go to the peer, bytes of the peer to standard output. docs/howto/add-an-implementation.md
"""

import json
import os
import socket
import sys
import threading
from pathlib import Path

TESTS = {
    *("handshake", "transfer", "two_way", "half_close", "zero_window", "fastclose", "checksum", "ipv6", "loss"),
    *("reorder", "failover", "join", "add_addr", "remove_addr", "backup", "goodput", "contention"),
    *("fallback_syn", "fallback_syn_ack", "fallback_third_ack", "fallback_data", "fallback_late"),
    *("fallback_payload", "fallback_payload_two"),
}
IPPROTO_MPTCP = 262
STATUS, CONTROL = 3, 4


def wish(name):
    """What the testbed asks for; empty: no wish."""
    return os.environ.get(f"TESTBED_{name}", "")


def unsupported(reason):
    """Not a failure: a test that this adapter cannot do."""
    print(reason, file=sys.stderr)
    sys.exit(127)


def say(word):
    """One word of the contract."""
    os.write(STATUS, word.encode() + b"\n")


def make_socket():
    """With the wishes that belong to a socket; the rest is set for the host."""
    family = socket.AF_INET6 if wish("FAMILY") == "6" else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM, IPPROTO_MPTCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if wish("CONGESTION_CONTROL"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, wish("CONGESTION_CONTROL").encode())
    if wish("NODELAY"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for name, option in (("SEND_BUFFER", socket.SO_SNDBUF), ("RECEIVE_BUFFER", socket.SO_RCVBUF)):
        if wish(name):
            sock.setsockopt(socket.SOL_SOCKET, option, int(wish(name)))
    return sock


def connect():
    """The connection, of either role; a server keeps its listener, which joins to other addresses need."""
    sock = make_socket()
    if wish("ROLE") == "server":
        sock.bind(("", int(wish("PORT"))))
        sock.listen(1)
        say("LISTENING")
        return sock.accept()[0], sock
    sock.bind((wish("LOCAL_ADDRESS"), 0))
    say("READY")  # netcat.toml has waits_for_start: the interpreter's start is not part of the flow
    os.read(CONTROL, 64)
    sock.connect((wish("REMOTE_ADDRESS"), int(wish("PORT"))))
    return sock, None


def send_input(sock):
    """Standard input to the peer, and its end after it."""
    while data := os.read(0, 65536):
        try:
            sock.sendall(data)
        except OSError as error:
            print(f"cannot send: {error}", file=sys.stderr)
            os._exit(1)
    sock.shutdown(socket.SHUT_WR)


def main():
    """One connection."""
    if wish("TEST") not in TESTS:
        unsupported(f"no such test: {wish('TEST')}")
    if wish("SCHEDULER"):
        unsupported("a socket cannot choose its scheduler")
    sock, _listener = connect()
    say("CONNECTED")
    sender = threading.Thread(target=send_input, args=(sock,), daemon=True)
    sender.start()
    while data := sock.recv(65536):
        while data:
            data = data[os.write(1, data) :]
    os.close(1)  # the peer's stream has ended: half-close in this direction
    sender.join()
    control = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).split(b"\0")[0].decode()
    Path(wish("FACTS")).write_text(json.dumps({"in_force": {"congestion_control": control}}))


if __name__ == "__main__":
    try:
        main()
    except OSError as error:
        sys.exit(f"{type(error).__name__}: {error}")
