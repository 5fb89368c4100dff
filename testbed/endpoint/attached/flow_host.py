"""What an endpoint process has below its application when the implementation is ours: interfaces, stack, transport."""

from __future__ import annotations

import random
from collections.abc import Callable

from testbed.endpoint.attached.driver import SUPER_SEGMENT_OCTETS, Attachment
from testbed.endpoint.loop import Loop
from testbed.endpoint.protocol import Configuration
from testbed.endpoint.sockets import Unsupported
from testbed.endpoint.userspace.host import StackHost
from testbed.endpoint.userspace.parameters import stack_parameters
from testbed.endpoint.userspace.transport import StackTransport
from testbed.mptcp.stack import Stack
from testbed.tcp.counters import Counters

LINGER_NS = 60_000_000_000
"""How long connections without a user go on when their last words are not acknowledged (Linux ``tcp_fin_timeout``)."""
TIME_WAIT_NS = 500_000_000
"""How long a stack that waits for no acknowledgment any more answers what the peer repeats; then the process ends."""


class FlowHost:
    """One stack on this host's interfaces, for one side of one flow. Raises Unsupported."""

    def __init__(self, configuration: Configuration, loop: Loop) -> None:
        # Both sides of a flow get the same seed; keys and ports must differ all the same.
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
            parameters = stack_parameters(
                configuration.endpoint,
                configuration.path_manager,
                self._attachment.mtu,
                super_segment=SUPER_SEGMENT_OCTETS if configuration.super_segments else 0,
                record_ledger=configuration.ledger,
            )
            self.stack = Stack(
                self._attachment.addresses,
                parameters,
                chance,
                can_reach=self._attachment.can_reach,
                port_range=self._attachment.client_ports,
            )
            host = StackHost(self.stack, loop)
            self.transport = StackTransport(host, configuration, parameters)
            self._attachment.drive(host, self.stack)
        except BaseException:
            self._attachment.close()
            raise

    @property
    def counters(self) -> Counters:
        """The stack's."""
        return self.stack.counters

    def round(self) -> None:
        """After each round of the loop."""
        self._attachment.flush()

    def linger(self, until: Callable[[], bool]) -> None:
        """Finish what the application has left: let data, ends of streams and their acknowledgements get across."""
        end_ns = self._loop.now_ns() + LINGER_NS
        quiet_ns = self._loop.now_ns() + TIME_WAIT_NS
        timers = [self._loop.at(due, lambda: None) for due in (quiet_ns, end_ns)]

        def done() -> bool:
            self._attachment.flush()
            now = self._loop.now_ns()
            return until() or now >= end_ns or (now >= quiet_ns and self._is_quiet()) or not self.stack.connections

        self._loop.run(done)
        for timer in timers:
            timer.cancel()

    def close(self) -> None:
        """Leave the host as it was."""
        self._attachment.close()

    def _is_quiet(self) -> bool:
        return not any(connection.awaits_acknowledgment for connection in self.stack.connections)
