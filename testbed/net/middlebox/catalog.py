"""Which class does what a value of ``topologies.middlebox`` says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from testbed.net.middlebox.actions import Delayer, Dropper, Duplicator, Holder, Marker
from testbed.net.middlebox.behaviour import Behaviour
from testbed.net.middlebox.coalesce import Coalescer
from testbed.net.middlebox.firewall import StatefulFilter
from testbed.net.middlebox.headers import MssClamp, WindowShrinker
from testbed.net.middlebox.isn import IsnRewriter
from testbed.net.middlebox.nat import AddressTranslator
from testbed.net.middlebox.normalise import Normaliser
from testbed.net.middlebox.options import OptionStripper
from testbed.net.middlebox.payload import PayloadRewriter
from testbed.net.middlebox.proactive_ack import EarlyAcknowledger
from testbed.net.middlebox.replay import Replayer
from testbed.net.middlebox.signals import SignalFilter
from testbed.net.middlebox.split import Splitter
from testbed.net.middlebox.watch import Watcher
from topologies.middlebox import (
    ClampMss,
    Coalesce,
    Delay,
    Drop,
    Duplicate,
    FilterSignals,
    Firewall,
    Hold,
    Mark,
    Nat,
    Normalise,
    ProactiveAck,
    Replay,
    RewriteIsn,
    RewritePayload,
    ShrinkWindow,
    Split,
    StripOption,
    Watch,
)

BEHAVIOURS: Final[Mapping[type[Any], Callable[[Any, int], Behaviour]]] = {
    Drop: Dropper,
    Delay: Delayer,
    Duplicate: Duplicator,
    Hold: Holder,
    Mark: Marker,
    Replay: Replayer,
    StripOption: OptionStripper,
    FilterSignals: SignalFilter,
    RewriteIsn: IsnRewriter,
    Nat: AddressTranslator,
    Firewall: StatefulFilter,
    ClampMss: MssClamp,
    ShrinkWindow: WindowShrinker,
    Split: Splitter,
    Coalesce: Coalescer,
    RewritePayload: PayloadRewriter,
    ProactiveAck: EarlyAcknowledger,
    Normalise: Normaliser,
    Watch: Watcher,
}
"""Value -> behaviour, made of the value and a seed."""
