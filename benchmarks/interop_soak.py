"""Random scenarios between the userspace stack and the kernel's MPTCP: ``python -m benchmarks.interop_soak``, as root.

Each case is drawn from a seed: which end is ours, the paths and what they do to packets, an outage, a middlebox, the
path manager, the traffic, options, buffers, scheduler, congestion control. It is then carried out with real endpoint
processes in namespaces of this program's own. A case passes when every byte arrived, intact at both ends (length and
SHA-256), both streams ended in order, and both ends agree on whether MPTCP was spoken, the kernel by its counters;
where nothing on the path explains a fallback there is none. Failures are printed with what repeats them:

    python -m benchmarks.interop_soak --count 300 --seed 1
    python -m benchmarks.interop_soak --seed 1 --only 17 --pcap captures/
"""

from __future__ import annotations

import argparse
import dataclasses
import random
import sys
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

from userspace_lab import LINUX, MS, SECOND, USERSPACE, Report, Scenario, carry_out

from testbed.endpoint.parameters import Bulk, RequestResponse
from testbed.orchestrator.spec import PathManager
from topologies.link_profile import Change, LinkProfile, QueueLimit, RandomLoss, Reordering
from topologies.middlebox import describe, parse

PROFILES = (
    "linux",
    "rfc8684",
    "rfc2018",
    "dense",
    "width-32",
    "dense-32",
    "drop-timestamps",
    "add-addr-first",
    "thin-maps",
)
"""Those that Linux accepts; it resets mappings that come late or on a pure ACK (reference of the checklist, §4)."""
SCHEDULERS = ("lowest-rtt", "round-robin", "redundant", "blest", "ecf")
CONTROLS = ("reno", "cubic", "lia", "olia", "balia")
MIDDLEBOXES = (
    ("strip mptcp on syn", "none"),
    ("strip mptcp/mp_capable on syn close", "none"),
    ("none", "strip mptcp on syn-ack"),
    ("strip mptcp on third-ack+data+ack", "none"),
    ("strip timestamps on syn", "none"),
    ("none", "strip sack-permitted on syn-ack"),
    ("none", "drop mptcp/add_addr nth 1"),
    ("drop mptcp/mp_join nth 1", "none"),
)
TAKES_MPTCP = 4
"""The first so many of these make the connection plain TCP."""


def drawn(seed: int, number: int) -> Scenario:
    """The case of that number."""
    chance = random.Random(f"{seed} {number}")
    ours = _userspace(chance)
    theirs = dataclasses.replace(LINUX, timestamps=chance.random() < 0.8, checksum=chance.random() < 0.3)
    ends = {"client": ours, "server": theirs} if chance.random() < 0.5 else {"client": theirs, "server": ours}
    count = chance.choice((1, 2, 2, 2, 3))
    paths = tuple(_path(chance) for _ in range(count))
    backward = tuple(
        dataclasses.replace(path, loss=RandomLoss(chance.choice((0.0, 0.0, 0.01)))) if path.loss else path
        for path in paths
    )
    changes: dict[str, tuple[Change, ...]] = {}
    if count > 1 and chance.random() < 0.25:
        begin = chance.randrange(100, 600) * MS
        end = begin + chance.randrange(200, 1500) * MS
        changes[f"path{chance.randrange(count) + 1}"] = (Change(at_ns=begin, down=True), Change(at_ns=end, down=False))
    if chance.random() < 0.2:
        forth, back = chance.choice(MIDDLEBOXES)
        paths = (dataclasses.replace(paths[0], middleboxes=parse(forth)), *paths[1:])
        backward = (dataclasses.replace(backward[0], middleboxes=parse(back)), *backward[1:])
    super_segments = chance.random() < 0.5
    return Scenario(
        **ends,
        paths=paths,
        backward=backward,
        changes=changes,
        path_manager=_path_manager(chance, count),
        application=_application(chance),
        family=chance.choice((4, 6)),
        offloads="on" if super_segments else "off",
        super_segments=super_segments,
        seed=chance.getrandbits(31),
        duration_ns=40 * SECOND,
    )


def _userspace(chance: random.Random) -> Any:
    buffers = chance.choice((None, None, 65_536, 262_144, 1 << 20))
    return dataclasses.replace(
        USERSPACE,
        profile=chance.choice(PROFILES),
        scheduler=chance.choice(SCHEDULERS),
        congestion_control=chance.choice(CONTROLS),
        timestamps=chance.random() < 0.8,
        sack=chance.random() < 0.9,
        checksum=chance.random() < 0.3,
        nodelay=chance.random() < 0.3,
        send_buffer_bytes=buffers,
        receive_buffer_bytes=buffers,
    )


def _path(chance: random.Random) -> LinkProfile:
    impairments: dict[str, Any] = {}
    if chance.random() < 0.5:
        impairments["loss"] = RandomLoss(chance.choice((0.002, 0.01, 0.02, 0.05)))
    if chance.random() < 0.2:
        impairments["delay_ns"] = chance.choice((5, 20)) * MS  # a packet overtakes by skipping the delay
        impairments["reordering"] = Reordering(probability=chance.choice((0.01, 0.05)), gap=chance.choice((1, 3)))
    if chance.random() < 0.2:
        impairments["duplication"] = chance.choice((0.005, 0.02))
    if chance.random() < 0.2:
        impairments["corruption"] = chance.choice((0.002, 0.01))
    return LinkProfile(
        rate_bit_s=chance.choice((5, 10, 20, 50, 100)) * 1_000_000,
        queue=QueueLimit(packets=chance.choice((20, 50, 200))),
        **{"delay_ns": chance.choice((0, 1, 5, 20)) * MS, **impairments},
    )


