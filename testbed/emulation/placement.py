"""Which CPU the relay runs on, and which ones the hosts' network stacks.

Handing a frame to a veth runs the receiving host's stack right there, on the sender's CPU and time; a TCP that answers
an ACK with a burst keeps the relay from its next release for milliseconds. Receive packet steering moves that work to
the CPUs of a mask: ``net.core.rps_default_mask``, set in a host's namespace *before* its interfaces are made (Linux 6.3
on; before that, ``/sys/class/net/IF/queues/rx-0/rps_cpus``).
Source: Documentation/networking/scaling.rst, Documentation/admin-guide/sysctl/net.rst.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

HOSTS_SYSCTL = "net.core.rps_default_mask"


@dataclass(frozen=True, slots=True)
class Placement:
    """A split of the CPUs."""

    relay_cpu: int | None
    """For :attr:`Configuration.cpu`; None: there is only one CPU."""
    hosts_mask: str
    """For HOSTS_SYSCTL in each host's namespace, in the kernel's notation; "0" steers nothing."""


def placement(cpus: Iterable[int]) -> Placement:
    """The last of ``cpus`` (``os.sched_getaffinity(0)``) for the relay, the others for the hosts."""
    ordered = sorted(cpus)
    if len(ordered) < 2:
        return Placement(None, "0")
    mask = sum(1 << cpu for cpu in ordered[:-1])
    words = [mask >> shift & 0xFFFFFFFF for shift in range(0, max(1, mask.bit_length()), 32)]
    return Placement(ordered[-1], ",".join([f"{words[-1]:x}", *(f"{word:08x}" for word in reversed(words[:-1]))]))
