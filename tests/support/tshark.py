"""What tshark and its companions say of a capture: the reference that the capture engine is held to.

Analysis off: every packet by itself, numbers as on the wire, nothing that depends on the packets before.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

FIELDS: tuple[str, ...] = (
    "frame.number",
    "frame.time_epoch",
    "frame.cap_len",
    "frame.len",
    "frame.interface_id",
    "ip.src",
    "ip.dst",
    "ipv6.src",
    "ipv6.dst",
    "ip.ttl",
    "ipv6.hlim",
    "ip.dsfield",
    "ipv6.tclass",
    "tcp.srcport",
    "tcp.dstport",
    "tcp.seq_raw",
    "tcp.ack_raw",
    "tcp.flags",
    "tcp.window_size_value",
    "tcp.hdr_len",
    "tcp.len",
    "tcp.options",
    "tcp.option_kind",
    "tcp.option_len",
    "tcp.options.mss_val",
    "tcp.options.wscale.shift",
    "tcp.options.sack_le",
    "tcp.options.sack_re",
    "tcp.options.timestamp.tsval",
    "tcp.options.timestamp.tsecr",
    "tcp.options.tfo.cookie",
    "tcp.options.mptcp.subtype",
    "tcp.options.mptcp.version",
    "tcp.options.mptcp.flags",
    "tcp.options.mptcp.checksumreq.flags",
    "tcp.options.mptcp.extensibility.flag",
    "tcp.options.mptcp.nomoresubflows.flag",
    "tcp.options.mptcp.sha256.flag",
    "tcp.options.mptcp.sendkey",
    "tcp.options.mptcp.recvkey",
    "tcp.options.mptcp.datalvllen",
    "tcp.options.mptcp.checksum",
    "tcp.options.mptcp.backup.flag",
    "tcp.options.mptcp.addrid",
    "tcp.options.mptcp.recvtok",
    "tcp.options.mptcp.sendrand",
    "tcp.options.mptcp.sendtrunchmac",
    "tcp.options.mptcp.sendhmac",
    "tcp.options.mptcp.datafin.flag",
    "tcp.options.mptcp.dseqn8.flag",
    "tcp.options.mptcp.dseqnpresent.flag",
    "tcp.options.mptcp.dataack8.flag",
    "tcp.options.mptcp.dataackpresent.flag",
    "tcp.options.mptcp.rawdataack",
    "tcp.options.mptcp.rawdataseqno",
    "tcp.options.mptcp.subflowseqno",
    "tcp.options.mptcp.ipver",
    "tcp.options.mptcp.echo",
    "tcp.options.mptcp.ipv4",
    "tcp.options.mptcp.ipv6",
    "tcp.options.mptcp.port",
    "tcp.options.mptcp.addaddrtrunchmac",
    "tcp.options.mptcp.rst_reason",
    "tcp.options.mptcp.flag_T.flag",
)

ANALYSIS_OFF: tuple[str, ...] = (
    "-n",
    *(
        word
        for preference in (
            "tcp.analyze_sequence_numbers",
            "tcp.relative_sequence_numbers",
            "tcp.desegment_tcp_streams",
            "tcp.calculate_timestamps",
            "tcp.track_bytes_in_flight",
            "tcp.summary_in_tree",
            "mptcp.analyze_mptcp",
            "mptcp.analyze_mappings",
            "mptcp.relative_sequence_numbers",
        )
        for word in ("-o", f"{preference}:FALSE")
    ),
)
"""What makes tshark fast and its numbers those of the wire."""

_ADDRESSES = ("ip.src", "ip.dst", "ipv6.src", "ipv6.dst")


def fields(
    path: Path, names: Sequence[str] = FIELDS, wanted: str = "tcp", words: Sequence[str] = ANALYSIS_OFF
) -> dict[str, list[str]]:
    """Field -> one text for each packet that ``wanted`` selects; of several occurrences, separated by commas."""
    argv = ["tshark", *words, "-r", str(path), "-Y", wanted, "-T", "fields", "-E", "occurrence=a"]
    argv += [word for name in names for word in ("-e", name)]
    lines = run(argv).splitlines()
    rows = [line.split("\t") for line in lines]
    assert all(len(row) == len(names) for row in rows), "a field contains a tab"
    return {name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)} if rows else {}


def rows_of_tcp(columns: dict[str, list[str]]) -> Iterable[dict[str, str]]:
    """The columns of :func:`fields`, packet by packet."""
    names = list(columns)
    for values in zip(*columns.values(), strict=True):
        yield dict(zip(names, values, strict=True))


def dss_checksums(path: Path) -> list[tuple[int, int]]:
    """(frame number, checksum) of every mapping that has one, by tcpdump's text: tshark leaves them undecoded."""
    found = []
    text = run(["tcpdump", "-n", "--number", "-v", "-r", str(path), "tcp"])
    number = 0
    for line in text.splitlines():
        if head := re.match(r"\s*(\d+)\s+\d\d:\d\d:\d\d", line):
            number = int(head[1])
        found += [(number, int(text, 16)) for text in re.findall(r"dss [^\]]*?csum 0x([0-9a-f]+)", line)]
    return found


def packet_count(path: Path) -> int:
    """Of all packets, by capinfos."""
    text = run(["capinfos", "-M", "-c", str(path)])
    return int(re.search(r"Number of packets:\s*(\d+)", text)[1])  # type: ignore[index]


def run(argv: Sequence[str]) -> str:
    """What a tool printed. Raises with what it complained of when it fails."""
    result = subprocess.run(argv, capture_output=True, text=True, check=False)
    if result.returncode:
        raise AssertionError(f"{' '.join(argv[:3])} ...: exit {result.returncode}: {result.stderr.strip()}")
    return result.stdout
