"""Queue disciplines: who waits in front of a line, who leaves next, who is dropped or marked.

Pure, in integer time given with each call; chance comes from a seeded stream. :mod:`testbed.net.managed_direction`
puts one in front of a line.
"""

from __future__ import annotations

from testbed.net.queues.base import Queue, Waiting
from testbed.net.queues.catalog import QUEUES, make_queue

__all__ = ["QUEUES", "Queue", "Waiting", "make_queue"]
