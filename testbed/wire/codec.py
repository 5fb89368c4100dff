"""A packet of IPv4 or IPv6 with TCP in it <-> a :class:`Segment`: the one interface of two codecs.

:mod:`testbed.wire.struct_codec` is the fast one in plain Python, :mod:`testbed.wire.librt_codec` when compiled
(``./tb build``), where it is several times as fast as the other; uncompiled it would be three times slower. Both give
the same octets, the same values and the same errors: one test suite runs over both.
"""

from __future__ import annotations

from typing import Final

from testbed.wire import struct_codec

COMPILED: Final = not __file__.endswith(".py")
"""Whether this module, and so the stack, runs as compiled code."""

IPV4_OCTETS: Final = struct_codec.IPV4_OCTETS
IPV6_OCTETS: Final = struct_codec.IPV6_OCTETS
TCP_OCTETS: Final = struct_codec.TCP_OCTETS

if COMPILED:
    from testbed.wire.librt_codec import decode, encode, offload_headers
else:
    from testbed.wire.struct_codec import decode, encode, offload_headers

__all__ = ["COMPILED", "IPV4_OCTETS", "IPV6_OCTETS", "TCP_OCTETS", "decode", "encode", "offload_headers"]
