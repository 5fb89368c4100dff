"""Which class does what a value of ``topologies.middlebox`` says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from testbed.net.middlebox.actions import Delayer, Dropper, Duplicator, Holder, Marker
from testbed.net.middlebox.behaviour import Behaviour
from testbed.net.middlebox.options import OptionStripper
from topologies.middlebox import Delay, Drop, Duplicate, Hold, Mark, StripOption

BEHAVIOURS: Final[Mapping[type[Any], Callable[[Any, int], Behaviour]]] = {
    Drop: Dropper,
    Delay: Delayer,
    Duplicate: Duplicator,
    Hold: Holder,
    Mark: Marker,
    StripOption: OptionStripper,
}
"""Value -> behaviour, made of the value and a seed."""
