"""``--backend vm:A+B``: two kernels against each other. Client, routers and emulator are in a machine with kernel A,
the server is in one with kernel B, and a private link is all that they have in common.

The runner in A carries the run out, as it does in one machine; it is told that the host ``server`` lives elsewhere
(testbed/orchestrator/away). Both machines run on slowed time (slowed.py), or with ``--time real`` on real time: the
seconds of two counted clocks have nothing to do with each other.
"""

from __future__ import annotations

import dataclasses
import json
import secrets
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from testbed.orchestrator.away.exchange import AwayNode
from testbed.orchestrator.errors import Unsupported
from testbed.remote.far import FarMachine
from testbed.remote.place import Elsewhere
from testbed.remote.remote_run import RemoteRuns, RunOne
from testbed.remote.session import Session
from testbed.remote.target import Target
from testbed.vm.cache import Cache
from testbed.vm.choosing import images_of
from testbed.vm.guest_machine import GuestMachine
from testbed.vm.qemu import DEFAULT_CPUS, Hardware, PrivateLink
from testbed.vm.qemu_provider import CONNECT_S, QemuProvider

NODE = "server"
"""The host that lives in the second machine; every topology of ours calls the server of its flows so."""
CARD = "eth1"
"""The second network card (net.ifnames=0)."""
NEAR, FAR, PREFIX = "169.254.83.1", "169.254.83.2", 30
"""Of the two ends of the private link (RFC 3927: link-local)."""
PORT = 7100
SLOWED = 8
"""One second in the guests is so many of ours, where nobody said otherwise."""
MACS = ("52:54:00:83:00:01", "52:54:00:83:00:02")
"""52:54:00 is QEMU's."""
_SET_UP = 'ip address add "$1" dev "$2" && ip link set "$2" up'
_TRUNK = f"vlan:{CARD}"


@contextmanager
def opened_pair(where: Elsewhere, made_of: Hardware | None = None, *, cache: Cache | None = None) -> Iterator[RunOne]:
    """What carries out requests in both machines; they are booted at the first request and end with the block."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ends[0], ends[1]:
        made_of = on_real_time(made_of)
        near, far = (
            QemuProvider(kernel, made_of, images_of, cache=cache, link=PrivateLink(end.fileno(), mac))
            for kernel, end, mac in zip(where.kernels, ends, MACS, strict=True)
        )
        with PairRuns(where, near, Away(far)) as runs:
            yield runs.run


def on_real_time(made_of: Hardware | None) -> Hardware:
    """The same machine, with a clock that is ours; slowed, unless real time was asked for."""
    if made_of is None:
        return Hardware(clock="real", cpus=DEFAULT_CPUS["real"], slowed=SLOWED)
    if made_of.clock == "real":
        return made_of
    return dataclasses.replace(made_of, clock="real", cpus=DEFAULT_CPUS["real"], slowed=SLOWED)


class Away:
    """The second machine: booted, given the checkout, with an agent that listens on the private link."""

    def __init__(self, provider: QemuProvider) -> None:
        self._provider = provider
        self._secret = secrets.token_hex(16)
        self._session: Session | None = None
        self._left = False
        self.target: Target | None = None

    @property
    def node(self) -> AwayNode:
        """How the runner in the first machine reaches it."""
        return AwayNode(node=NODE, host=FAR, port=PORT, secret=self._secret, trunk=_TRUNK)

    def up(self, say: Callable[[str], None]) -> None:
        """Until the agent was started; the runner waits for it to listen."""
        self.target = self._provider.up(say)
        if self._left:  # nobody waited for it
            self._provider.down()
            return
        self._session = Session.connect(self.target, deadline_s=CONNECT_S)
        there = GuestMachine(self._session, say)
        directory = there.make_ready("mininet")
        set_up_link(there, FAR)
        job = f"{there.directory}/jobs/agent"
        there.write(f"{job}.secret", self._secret.encode())
        words = there.module_words("testbed.orchestrator.away")
        words += ["--host", FAR, "--port", str(PORT), "--trunk", _TRUNK, "--secret-file", f"{job}.secret"]
        self._session.start_detached(words, job=job, cwd=directory, as_root=True)

    def down(self) -> None:
        """The machine, with all that is in it; one that boots ends when it stands."""
        self._left = True
        if self._session is not None:
            self._session.close()
        self._provider.down()


class PairRuns(RemoteRuns):
    """The runs of one command line in two machines."""

    def __init__(self, where: Elsewhere, near: QemuProvider, away: Away) -> None:
        super().__init__(where, near, made_of=GuestMachine, connect_s=CONNECT_S)
        self._away = away

    def close(self) -> None:
        """End both."""
        try:
            super().close()
        finally:
            self._away.down()

    def _connected(self) -> FarMachine:
        """Both are booted at the same time; what is to be said of the second one is said when it stands."""
        if self._far is not None:
            return self._far
        told: list[str] = []
        second: Future[None] = Future()

        def boot() -> None:
            try:
                self._away.up(told.append)
                second.set_result(None)
            except BaseException as error:
                second.set_exception(error)

        # a daemon: Ctrl-C does not wait for a machine that boots, which ends with this process
        threading.Thread(target=boot, name="second machine", daemon=True).start()
        far = super()._connected()
        set_up_link(far, NEAR)
        self._sent_checkout(far)
        try:
            second.result()
        finally:
            for text in told:
                self._say(f"the server's machine: {text}")
        return far

    def _more_of_a_request(self) -> Mapping[str, Any]:
        return {"away": dataclasses.asdict(self._away.node)}

    def _ran_on(self, target: Target) -> dict[str, str]:
        """The second machine's facts have ``away_`` before their names."""
        away = self._away.target
        if away is None:
            raise Unsupported("the server's machine does not run")
        facts = {f"away_{name}": text for name, text in away.machine.items()}
        can = {"away_capabilities": json.dumps(dict(away.capabilities))} if away.capabilities else {}
        return {**super()._ran_on(target), **facts, **can}


def set_up_link(there: FarMachine, address: str) -> None:
    """Give the private link's card its address."""
    there.session.run(["sh", "-ec", _SET_UP, "sh", f"{address}/{PREFIX}", CARD], as_root=True)
