"""Reads the JSON report of iperf3 (``-J``), which is a program's own word about its goodput."""

from __future__ import annotations

import json
from typing import Any


def read_iperf3(text: str) -> dict[str, Any] | None:
    """Totals of a report of either side; None when ``text`` is not one.

    All of this side alone: ``sent_bytes`` are 0 at a receiver, ``received_bytes`` 0 and ``goodput_bit_s`` and
    ``receive_time_ns`` None at a sender; with ``--bidir`` it is both. iperf3 repeats the other side's figures in its
    report, and marks with ``sender`` whose a pair of totals is; without that mark the bytes are None. ``retransmits``
    is the sender's and None where its kernel did not tell; ``error`` is iperf3's message or None.
    """
    try:
        report = json.loads(text)
    except ValueError:
        return None
    if not isinstance(report, dict) or "start" not in report or "end" not in report:
        return None
    end = report["end"]
    pairs = [(end.get("sum_sent" + kind, {}), end.get("sum_received" + kind, {})) for kind in ("", "_bidir_reverse")]
    sent: dict[str, Any] = next((total for total, _ in pairs if total.get("sender") is True), {})
    received: dict[str, Any] = next((total for _, total in pairs if total.get("sender") is False), {})
    seconds = received.get("seconds")
    marked = any("sender" in total for total, _ in pairs)
    return {
        "version": report["start"].get("version"),
        "error": report.get("error"),
        "sent_bytes": int(sent.get("bytes", 0)) if marked else None,
        "received_bytes": int(received.get("bytes", 0)) if marked else None,
        "goodput_bit_s": received.get("bits_per_second"),
        "receive_time_ns": None if seconds is None else round(1e9 * seconds),
        "retransmits": next((each["retransmits"] for each, _ in pairs if "retransmits" in each), None),
        "sender_congestion_control": end.get("sender_tcp_congestion"),
        "receiver_congestion_control": end.get("receiver_tcp_congestion"),
    }
