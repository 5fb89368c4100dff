"""The option policy of plain TCP, laid out as Linux does: timestamps, then SACK, each on a 4-octet boundary."""

from __future__ import annotations

from typing import Final

from mypy_extensions import mypyc_attr

from testbed.tcp.seam import OptionPolicy, SegmentPlan
from testbed.wire.options import (
    NOP,
    FastOpen,
    MaximumSegmentSize,
    Option,
    Sack,
    SackPermitted,
    Timestamps,
    WindowScale,
)
from testbed.wire.segment import RST, SYN

SPACE: Final = 40


@mypyc_attr(allow_interpreted_subclasses=True)
class TcpOptions(OptionPolicy):
    """Everything TCP wants, as much of it as fits into 40 octets (net/ipv4/tcp_output.c, tcp_options_write)."""

    __slots__ = ("_for", "_timestamps")

    def __init__(self) -> None:
        self._for: tuple[int, int] | None = None
        self._timestamps: tuple[Option, ...] = ()

    def fill(self, plan: SegmentPlan) -> None:
        """Timestamps (12) and at most 3 SACK blocks beside them, 4 without."""
        if plan.flags & SYN:
            self._fill_syn(plan)
            return
        pair = plan.timestamps
        if pair is not self._for:
            self._for = pair
            self._timestamps = () if pair is None else (NOP, NOP, Timestamps(pair[0], pair[1]))
        plan.options = self._timestamps
        plan.option_octets = 12 if self._timestamps else 0
        blocks = plan.sack_blocks
        if blocks and not plan.flags & RST:
            fitting = (SPACE - plan.option_octets - 4) // 8
            sack = Sack(blocks if len(blocks) <= fitting else blocks[:fitting])
            plan.options = (*plan.options, NOP, NOP, sack)
            plan.option_octets += 2 + sack.size

    def _fill_syn(self, plan: SegmentPlan) -> None:
        options: list[Option] = []
        if plan.mss_option is not None:
            options.append(MaximumSegmentSize(plan.mss_option))
        if plan.timestamps is not None:
            options.extend((SackPermitted(),) if plan.sack_permitted else (NOP, NOP))
            options.append(Timestamps(*plan.timestamps))
        elif plan.sack_permitted:
            options.extend((NOP, NOP, SackPermitted()))
        if plan.window_scale is not None:
            options.extend((NOP, WindowScale(plan.window_scale)))
        if plan.fast_open_cookie is not None:
            cookie = FastOpen(plan.fast_open_cookie)
            options.extend([NOP] * (-cookie.size % 4))
            options.append(cookie)
        plan.options = tuple(options)
        plan.option_octets = sum(option.size for option in options)
