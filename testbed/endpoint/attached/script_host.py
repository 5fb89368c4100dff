"""What an endpoint process has below its application when the implementation is a script: interfaces and the peer."""

from __future__ import annotations

import random
from collections.abc import Callable

from testbed.endpoint.attached.driver import Attachment
from testbed.endpoint.loop import Loop
from testbed.endpoint.protocol import Configuration
from testbed.endpoint.script.host import ScriptHost, ScriptTransport
from testbed.endpoint.sockets import Unsupported

REFUSAL_NS = 5_000_000_000
"""How long what still comes after the script is refused; whoever carries out the trial ends the process earlier."""


class ScriptFlowHost:
    """As ``flow_host.FlowHost``. Raises Unsupported."""

    counters = None
    """A script counts nothing that a stack counts."""

    def __init__(self, configuration: Configuration, loop: Loop) -> None:
        chance = random.Random(f"{configuration.seed} {configuration.flow} {configuration.role}")
        self._loop = loop
        try:
            self._attachment = Attachment(
                loop,
                chance,
                listen_ports=[configuration.port] if configuration.role == "server" else [],
                family=configuration.family,
            )
        except OSError as error:  # AttachError, QuietError, PortsError
            raise Unsupported(f"cannot attach to the interfaces: {error.args[-1]}") from None
        try:
            host = ScriptHost(self._attachment.addresses, chance, loop, self._attachment.client_ports)
            self.transport = ScriptTransport(host, configuration)
            self._attachment.drive(host, host)
        except BaseException:
            self._attachment.close()
            raise

    def round(self) -> None:
        """After each round of the loop."""
        self._attachment.flush()

    def linger(self, until: Callable[[], bool]) -> None:
        """Refuse what still comes."""
        end_ns = self._loop.now_ns() + REFUSAL_NS
        timer = self._loop.at(end_ns, lambda: None)

        def done() -> bool:
            self._attachment.flush()
            return until() or self._loop.now_ns() >= end_ns

        self._loop.run(done)
        timer.cancel()

    def close(self) -> None:
        """Leave the host as it was."""
        self._attachment.close()
