"""Reads the JSON report of iperf3 (``-J``), which is a program's own word about its goodput."""

from __future__ import annotations

import json
from typing import Any


def read_iperf3(text: str) -> dict[str, Any] | None:
    """Totals of a report of either side; None when ``text`` is not one.

    ``received_bytes`` and ``goodput_bit_s`` are the receiver's figures, whichever side that was; ``retransmits`` is
    the sender's and None where the sender's kernel did not tell; ``error`` is iperf3's message or None.
    """
    try:
        report = json.loads(text)
    except ValueError:
        return None
    if not isinstance(report, dict) or "start" not in report or "end" not in report:
        return None
    end = report["end"]
    sent, received = end.get("sum_sent", {}), end.get("sum_received", {})
    return {
        "version": report["start"].get("version"),
        "error": report.get("error"),
        "sent_bytes": int(sent.get("bytes", 0)),
        "received_bytes": int(received.get("bytes", 0)),
        "goodput_bit_s": received.get("bits_per_second") or None,
        "retransmits": sent.get("retransmits"),
        "sender_congestion_control": end.get("sender_tcp_congestion"),
        "receiver_congestion_control": end.get("receiver_tcp_congestion"),
    }
