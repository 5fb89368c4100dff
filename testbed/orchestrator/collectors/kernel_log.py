"""What the kernel logged during a trial: a warning of the stack under test is a finding.

Source: /dev/kmsg (Documentation/ABI/testing/dev-kmsg in the kernel tree). Its times are those of the scheduler's clock,
which runs close to CLOCK_MONOTONIC (it ignores clock slewing): good to tell what a message belongs to.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass

DEVICE = "/dev/kmsg"
RECORD_BYTES = 8192
"""The longest record that the kernel gives."""


@dataclass(frozen=True, slots=True)
class KernelMessage:
    """One record."""

    time_ns: int
    """Since the epoch of the trial."""
    level: int
    """syslog(2): 0 emergency ... 4 warning ... 7 debug."""
    text: str


class KernelLogCollector:
    """Everything logged between start and stop. ``reason`` says why not, when it may not be read."""

    def __init__(self, device: str = DEVICE) -> None:
        self.reason = ""
        self.overwritten = False
        """The kernel's buffer was too small: the oldest messages of this trial are lost."""
        self._device = device
        self._descriptor = -1
        self._t0_ns = 0

    def start(self, t0_ns: int) -> None:
        """From now on."""
        self._t0_ns = t0_ns
        try:
            self._descriptor = os.open(self._device, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            os.lseek(self._descriptor, 0, os.SEEK_END)
        except OSError as error:
            self.reason = f"{self._device} cannot be read: {error.strerror} (needs root, or kernel.dmesg_restrict=0)"

    def stop(self) -> list[KernelMessage]:
        """All of them; empty when there was no permission."""
        if self._descriptor < 0:
            return []
        try:
            return self._read_all()
        finally:
            os.close(self._descriptor)
            self._descriptor = -1

    def _read_all(self) -> list[KernelMessage]:
        messages: list[KernelMessage] = []
        while True:
            try:
                record = os.read(self._descriptor, RECORD_BYTES)
            except BlockingIOError:
                return messages
            except OSError as error:
                if error.errno != errno.EPIPE:
                    raise
                self.overwritten = True
                continue
            if not record:
                return messages
            messages.append(parse_record(record.decode(errors="replace"), self._t0_ns))


def parse_record(record: str, t0_ns: int) -> KernelMessage:
    """``level+facility,number,microseconds,flags;text`` and a dictionary on further lines, which is left out."""
    head, _, rest = record.partition(";")
    priority, _, time_us, *_ = head.split(",")
    return KernelMessage(int(time_us) * 1000 - t0_ns, int(priority) & 7, rest.splitlines()[0] if rest else "")
