"""What every test shares: markers that need something of the machine skip with the reason when it is not there."""

from __future__ import annotations

import atexit
import errno
import gc
import os
import shutil
import signal
import socket
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent / "support"))
sys.path.insert(0, str(Path(__file__).parent / "conformance"))  # the checklist and its document

IPPROTO_MPTCP = 262

# Time on a machine that others share says nothing of the code; benchmarks/ measures it.
settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")

# Who is started in the background ignores SIGINT, and so would every program that a test starts and interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Tests run side by side, and their emulated trials ask for no number that another one could spoil: no turns here.
os.environ["TESTBED_LOCK_DIRECTORY"] = tempfile.mkdtemp(prefix="testbed-locks-")
atexit.register(shutil.rmtree, os.environ["TESTBED_LOCK_DIRECTORY"], ignore_errors=True)


def pytest_collection_finish() -> None:
    """What is imported by now is no garbage: every simulated trial collects, and need not look at all of it again."""
    gc.collect()
    gc.freeze()


def _why_not_root() -> str:
    return "" if os.geteuid() == 0 else "needs root: makes network namespaces and raw sockets"


def _why_not_mptcp() -> str:
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP).close()
    except OSError as error:
        return f"needs the kernel's MPTCP: {errno.errorcode.get(error.errno or 0, '?')}"
    return ""


def _why_no_browser() -> str:
    missing = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    return f"needs a browser: {' and '.join(missing)} not on PATH" if missing else ""


def _why_no_sshd() -> str:
    found = shutil.which("sshd", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    return "" if found else "needs sshd: apt install openssh-server"


def _why_no_qemu() -> str:
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    packages = {"qemu-system-x86_64": "qemu-system-x86", "busybox": "busybox-static"}
    missing = [package for name, package in packages.items() if shutil.which(name, path=path) is None]
    return f"needs QEMU: apt install {' '.join(missing)}" if missing else ""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # The longest of all is one test: begun last, it would keep one processor waiting for the other at the end.
    items.sort(key=lambda item: item.path.name != "test_compilation.py")
    reasons = {
        "needs_root": _why_not_root(),
        "needs_mptcp": _why_not_mptcp(),
        "needs_browser": _why_no_browser(),
        "needs_sshd": _why_no_sshd(),
        "needs_qemu": _why_no_qemu(),
    }
    for item in items:
        if item.get_closest_marker("needs_root") or item.path.name == "test_killed_sim_runs.py":
            # Real kernels and processes on a machine that others share: a failure has to be repeatable to count. The
            # summary shows what passed at the second try; nothing that is deterministic gets one.
            item.add_marker(pytest.mark.flaky(reruns=1))
        if item.get_closest_marker("needs_qemu") or item.path.name == "test_compilation.py":
            item.add_marker(pytest.mark.timeout(900))  # a kernel boots under emulation; every stack is compiled
        for marker, reason in reasons.items():
            if reason and item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))
