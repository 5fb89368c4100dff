"""The words of match expressions (:mod:`topologies.match`) and what they mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

FLAGS: Mapping[str, int] = {
    "tcp.fin": 0x01,
    "tcp.syn": 0x02,
    "tcp.rst": 0x04,
    "tcp.psh": 0x08,
    "tcp.ack": 0x10,
    "tcp.urg": 0x20,
    "tcp.ece": 0x40,
    "tcp.cwr": 0x80,
}
"""Word -> bit of the TCP header (RFC 9293 section 3.1)."""

OPTIONS: Mapping[str, int] = {
    "tcp.mss": 2,
    "tcp.window_scale": 3,
    "tcp.sack_permitted": 4,
    "tcp.sack": 5,
    "tcp.timestamps": 8,
    "tcp.fast_open": 34,
    "mptcp": 30,
}
"""Word -> kind of the option that the segment carries (IANA, TCP option kind numbers)."""

SUBTYPES: Mapping[str, int] = {
    "mptcp.mp_capable": 0x0,
    "mptcp.mp_join": 0x1,
    "mptcp.dss": 0x2,
    "mptcp.add_addr": 0x3,
    "mptcp.remove_addr": 0x4,
    "mptcp.mp_prio": 0x5,
    "mptcp.mp_fail": 0x6,
    "mptcp.mp_fastclose": 0x7,
    "mptcp.mp_tcprst": 0x8,
}
"""Word -> subtype of option 30 that the segment carries (RFC 8684 section 8.1)."""

PARTS: Mapping[str, str] = {
    "mptcp.dss.map": "a DSS with a mapping",
    "mptcp.dss.ack": "a DSS with a DATA_ACK",
    "mptcp.dss.fin": "a DSS with DATA_FIN",
    "mptcp.dss.checksum": "a DSS with a checksum",
    "mptcp.add_addr.echo": "an ADD_ADDR that is an echo",
    "mptcp.mp_tcprst.transient": "an MP_TCPRST with T=1",
}
"""Word -> which options of MPTCP it means."""

CLASSES: Mapping[str, str] = {
    "syn": "SYN without ACK",
    "syn_ack": "SYN with ACK",
    "third_ack": "the first segment after its sender's SYN, whatever it carries, unless it is a RST",
    "data": "any other segment with payload",
    "ack": "any other segment with ACK and without FIN and RST: a pure ACK",
}
"""Word -> what it means. No segment is of two classes; a FIN or RST without payload is of none."""

ECN: Mapping[str, int] = {"ip.not_ect": 0, "ip.ect1": 1, "ip.ect0": 2, "ip.ce": 3}
"""Word -> ECN field of the IP header (RFC 3168 section 5)."""

OTHERS: Mapping[str, str] = {
    "any": "every TCP segment",
    "retransmission": "its first octet of payload, its SYN or its FIN has passed here before",
    "forward": "from the link's a to its b",
    "backward": "from the link's b to its a",
}
"""Word -> what it means."""

WORDS: Final = (*CLASSES, *OTHERS, *FLAGS, *OPTIONS, *SUBTYPES, *PARTS, *ECN)
"""Every word that is a match by itself."""

NUMBERS: Mapping[str, str] = {
    "payload": "octets of payload",
    "window": "the window field as it is on the wire, without its scale",
    "option_octets": "octets of the option area, padding included",
    "mptcp_octets": "octets of its MPTCP options together, without padding (RFC 8684 figures)",
    "sack_blocks": "SACK blocks, a D-SACK included",
    "dss.ack_octets": "width of the DATA_ACK: 4 or 8, 0 in a DSS without one; without a DSS nothing holds",
    "dss.dsn_octets": "width of the DSN: 4 or 8, 0 in a DSS without a mapping; without a DSS nothing holds",
    "dss.length": "Data-Level Length of the mapping, DATA_FIN included; without a mapping nothing holds",
    "reset_reason": "reason code of the MP_TCPRST (RFC 8684 section 3.6); without one nothing holds",
}
"""Word -> number of a packet that is compared: ``payload >= 1000``."""

WITH_VALUE: Mapping[str, str] = {
    "payload": "payload > 0",
    "window": "window < 1000",
    "option_octets": "option_octets = 40",
    "mptcp_octets": "mptcp_octets >= 26",
    "sack_blocks": "sack_blocks >= 1",
    "dss.ack_octets": "dss.ack_octets = 8",
    "dss.dsn_octets": "dss.dsn_octets = 4",
    "dss.length": "dss.length > 1400",
    "reset_reason": "reset_reason = 6",
    "subflow": "subflow 2",
    "option": "option 253",
    "from": "from 10.0.1.1",
    "to": "to 10.0.2.2",
    "port": "port 5001",
    "after": "after 2s",
    "before": "before 5s",
    "chance": "chance 5%",
}
"""First word of the others -> example."""

VALUE_MEANINGS: Mapping[str, str] = {
    **NUMBERS,
    "subflow": "the n-th TCP connection by its first packet here, from 1",
    "option": "carries an option of that kind",
    "from": "source address",
    "to": "destination address",
    "port": "source or destination port",
    "after": "from that time after the start of the traffic on",
    "before": "until then",
    "chance": "seeded; the n-th packet of a direction meets its n-th draw",
}
"""First word of those with a value -> what it means."""

COUNTS: Final = ("nth", "first", "every")
SIGNS: Final = (">", ">=", "<", "<=", "=", "!=")

SPELLINGS: Mapping[str, str] = {
    "syn-ack": "syn_ack",
    "third-ack": "third_ack",
    "mss": "tcp.mss",
    "window-scale": "tcp.window_scale",
    "sack-permitted": "tcp.sack_permitted",
    "sack": "tcp.sack",
    "timestamps": "tcp.timestamps",
    "fast-open": "tcp.fast_open",
    **{word.replace(".", "/"): word for word in SUBTYPES},
}
"""Older word -> word."""


def meanings() -> dict[str, str]:
    """Every word, or example of one with a value -> what it means."""
    flags = {word: f"the flag {word.partition('.')[2].upper()} is set" for word in FLAGS}
    options = {word: f"carries option {kind}" for word, kind in OPTIONS.items()}
    subtypes = {word: f"carries {word.partition('.')[2].upper()}" for word in SUBTYPES}
    parts = {word: f"carries {what}" for word, what in PARTS.items()}
    fields = {word: f"the ECN field is {value:02b}" for word, value in ECN.items()}
    valued = {example: VALUE_MEANINGS[word] for word, example in WITH_VALUE.items()}
    counts = {"data nth 3+7": "these of the packets that match, counted from 1"}
    counts |= {"data first 5": "the first so many", "data every 100": "every so many"}
    joined = {"not syn and (data or ack)": "not binds before and, and before or"}
    return {**CLASSES, **OTHERS, **flags, **options, **subtypes, **parts, **fields, **valued, **counts, **joined}
