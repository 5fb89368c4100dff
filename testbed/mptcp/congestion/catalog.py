"""Name -> congestion control of an MPTCP connection. Adding one is one file and one line here.

Upstream Linux has no coupled congestion control at all (its MPTCP runs the host's TCP controller on each subflow); the
out-of-tree kernel has lia (``coupled``), olia, balia and wvegas.
"""

from __future__ import annotations

from collections.abc import Callable

from testbed.mptcp.congestion.balia import Balia
from testbed.mptcp.congestion.group import Group
from testbed.mptcp.congestion.lia import Lia
from testbed.mptcp.congestion.olia import Olia
from testbed.tcp.cubic import Cubic
from testbed.tcp.reno import Reno
from testbed.tcp.seam import CongestionController


def _reno(group: Group, initial: int | None) -> CongestionController:
    return Reno(initial)


def _cubic(group: Group, initial: int | None) -> CongestionController:
    return Cubic(initial, hystart=True)


def _cubic_no_hystart(group: Group, initial: int | None) -> CongestionController:
    return Cubic(initial)


CONTROLLERS: dict[str, Callable[[Group, int | None], CongestionController]] = {
    "reno": _reno,
    "cubic": _cubic,
    "cubic-no-hystart": _cubic_no_hystart,
    "lia": Lia,
    "olia": Olia,
    "balia": Balia,
}


def _known(name: str) -> Callable[[Group, int | None], CongestionController]:
    """Raises ValueError with the names for an unknown one."""
    if name not in CONTROLLERS:
        raise ValueError(f"no congestion control {name!r}; there are {', '.join(CONTROLLERS)}")
    return CONTROLLERS[name]


def make_group(name: str, initial_window: int | None = None) -> Group:
    """Make the group of one connection; ``initial_window`` of each subflow in octets, None: RFC 6928.

    Raises ValueError for a name that is not there.
    """
    return Group(_known(name), initial_window)


def make(name: str, group: Group, initial_window: int | None = None) -> CongestionController:
    """Make a controller among ``group``, whatever the group's own algorithm."""
    return _known(name)(group, initial_window)
