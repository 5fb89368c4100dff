"""A guest made ready for the testbed: all that it needs is on its disks (site_packages.py, checkout_image.py).

What a trial starts is read once before anything is measured: on virtual time a wait for a disk is a leap of hours.
"""

from __future__ import annotations

from typing import Literal

from testbed import compilation
from testbed.orchestrator.errors import CommandFailed, Unsupported
from testbed.remote.far import FarMachine
from testbed.vm import bytecode
from testbed.vm.checkout_image import MOUNTED, build_here
from testbed.vm.rootfs import PYTHON
from testbed.vm.site_packages import MOUNTED as SITE

WARM_S = 600.0
_WARM = r"""
grep -q '^/dev/pmem' /proc/mounts && exit 0 # disks that are memory: nobody waits for them
cd "$1" && cat build/compiled/*/*.so build/compiled/*/*/*.so >/dev/null 2>&1
find testbed/emulation testbed/endpoint testbed/wire topologies /usr/lib/python3.*/__pycache__ -name '*.pyc' \
    -exec cat {} + >/dev/null
for tool in tc ip ss tcpdump ethtool nft iperf3 mptcpize nstat; do "$tool" --version; done </dev/null >/dev/null 2>&1
exec python3 -c 'import testbed.orchestrator'
"""


class GuestMachine(FarMachine):
    """One guest of ours; root, and nothing in it outlives it."""

    def make_ready(self, backend: Literal["sim", "mininet"]) -> str:
        """It was booted with the checkout, and what its kernel lacks was found when that was fetched. What a trial
        starts is read once. Raises Unsupported with the guest's words."""
        try:
            self.session.run([*self._environment(), "sh", "-c", _WARM, "sh", MOUNTED], deadline_s=WARM_S)
        except CommandFailed as error:
            raise Unsupported(f"{self.name}: the testbed does not start there: {error}") from None
        return MOUNTED

    def testbed_words(self, checkout_directory: str, *, as_root: bool) -> list[str]:
        """The guest's own Python with our packages."""
        return self.module_words("testbed")

    def module_words(self, module: str) -> list[str]:
        """The same for any module."""
        return [*self._environment(), "python3", "-m", module]

    def _environment(self) -> list[str]:
        own = [f"PYTHONPATH={MOUNTED}:{SITE}"]
        if (build := build_here()) is not None:
            own.append(f"{compilation.BUILD_VARIABLE}={build.name}")
        # where bytecode could not be made beforehand, it is made once
        return ["env", *own, *([] if bytecode.fits(PYTHON) else [f"PYTHONPYCACHEPREFIX={self.directory}/bytecode"])]
