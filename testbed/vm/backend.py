"""``--backend vm:KERNEL``: a run in a machine with that kernel, booted for the runs of one command line alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from testbed.orchestrator.spec import SpecificationError
from testbed.remote.place import Elsewhere, parse_backend
from testbed.remote.remote_run import RemoteRuns, RunOne
from testbed.vm.cache import Cache
from testbed.vm.choosing import images_of
from testbed.vm.guest_machine import GuestMachine
from testbed.vm.qemu import DEFAULT_CPUS, DEFAULT_MEMORY_MIB, DEFAULT_SHIFT, Clock, Hardware
from testbed.vm.qemu_provider import CONNECT_S, QemuProvider


def hardware(
    *,
    time: Clock | None = None,
    shift: int | None = None,
    slow: int | None = None,
    cpus: int | None = None,
    memory_mib: int | None = None,
) -> Hardware:
    """What a run's machine is made of, from what was said of it: virtual time, unless a clock like ours is wanted.

    Raises SpecificationError.
    """
    if time == "virtual" and slow is not None:
        raise SpecificationError("--slow is for real time: leave it away, or leave --time virtual away")
    time = time or ("virtual" if slow is None else "real")
    if time == "real" and shift is not None:
        raise SpecificationError("--shift is for virtual time: leave it away, or take --time virtual")
    return Hardware(
        clock=time,
        shift=DEFAULT_SHIFT if shift is None else shift,
        cpus=cpus or DEFAULT_CPUS[time],
        memory_mib=memory_mib or DEFAULT_MEMORY_MIB,
        slowed=1 if slow is None else slow,
    )


@contextmanager
def opened(where: Elsewhere | str, made_of: Hardware | None = None, *, cache: Cache | None = None) -> Iterator[RunOne]:
    """What carries out requests in such a machine, as ``runner.run`` does here.

    It is booted at the first request and ends with the block. Virtual time is the default: what is measured then does
    not depend on how busy this machine is. Two kernels are two machines, on slowed or real time (pair.py).
    """
    place = parse_backend(where) if isinstance(where, str) else where
    if len(place.kernels) == 2:
        from testbed.vm.pair import opened_pair

        with opened_pair(place, made_of, cache=cache) as run_there:
            yield run_there
        return
    provider = QemuProvider(place.kernels[0], made_of or hardware(), images_of, cache=cache)
    with RemoteRuns(place, provider, made_of=GuestMachine, connect_s=CONNECT_S) as runs:
        yield runs.run
