"""A subflow that says what the test wants: for option builder and schedulers, without TCP."""

from __future__ import annotations

from testbed.mptcp.subflow_view import NOT_KNOWN, OutgoingMapping, SubflowView
from testbed.tcp.seam import SegmentPlan
from testbed.wire.options import MptcpOption


class SubflowDouble(SubflowView):
    """Everything is an attribute."""

    def __init__(
        self,
        *,
        rtt: int = 0,
        cwnd: int = 14_000,
        outstanding: int = 0,
        mss: int = 1400,
        rttvar: int = 0,
        backup: bool = False,
        usable: bool = True,
        uncarried: int = 0,
    ) -> None:
        super().__init__()
        self.rtt = rtt
        self.cwnd = cwnd
        self.queued = outstanding
        self.mss = mss
        self.rttvar = rttvar
        self.backup = backup
        self.is_usable = usable
        self.lag = uncarried
        self.mappings: list[OutgoingMapping] = []
        self.next_dsn = NOT_KNOWN
        self.fin_dsn = NOT_KNOWN
        self.fin_checksum: int | None = None
        self.handshake: MptcpOption | None = None
        self.reset: tuple[MptcpOption, ...] = ()
        self.ends_at: int | None = None
        self.acks_asked_for = 0
        self.left: list[MptcpOption] = []
        self.given_up: list[MptcpOption] = []
        self.handshakes_left: list[MptcpOption] = []

    def established(self, *, data_acked: bool = True) -> SubflowDouble:
        """Past the handshake, the first DATA_ACK seen."""
        self.handshake_due = False
        self.data_acked = data_acked
        return self

    def handshake_option(self, plan: SegmentPlan) -> MptcpOption | None:
        return self.handshake

    def reset_options(self, plan: SegmentPlan) -> tuple[MptcpOption, ...]:
        return self.reset

    def mapping_for(self, ssn: int, length: int) -> OutgoingMapping | None:
        for mapping in self.mappings:
            if not mapping.length or mapping.ssn <= ssn < mapping.ssn + mapping.length:
                return mapping
        return None

    def data_ack(self) -> int:
        return self.next_dsn

    def is_last_data(self, end: int) -> bool:
        return self.ends_at is not None and end >= self.ends_at

    def ask_for_acks(self) -> None:
        self.acks_asked_for += 1

    def bare_data_fin(self) -> int:
        return self.fin_dsn

    def bare_data_fin_checksum(self) -> int | None:
        return self.fin_checksum

    def signal_left(self, option: MptcpOption, now: int) -> None:
        self.signals.remove(option)
        self.left.append(option)

    def signal_never_fits(self, option: MptcpOption, now: int) -> None:
        self.signals.remove(option)
        self.given_up.append(option)

    def handshake_left(self, option: MptcpOption, now: int) -> None:
        self.handshakes_left.append(option)

    def usable(self) -> bool:
        return self.is_usable

    def send_room(self, now: int) -> int:
        return self.cwnd - self.queued

    def smoothed_rtt(self) -> int:
        return self.rtt

    def rtt_deviation(self) -> int:
        return self.rttvar

    def congestion_window(self) -> int:
        return self.cwnd

    def outstanding(self) -> int:
        return self.queued

    def segment_size(self) -> int:
        return self.mss

    def uncarried(self) -> int:
        return self.lag
