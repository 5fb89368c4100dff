"""The relay process: ``python -m testbed.emulation``, in the network namespace of the middle node; see
:mod:`protocol`."""

from __future__ import annotations

import json
import os
import signal
import sys

from testbed.emulation.packet_socket import InterfaceError
from testbed.emulation.protocol import (
    Configuration,
    Event,
    Failure,
    ProtocolError,
    Ready,
    Started,
    event_to_line,
)
from testbed.emulation.realtime import Punctuality, become_punctual
from testbed.emulation.relay import Relay, read_line
from topologies.link_profile import ProfileError

_STDIN, _STDOUT = 0, 1


def _say(event: Event) -> None:
    data = event_to_line(event).encode()
    while data:
        data = data[os.write(_STDOUT, data) :]


def _become_punctual(configuration: Configuration) -> Punctuality:
    try:
        return become_punctual(configuration.realtime, configuration.cpu)
    except OSError as error:
        raise ProtocolError(f"cannot run on CPU {configuration.cpu}: {error.strerror}") from error


def _serve(relay: Relay, pending: bytearray) -> None:
    """Forward and obey until told to stop."""
    while True:
        if b"\n" not in pending:
            relay.run_until_readable(_STDIN)
        line = read_line(_STDIN, pending)
        command = "stop" if line is None else json.loads(line).get("command")
        match command:
            case "start":
                _say(Started(relay.start()))
            case "report":
                _say(relay.report())
            case "stop":
                _say(relay.report(final=True))
                return
            case _:
                raise ProtocolError(f"unknown command {command!r}: it is start, report or stop")


def main() -> int:
    """Run the process. Exit codes: 0 stopped, 2 cannot do what was asked (said on stdout)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever started this, and ends it by stdin
    pending = bytearray()
    relay: Relay | None = None
    try:
        line = read_line(_STDIN, pending)
        if line is None:
            raise ProtocolError("no configuration came on stdin")
        configuration = Configuration.from_line(line)
        # Sockets first: the locked memory must not include what is only needed to parse.
        relay = Relay(configuration.links, "")
        granted = _become_punctual(configuration)
        relay.scheduler = granted.scheduler
        _say(Ready(granted.scheduler, granted.reason, granted.memory_locked, os.getpid()))
        _serve(relay, pending)
    except (ProtocolError, ProfileError, InterfaceError, json.JSONDecodeError) as error:
        _say(Failure(str(error)))
        return 2
    except BrokenPipeError:
        return 0  # whoever started this has gone: the same as being told to stop
    finally:
        if relay is not None:
            relay.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
