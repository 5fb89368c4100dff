"""How options lie in the 40 octets: sizes with padding, what still fits, the area in wire order.

``aligned`` pads every option to 32-bit words with NOPs, as Linux writes them (net/ipv4/tcp_output.c,
tcp_options_write): before timestamps and SACK, after MPTCP options. ``dense`` pads only the end of the area.
"""

from __future__ import annotations

from typing import Final

from testbed.tcp.seam import SegmentPlan
from testbed.wire.options import (
    NOP,
    FastOpen,
    MaximumSegmentSize,
    MptcpOption,
    Option,
    Sack,
    SackPermitted,
    Timestamps,
    WindowScale,
)

AREA: Final = 40
"""Octets of options a TCP header can hold: 4 * 15 - 20 (RFC 9293 §3.1)."""

TIMESTAMPS_SIZE: Final = 10
SACK_BASE: Final = 2
SACK_BLOCK: Final = 8
MOST_SACK_BLOCKS: Final = 4
"""RFC 2018 §3: 2 + 8 * 4 = 34 octets."""

_PAD: tuple[tuple[Option, ...], ...] = ((), (NOP,), (NOP, NOP), (NOP, NOP, NOP))


def padded(size: int) -> int:
    """The next multiple of 4."""
    return (size + 3) & ~3


def sack_blocks_that_fit(room: int, wanted: int, aligned: bool) -> int:
    """How many of ``wanted`` SACK blocks fit into ``room`` octets: 4 + 8n aligned, 2 + 8n dense."""
    fitting = (room - (4 if aligned else SACK_BASE)) // SACK_BLOCK
    if fitting <= 0:
        return 0
    if fitting > MOST_SACK_BLOCKS:
        fitting = MOST_SACK_BLOCKS
    return fitting if fitting < wanted else wanted


def remove_addr_size(ids: int, aligned: bool) -> int:
    """REMOVE_ADDR with ``ids`` addresses: 3 + n."""
    return padded(3 + ids) if aligned else 3 + ids


class Area:
    """The option area of one segment after the handshake, while it is being filled."""

    __slots__ = ("aligned", "mptcp", "sack", "timestamps", "used")

    def __init__(self, aligned: bool) -> None:
        self.aligned = aligned
        self.used = 0
        """Octets taken; with ``dense`` without the padding at the end."""
        self.timestamps: Timestamps | None = None
        self.sack: Sack | None = None
        self.mptcp: list[MptcpOption] = []

    def cost(self, size: int) -> int:
        """Octets that an option of ``size`` takes here."""
        return (size + 3) & ~3 if self.aligned else size

    def fits(self, size: int) -> bool:
        """Whether an option of ``size`` still fits."""
        return self.used + self.cost(size) <= AREA

    def room(self) -> int:
        """Octets left."""
        return AREA - self.used

    def take_timestamps(self, val: int, ecr: int) -> bool:
        """Put the timestamps in, if they fit."""
        if not self.fits(TIMESTAMPS_SIZE):
            return False
        self.timestamps = Timestamps(val, ecr)
        self.used += self.cost(TIMESTAMPS_SIZE)
        return True

    def take_sack(self, blocks: tuple[tuple[int, int], ...], most: int) -> int:
        """Put in as many of the blocks as fit, at most ``most``; how many."""
        count = sack_blocks_that_fit(AREA - self.used, most, self.aligned)
        if count:
            self.sack = Sack(blocks[:count])
            self.used += self.cost(SACK_BASE + SACK_BLOCK * count)
        return count

    def take(self, option: MptcpOption) -> bool:
        """Put an MPTCP option in, if it fits."""
        if not self.fits(option.size):
            return False
        self.mptcp.append(option)
        self.used += self.cost(option.size)
        return True

    def take_out(self, option: MptcpOption) -> None:
        """Undo :meth:`take`."""
        self.mptcp.remove(option)
        self.used -= self.cost(option.size)

    def lay_out(self, plan: SegmentPlan) -> None:
        """Write the area into the plan: timestamps, SACK, MPTCP, each with its padding."""
        options: tuple[Option, ...] = ()
        if self.timestamps is not None:
            options = (NOP, NOP, self.timestamps) if self.aligned else (self.timestamps,)
        if self.sack is not None:
            options = (*options, NOP, NOP, self.sack) if self.aligned else (*options, self.sack)
        for option in self.mptcp:
            options = (*options, option, *_PAD[-option.size & 3]) if self.aligned else (*options, option)
        plan.options = options if self.aligned else (*options, *_PAD[-self.used & 3])
        plan.option_octets = padded(self.used)


def lay_out_syn(plan: SegmentPlan, mptcp: MptcpOption | None, timestamps: bool, aligned: bool) -> bool:
    """Write the area of a SYN or SYN/ACK into the plan; False (and nothing written) when it does not fit.

    The order is Linux's: MSS, SACK-permitted + timestamps in 12 octets, window scale, Fast Open, MPTCP.
    """
    options: list[Option] = []
    if plan.mss_option is not None:
        options.append(MaximumSegmentSize(plan.mss_option))
    stamps = plan.timestamps if timestamps else None
    if plan.sack_permitted:
        options.append(SackPermitted())
        if aligned and stamps is None:
            options.extend((NOP, NOP))
    elif aligned and stamps is not None:
        options.extend((NOP, NOP))
    if stamps is not None:
        options.append(Timestamps(stamps[0], stamps[1]))
    if plan.window_scale is not None:
        if aligned:
            options.append(NOP)
        options.append(WindowScale(plan.window_scale))
    if plan.fast_open_cookie is not None:
        cookie = FastOpen(plan.fast_open_cookie)
        if aligned:
            options.extend(_PAD[-cookie.size & 3])
        options.append(cookie)
    if mptcp is not None:
        options.append(mptcp)
    used = sum(option.size for option in options)
    if padded(used) > AREA:
        return False
    options.extend(_PAD[-used & 3])
    plan.options = tuple(options)
    plan.option_octets = padded(used)
    return True
