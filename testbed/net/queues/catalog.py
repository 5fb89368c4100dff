"""Which class does what a discipline says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from testbed.net.queues.base import Queue
from testbed.net.queues.codel import CoDelQueue
from testbed.net.queues.fq_codel import FqCoDelQueue
from topologies.link_profile import QueueLimit
from topologies.queue_discipline import CoDel, FqCoDel


def _codel(limit: QueueLimit, discipline: Any, seed: int) -> Queue:
    return CoDelQueue(limit, discipline)


def _fq_codel(limit: QueueLimit, discipline: Any, seed: int) -> Queue:
    return FqCoDelQueue(limit, discipline, seed)


QUEUES: Mapping[type[Any], Callable[[QueueLimit, Any, int], Queue]] = {CoDel: _codel, FqCoDel: _fq_codel}
"""Discipline -> maker of its queue, from (limit, discipline, seed)."""


def make_queue(limit: QueueLimit, seed: int) -> Queue:
    """What ``limit`` says; drop-tail without a discipline."""
    if limit.discipline is None:
        return Queue(limit)
    return QUEUES[type(limit.discipline)](limit, limit.discipline, seed)
