"""Name -> congestion controller of a single TCP connection. Adding one is one file and one line here."""

from __future__ import annotations

from collections.abc import Callable

from testbed.tcp.cubic import Cubic
from testbed.tcp.reno import Reno
from testbed.tcp.seam import CongestionController

CONTROLLERS: dict[str, Callable[[int | None], CongestionController]] = {
    "reno": Reno,
    "cubic": lambda initial: Cubic(initial, hystart=True),
    "cubic-no-hystart": Cubic,
}


def make(name: str, initial_window: int | None = None) -> CongestionController:
    """Make a controller; ``initial_window`` in octets, None: RFC 6928. Raises ValueError for a name not there."""
    if name not in CONTROLLERS:
        raise ValueError(f"no congestion control {name!r}; there are {', '.join(CONTROLLERS)}")
    return CONTROLLERS[name](initial_window)
