"""The ACK field of an acceptable segment: what it releases, the window, our FIN (RFC 9293 §3.10.7.4, fifth check)."""

from __future__ import annotations

from typing import Final

from testbed.tcp.closing import enter_time_wait
from testbed.tcp.control_block import HALF, M32, TIMESTAMP_TICK_NS, ControlBlock
from testbed.tcp.state import CLOSING, FIN_WAIT_1, FIN_WAIT_2, LAST_ACK, Event, Failure
from testbed.tcp.timers import NEVER, PERSIST, USER_TIMEOUT
from testbed.tcp.timers import TIME_WAIT as TIME_WAIT_TIMER
from testbed.wire.segment import ECE, Segment

_NO_BLOCKS: Final[tuple[tuple[int, int], ...]] = ()


def take_ack(tcb: ControlBlock, segment: Segment, offset: int, ack: int, length: int, now: int) -> None:
    """An acceptable ACK: release what it covers, tell loss recovery, take the window (§3.10.7.4, fifth check)."""
    snd_una = tcb.snd_una
    window = segment.window << tcb.snd_shift
    sack = segment.sack
    if ack > snd_una or (tcb.snd_nxt > snd_una and (length == 0 or sack is not None)):
        rtt: int | None = None
        recovery = tcb.recovery
        if ack > snd_una and tcb.timestamps_on and not recovery.clean:
            # Only beside a retransmission does the echo know more than the time of sending (Karn; RFC 7323 §4).
            timestamps = segment.timestamps
            if timestamps is not None and timestamps.ecr:
                ticks = (now // TIMESTAMP_TICK_NS + tcb.timestamp_offset - timestamps.ecr) & M32
                if ticks < HALF:
                    rtt = ticks * TIMESTAMP_TICK_NS
        recovery.acknowledge(
            ack,
            _NO_BLOCKS if sack is None or not tcb.sack_on else _sacked_offsets(tcb, sack.blocks),
            now,
            rtt,
            tcb.ecn.on and segment.flags & ECE != 0,
            length == 0 and window == tcb.snd_wnd and (ack > snd_una or not tcb.options.is_signal(segment)),
        )
        if ack > snd_una:
            tcb.snd_una = ack
            tcb.una_wire = segment.ack
            tcb.send_buffer.release(ack)
            if tcb.troubles:
                tcb.troubles = 0
                tcb.error = Failure.NONE  # what ICMP reported has passed
            if tcb.wants_room or tcb.parameters.user_timeout_ns is not None:
                _progress(tcb, now)
    if tcb.snd_wl1 < offset or (tcb.snd_wl1 == offset and tcb.snd_wl2 <= ack):
        tcb.snd_wnd = window
        tcb.snd_wl1 = offset
        tcb.snd_wl2 = ack
        if window > tcb.max_snd_wnd:
            tcb.max_snd_wnd = window
        if tcb.timers.earliest_rare != NEVER and tcb.timers.is_set(PERSIST):
            _window_probe_answered(tcb)


def _sacked_offsets(tcb: ControlBlock, blocks: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
    """SACK blocks as offsets; a D-SACK may lie below snd_una."""
    offsets: list[tuple[int, int]] = []
    for left, right in blocks:
        start = tcb.snd_offset_of(left)
        end = tcb.snd_offset_of(right)
        if start < end <= tcb.snd_nxt:
            offsets.append((start, end))
    return tuple(offsets)


def _progress(tcb: ControlBlock, now: int) -> None:
    """snd_una has advanced and somebody waits for that."""
    if tcb.wants_room and tcb.send_buffer.end - tcb.snd_una <= tcb.parameters.send_buffer * 2 // 3:
        tcb.wants_room = False
        tcb.tell(Event.WRITABLE)
    user_timeout = tcb.parameters.user_timeout_ns
    if user_timeout is not None:
        if tcb.snd_una < tcb.send_buffer.end:
            tcb.timers.set(USER_TIMEOUT, now + user_timeout)
        else:
            tcb.timers.stop(USER_TIMEOUT)


def _window_probe_answered(tcb: ControlBlock) -> None:
    """An ACK came while the window was being probed: the peer lives; a window that opened ends the probing."""
    usable = tcb.snd_una + tcb.snd_wnd - tcb.snd_nxt
    if usable >= min(tcb.payload_mss, tcb.send_buffer.end - tcb.snd_nxt):
        tcb.timers.stop(PERSIST)
        tcb.persist_backoff = 0


def fin_acknowledged(tcb: ControlBlock, now: int) -> bool:
    """Our FIN is acknowledged. False: nothing more of the segment is to be processed."""
    state = tcb.state
    if state is FIN_WAIT_1:
        tcb.move(FIN_WAIT_2)
        if not tcb.accepting_input:
            # Nobody waits for the peer's FIN any more; as Linux (tcp_fin_timeout) we do not for ever either.
            tcb.timers.set(TIME_WAIT_TIMER, now + 2 * tcb.parameters.msl_ns)
    elif state is CLOSING:
        enter_time_wait(tcb, now)
    elif state is LAST_ACK:
        tcb.enter_closed(Event.CLOSED, Failure.NONE)
        return False
    return True
