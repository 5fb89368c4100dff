"""Request and response on one connection: the client asks, the server answers, the client records how long it took.

One exchange at a time. With an interval a late answer delays the next request, which is then sent at once: latency is
counted from when a request was really sent, so a long stall appears as one long exchange, not as many.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from testbed.endpoint.applications.single import SingleConnection
from testbed.endpoint.applications.sources import PatternSource
from testbed.endpoint.distribution import Recorder
from testbed.endpoint.meter import Received
from testbed.endpoint.parameters import RequestResponse
from testbed.endpoint.payload import pattern
from testbed.endpoint.session import Session
from testbed.endpoint.transport import Connection


class Exchanges(SingleConnection):
    """One side of the exchanges."""

    def __init__(self, session: Session, parameters: RequestResponse) -> None:
        seed = session.configuration.seed
        outgoing, incoming = session.directions
        super().__init__(session, Received(pattern(seed, incoming)))
        self._parameters = parameters
        self._latencies = Recorder("latency")
        largest = max(parameters.request_bytes, parameters.response_bytes)
        self._source = PatternSource(pattern(seed, outgoing), self.sent, largest, 0, ending=False)
        self._asked = 0
        self._answered = 0
        self._asked_ns = 0
        self._next_due_ns = 0
        self._closing = False
        self._peer_ended = False

    def begin(self, connection: Connection) -> None:
        """As SingleConnection."""
        connection.send(self._source)
        if self.is_client:
            self._next_due_ns = self.session.now_ns()
            self._ask()
            self.session.at(self.session.deadline_ns, self.stop)

    def arrived(self, connection: Connection, data: memoryview) -> None:
        """As User."""
        super().arrived(connection, data)
        if self.session.over:
            return
        if self.is_client:
            self._answers_arrived()
        else:
            self._answered = self.received.count // self._parameters.request_bytes
            self._source.total = self._answered * self._parameters.response_bytes
            connection.send_more()

    def stop(self) -> None:
        """As FlowApplication; an exchange under way is finished first."""
        self._closing = True
        if self.is_client and self._asked == self._answered:
            self._end()

    def ended(self, connection: Connection) -> None:
        """As User."""
        self._peer_ended = True
        if self.is_client and not self._source.ending:
            self.session.fail("peer", f"the server ended its stream after {self._answered} exchanges")
        elif self.is_client:
            self._judge()
        elif self._ended_early():
            self.unless_stopped(f"the client ended its stream after {self._answered} exchanges")
        else:
            self._end()

    def finished(self, connection: Connection) -> None:
        """As User."""
        if self._peer_ended:
            self.conclude()

    def out_of_time(self) -> None:
        """Without a count, an unanswered request is no error, but it counts as failed and the flow is not complete."""
        if self.is_client and self._too_few():
            self._judge()
        else:
            super().out_of_time()

    def findings(self) -> Mapping[str, Any]:
        """As FlowApplication."""
        findings = {**super().findings(), "transfers": self._answered}
        if self.is_client:
            unanswered = [self._asked_ns] if self._asked > self._answered else []
            findings["transfers_failed"] = len(unanswered)
            findings["distributions"] = (self._latencies.distribution(self.session.ended_ns, unanswered),)
        return findings

    def _judge(self) -> None:
        """The client's end: were there as many exchanges as it was asked for?"""
        if self._too_few():
            done = f"{self._answered} of {self._parameters.count} exchanges"
            self.session.fail("deadline", f"{done} were done by the end of the flow's time")
        else:
            self.conclude()

    def _too_few(self) -> bool:
        count = self._parameters.count
        return count is not None and self._answered < count and not self.session.stopped

    def _ended_early(self) -> bool:
        """For a server: whether the client left in the middle."""
        return self.is_early() and (self._parameters.count is None or self._too_few())

    def _ask(self) -> None:
        if self._closing or self.connection is None:
            return
        self._asked += 1
        self._asked_ns = self.session.now_ns()
        self._source.total = self._asked * self._parameters.request_bytes
        self.connection.send_more()

    def _answers_arrived(self) -> None:
        if self.received.count < self._asked * self._parameters.response_bytes:
            return
        now_ns = self.session.now_ns()
        self._answered = self._asked
        self._latencies.add(now_ns, now_ns - self._asked_ns)
        if self._closing or self._answered == self._parameters.count:
            self._end()
            return
        self._next_due_ns += self._parameters.interval_ns
        if self._parameters.interval_ns and self._next_due_ns > now_ns:
            self.session.at(self._next_due_ns, self._ask)
        else:
            self._next_due_ns = now_ns
            self._ask()

    def _end(self) -> None:
        self._source.ending = True
        self.observe()
        if self.connection is not None:
            self.connection.send_more()