def _path_manager(chance: random.Random, paths: int) -> PathManager:
    mode = chance.choice(("none", "signal", "signal", "subflow", "fullmesh", "backup", "ndiffports"))
    if mode == "backup" and paths > 1:
        return PathManager(mode="backup", backup_paths=(f"path{chance.randrange(paths) + 1}",))
    return PathManager(mode="none" if mode == "backup" else mode)  # type: ignore[arg-type]


def _application(chance: random.Random) -> Bulk | RequestResponse:
    if chance.random() < 0.2:
        sizes = {"request_bytes": chance.randrange(1, 20_000), "response_bytes": chance.randrange(1, 50_000)}
        return RequestResponse(count=chance.randrange(1, 20), **sizes)
    size, reverse = (int(10 ** chance.uniform(0, 6.3)) for _ in range(2))
    direction = chance.choice(("upload", "download", "both"))
    return Bulk(
        direction=direction,
        size_bytes=size,
        reverse_size_bytes=reverse if direction == "both" else None,
        settle_ns=chance.choice((0, 300 * MS)),  # a small transfer is over before there is a second subflow
    )


FALLBACKS = (
    "MPCapableFallbackACK",
    "MPCapableFallbackSYNACK",
    "MPCapableDataFallback",
    "DataCsumErr",
    "DssFallback",
    "InfiniteMapRx",
    "InfiniteMapTx",
    "MPCapableSYNTXDrop",
)
"""Counters (``MPTcpExt...``) of an end whose connection became plain TCP."""


def fell_back(report: Report, end: str) -> bool:
    """What that end says, or its counters: a kernel's connection is looked at now and then and may end in between."""
    result = report.client if end == "client" else report.server
    return result.fallback or any(report.count(end, name) for name in FALLBACKS)


def faults(scenario: Scenario, report: Report) -> list[str]:
    """What is wrong with it."""
    found = report.problems()
    client, server = fell_back(report, "client"), fell_back(report, "server")
    took_option = not report.count("server", "MPCapableSYNRX")
    if client != (server or took_option):
        found.append(f"fallback: client {client}, server {server}")
    if client and not _may_fall_back(scenario):
        found.append("fell back for no reason")
    if not client and not report.count("client", "MPCapableSYNACKRX"):
        found.append("MPTCP is claimed, but the client's stack counted no MP_CAPABLE on a SYN/ACK")
    if not server and not took_option and not report.count("server", "MPCapableACKRX"):
        found.append("MPTCP is claimed, but the server's stack counted no MP_CAPABLE of an established client")
    return found


def _may_fall_back(scenario: Scenario) -> bool:
    """Whether the first path takes the option, or delivers what follows the handshake before its end (Linux takes that
    for a fallback: net/mptcp/options.c, check_fully_established)."""
    first = (scenario.paths[0], (scenario.backward or scenario.paths)[0])
    takes = any("mptcp" in describe(box) for path in first for box in path.middleboxes)
    return takes or any(path.reordering or path.loss or path.duplication or path.corruption for path in first)


def carry_out_case(seed: int, number: int, pcap: Path | None) -> tuple[list[str], Scenario, Report | None]:
    """One case: what is wrong, and what it was."""
    scenario = drawn(seed, number)
    try:
        report = carry_out(scenario, captures=pcap / f"{seed}-{number}" if pcap is not None else None)
    except Exception:
        return [traceback.format_exc(limit=3)], scenario, None
    return faults(scenario, report), scenario, report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--only", type=int, help="just this case, with everything that is known of it")
    parser.add_argument("--pcap", type=Path, help="captures of the client's interfaces, in a directory per case")
    options = parser.parse_args()
    numbers = [options.only] if options.only is not None else range(options.first, options.first + options.count)
    seen: Counter[str] = Counter()
    failed: list[int] = []
    begun = time.monotonic()
    for number in numbers:
        wrong, scenario, report = carry_out_case(options.seed, number, options.pcap)
        if report is not None:
            seen["fell back" if fell_back(report, "client") else f"{report.client.subflows_seen} subflows"] += 1
            seen[f"client {report.client.implementation}"] += 1
        if wrong:
            failed.append(number)
            print(f"case {number} FAILED: {'; '.join(wrong)}\n  {scenario}", flush=True)
            print(f"  repeat: python -m benchmarks.interop_soak --seed {options.seed} --only {number}", flush=True)
        if options.only is not None and report is not None:
            print(scenario, report.client, report.server, report.kernel, sep="\n")
    count = len(numbers)
    elapsed = time.monotonic() - begun
    print(f"{count - len(failed)} of {count} cases passed in {elapsed:.0f} s; failed: {failed or 'none'}")
    print("seen: " + ", ".join(f"{what} {times}" for what, times in sorted(seen.items())))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
