"""How many data packets a second of CPU the complete userspace stack moves: two of them back to back in memory.

    python -m benchmarks.stack_inmemory [--rounds N] [--mebibytes N]

Bulk data from one stack to the other over two subflows, MTU-sized segments with timestamps and DSS, no loss, each link
a fixed small delay of a virtual clock. Everything a live endpoint does is done except the sockets: handshakes, path
manager, scheduler, congestion control, reassembly; the receiver is told of every segment by itself and answers it, as
if each had been read from an interface. What is counted is data packets per second of CPU time of the one process,
both ends and their ACKs included; what was received is compared with what was sent.

Rows: segments passed as values (as the simulator does), and as packets through the codec with checksums (as a live
endpoint without offload does); each from the sources and from the compiled modules (``./tb build``), each run in a
process of its own, interleaved; medians. The ratios are printed last.

``--profile`` runs once in this process under cProfile instead; ``--run MODE`` once without.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, replace

from benchmarks import compiled_forms
from testbed import compilation
from testbed.endpoint.collector import collect_seldom

DELAY_NS = 1_000_000
BUFFER = 512 * 1024
"""Octets; with megabytes in flight it is the memory that is measured."""
CHUNK = 64 * 1024
PORT = 5001
PLAIN_TARGET, COMPILED_TARGET = 90_000, 600_000
MODES = ("values", "packets")


@dataclass(frozen=True, slots=True)
class Result:
    """One transfer."""

    packets: int
    """Data segments that arrived."""
    acks: int
    """Other segments, in either direction."""
    octets: int
    seconds: float
    """CPU time."""
    shares: tuple[int, ...]
    """Octets sent by subflow."""
    compiled: bool

    @property
    def rate(self) -> float:
        """Data packets per second of CPU."""
        return self.packets / self.seconds


def transfer(octets: int, mode: str, subflows: int = 2, **changes: object) -> Result:
    """Move ``octets`` from client to server."""
    from testbed.mptcp.back_to_back import BackToBack
    from testbed.mptcp.parameters import Parameters
    from testbed.mptcp.stack import Stack
    from testbed.wire.segment import SocketAddress

    parameters = replace(
        Parameters(path_manager="fullmesh", scheduler="round-robin", send_buffer=BUFFER, receive_buffer=BUFFER),
        **changes,
    )
    clients = [bytes((10, 0, path, 1)) for path in range(subflows)]
    servers = [bytes((10, 0, path, 2)) for path in range(subflows)]

    def joined(one: bytes, other: bytes) -> bool:
        return one[2] == other[2]

    client = Stack(clients, parameters, random.Random(1), can_reach=joined)
    server = Stack(servers, replace(parameters, path_manager="signal"), random.Random(2), can_reach=joined)
    pair = BackToBack(client, server, server.listen(PORT), DELAY_NS, mode == "packets")
    chunk = random.Random(3).randbytes(CHUNK)
    sender = client.connect(SocketAddress(servers[0], PORT), pair.now)
    collect_seldom()
    begun = time.process_time()
    received = pair.transfer(sender, chunk, octets)
    seconds = time.process_time() - begun
    acks = pair.forward.other_segments + pair.backward.other_segments
    shares = tuple(subflow.tcp.snd_nxt - 1 for subflow in sender.subflows)
    return Result(pair.forward.data_segments, acks, received, seconds, shares, compilation.status.compiled)


def in_a_process(mode: str, octets: int, compiled: bool) -> Result:
    """One run with the form of the modules that is asked for."""
    environment = {**os.environ, compilation.VARIABLE: "1" if compiled else "0"}
    argv = [sys.executable, "-m", "benchmarks.stack_inmemory", "--run", mode, "--mebibytes", str(octets >> 20)]
    output = subprocess.run(argv, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
    fields = json.loads(output)
    return Result(**{**fields, "shares": tuple(fields["shares"])})


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mebibytes", type=int, default=64)
    parser.add_argument("--run", choices=MODES, help="once, in this process; prints JSON")
    parser.add_argument("--profile", choices=MODES, help="once, in this process, under cProfile")
    arguments = parser.parse_args()
    octets = arguments.mebibytes << 20
    if arguments.run:
        result = transfer(octets, arguments.run)
        print(json.dumps({name: getattr(result, name) for name in Result.__slots__}))
        return
    if arguments.profile:
        compiled_forms.profile(lambda: transfer(octets, arguments.profile))
        return
    forms = [False]
    if compiled_forms.can_be_compiled():
        forms.append(True)
    rates: dict[tuple[str, bool], list[float]] = {(mode, form): [] for mode in MODES for form in forms}
    for _ in range(arguments.rounds):
        for (mode, form), found in rates.items():
            result = in_a_process(mode, octets, form)
            found.append(result.rate)
    print(f"{'segments as':12} {'modules':10} {'packets/s':>10} {'(range)':>19} {'us':>6}  target")
    for (mode, form), found in rates.items():
        middle = statistics.median(found)
        target = COMPILED_TARGET if form else PLAIN_TARGET
        spread = f"({min(found):.0f} - {max(found):.0f})"
        print(
            f"{mode:12} {'compiled' if form else 'sources':10} {middle:10.0f} {spread:>19} {1e6 / middle:6.2f}  "
            f"{middle / target:.2f} of {target}"
        )
    print(f"last run: {result.packets} data packets, {result.acks} others, by subflow {result.shares}")
    for mode in MODES:
        if (mode, True) in rates:
            ratio = statistics.median(rates[mode, True]) / statistics.median(rates[mode, False])
            print(f"compiled / sources, {mode}: {ratio:.2f}")


if __name__ == "__main__":
    main()
