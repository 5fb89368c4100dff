"""Which CPU the relay runs on, and which ones the hosts' network stacks.

Handing a frame to a veth runs the receiving host's stack right there, on the sender's CPU and time; a TCP that answers
an ACK with a burst keeps the relay from its next release for milliseconds. Receive packet steering moves that work to
the CPUs of a mask: ``net.core.rps_default_mask``, set in a host's namespace *before* its interfaces are made (Linux 6.3
on; before that, ``/sys/class/net/IF/queues/rx-0/rps_cpus``).
Source: Documentation/networking/scaling.rst, Documentation/admin-guide/sysctl/net.rst.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

HOSTS_SYSCTL = "net.core.rps_default_mask"


@dataclass(frozen=True, slots=True)
class Placement:
    """A split of the CPUs."""

    relay_cpu: int | None
    """For :attr:`Configuration.cpu`; None: there is only one CPU, or other relays have them all."""
    hosts_mask: str
    """For HOSTS_SYSCTL in each host's namespace, in the kernel's notation; "0" steers nothing."""


@contextmanager
def claimed_placement(cpus: Iterable[int]) -> Iterator[Placement]:
    """A placement whose relay CPU no other relay of this machine has, for the time of the block.

    The last free one. A claim is an abstract unix socket (unix(7)): the kernel lets go of it with the process, however
    that ends. It is known in one network namespace, which is the one that all runs are started from.
    """
    ordered = sorted(cpus)
    for cpu in reversed(ordered if len(ordered) > 1 else []):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as claim:
            try:
                claim.bind(f"\0mptcp-testbed/relay-cpu/{cpu}")
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                continue
            yield placement(ordered, cpu)
            return
    yield Placement(None, "0")


def placement(cpus: Iterable[int], relay_cpu: int | None = None) -> Placement:
    """``relay_cpu``, or the last of ``cpus`` (``os.sched_getaffinity(0)``), for the relay, the others for the hosts."""
    ordered = sorted(cpus)
    if len(ordered) < 2:
        return Placement(None, "0")
    relay_cpu = ordered[-1] if relay_cpu is None else relay_cpu
    mask = sum(1 << cpu for cpu in ordered if cpu != relay_cpu)
    words = [mask >> shift & 0xFFFFFFFF for shift in range(0, max(1, mask.bit_length()), 32)]
    return Placement(relay_cpu, ",".join([f"{words[-1]:x}", *(f"{word:08x}" for word in reversed(words[:-1]))]))
