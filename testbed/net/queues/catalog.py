"""Which class does what a discipline says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from testbed.net.chance import stream
from testbed.net.queues.base import Queue
from testbed.net.queues.codel import CoDelQueue
from testbed.net.queues.fq_codel import FqCoDelQueue
from testbed.net.queues.pie import PieQueue
from testbed.net.queues.red import RedQueue
from topologies.link_profile import QueueLimit
from topologies.queue_discipline import CoDel, FqCoDel, Pie, Red


def _codel(limit: QueueLimit, discipline: Any, seed: int) -> Queue:
    return CoDelQueue(limit, discipline)


def _fq_codel(limit: QueueLimit, discipline: Any, seed: int) -> Queue:
    return FqCoDelQueue(limit, discipline, seed)


def _pie(limit: QueueLimit, discipline: Any, seed: int) -> Queue:
    return PieQueue(limit, discipline, stream(seed, "pie"))


def _red(limit: QueueLimit, discipline: Any, seed: int) -> Queue:
    return RedQueue(limit, discipline, stream(seed, "red"))


QUEUES: Mapping[type[Any], Callable[[QueueLimit, Any, int], Queue]] = {
    CoDel: _codel,
    FqCoDel: _fq_codel,
    Pie: _pie,
    Red: _red,
}
"""Discipline -> maker of its queue, from (limit, discipline, seed)."""


def make_queue(limit: QueueLimit, seed: int) -> Queue:
    """What ``limit`` says; drop-tail without a discipline."""
    if limit.discipline is None:
        return Queue(limit)
    return QUEUES[type(limit.discipline)](limit, limit.discipline, seed)
