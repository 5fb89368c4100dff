"""``python -m testbed.orchestrator.away``: the agent, listening on the private link until it is ended."""

from __future__ import annotations

import argparse
import os
import socket
import sys
from pathlib import Path

from testbed.orchestrator import namespaces
from testbed.orchestrator.away.agent import Post, serve
from testbed.orchestrator.away.trunk import check_word
from testbed.orchestrator.errors import TestbedError

BACKLOG = 64


def main() -> int:
    """Its exit code."""
    parser = argparse.ArgumentParser(prog="python -m testbed.orchestrator.away", description=__doc__)
    parser.add_argument("--host", required=True, help="address of this machine on the private link")
    parser.add_argument("--port", type=int, default=0, help="0: the kernel chooses, and it is printed")
    parser.add_argument("--trunk", required=True, help="vlan:CARD or wires:CARD,CARD...")
    parser.add_argument("--secret-file", required=True, type=Path, help="what a connection has to know")
    words = parser.parse_args()
    try:
        check_word(words.trunk)
        secret = words.secret_file.read_text().strip()
        if not secret:
            raise OSError(f"{words.secret_file} is empty")
        listener = socket.create_server((words.host, words.port), backlog=BACKLOG)
    except (OSError, TestbedError) as error:
        print(f"agent: {error}", file=sys.stderr)
        return 1
    with listener:
        home_fd = os.open(namespaces.CURRENT_NET, os.O_RDONLY | os.O_CLOEXEC)
        print(listener.getsockname()[1], flush=True)
        try:
            serve(Post(listener=listener, secret=secret, trunk=words.trunk, home_fd=home_fd))
        except (KeyboardInterrupt, TestbedError) as error:
            print(f"agent: {error}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
