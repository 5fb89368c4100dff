"""A stretch of a capture as octets, and values taken out of it at any places, aligned or not.

One gather costs about 6 ns for each packet, whether it takes two octets or sixty: so whole headers are taken at once,
as structured values, and fields are looked at afterwards.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Places = NDArray[np.int64]

SLACK: Final = 128
"""Octets behind the last packet that may be looked at, whatever they are: as many as the longest value taken (60),
beyond a place that is itself no more than a header behind the end."""


class Octets:
    """The octets of a chunk; :meth:`take` reads values that may begin anywhere in it."""

    __slots__ = ("_views", "array")

    def __init__(self, array: NDArray[np.uint8], end: int) -> None:
        """``end``: behind the last octet of a packet. Copies the array when it has no slack behind that."""
        if len(array) < end + SLACK:
            array = np.concatenate((array[:end], np.zeros(SLACK, dtype=np.uint8)))
        self.array = array
        self._views: dict[np.dtype[Any], NDArray[Any]] = {}

    def take(self, kind: np.dtype[Any], at: Places) -> NDArray[Any]:
        """The values of type ``kind`` at these places. What lies behind a packet's captured octets is for the caller
        to leave out."""
        view = self._views.get(kind)
        if view is None:
            count = len(self.array) - kind.itemsize + 1
            raw: np.dtype[Any] = np.dtype((np.void, kind.itemsize))
            view = self._views[kind] = np.ndarray((count,), raw, buffer=self.array, strides=(1,))
        return view[at].view(kind)
