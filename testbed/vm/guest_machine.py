"""A guest made ready for the testbed: it has Python, its packages and the tools, and gets what the checkout alone has.

Nothing is installed and nothing compiled in it: the packages are a disk of the guest (site_packages.py), compiled
stacks are this machine's when they fit the guest's Python. All lies in the guest's memory, and is read once before
anything is measured: on virtual time a wait for a disk is a leap of hours.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path

from testbed import compilation
from testbed.orchestrator import environment
from testbed.orchestrator.errors import CommandFailed, Unsupported
from testbed.remote.checkout import Checkout
from testbed.remote.far import FarMachine
from testbed.remote.trees import Entry, entries_of
from testbed.vm.rootfs import PYTHON

SITE = "/opt/testbed-site"
"""Where the guest's init mounts the packages."""
NEEDED = ("testbed/", "topologies/", "experiments/", environment.SHIPPED)
"""Of a checkout: what carries out a run. Reports are made on the host."""
WARM_S = 600.0

_INSTALL = r"""
cd -- "$1" && mkdir -p checkouts jobs && { [ -d "checkouts/$3" ] || mv -- "$2" "checkouts/$3"; }
"""
_WARM = r"""
cd -- "$1" || exit 1
find "$2" /usr/lib/python3 /usr/lib/python3.* -type f \( -name '*.py' -o -name '*.so*' -o -name '*.pyc' \) \
    -exec cat {} + >/dev/null
PYTHONPATH="$1:$2" python3 -m compileall -q testbed topologies experiments
PYTHONPATH="$1:$2" python3 -m testbed run --help >/dev/null
"""


class GuestMachine(FarMachine):
    """One guest of ours; root, and nothing in it outlives it."""

    def ship(self, checkout: Checkout) -> str:
        """Send what a run needs of the checkout, with compiled stacks that fit."""
        final = f"{self.directory}/checkouts/{checkout.digest}"
        if self.session.execute(["test", "-d", final]).code == 0:
            return final
        entries = [entry for entry in checkout.entries if entry.name.startswith(NEEDED)]
        compiled = list(_compiled(self.session.target.capabilities.get("python")))
        staging = f"{self.directory}/.sending"
        self.session.push_entries(iter([*entries, *compiled]), staging)
        self.session.run(["sh", "-ec", _INSTALL, "sh", self.directory, staging, checkout.digest])
        return final

    def prepare(self, checkout: Checkout) -> None:
        """Read once whatever a run reads. Raises Unsupported with the guest's words."""
        argv = ["sh", "-c", _WARM, "sh", f"{self.directory}/checkouts/{checkout.digest}", SITE]
        try:
            self.session.run(argv, deadline_s=WARM_S)
        except CommandFailed as error:
            raise Unsupported(f"{self.name}: the testbed does not start there: {error}") from None

    def testbed_words(self, checkout_directory: str, *, as_root: bool) -> list[str]:
        """The guest's own Python with our packages."""
        return ["env", f"PYTHONPATH={checkout_directory}:{SITE}", "python3", "-m", "testbed"]


def _compiled(guest_python: object) -> Iterator[Entry]:
    """The files of the build that this process runs, when the guest's Python can load them."""
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    build = compilation.BUILDS / compilation.digest()
    if here != PYTHON or not str(guest_python).startswith(f"{PYTHON}.") or not compilation.status.compiled:
        return
    for entry in entries_of(build):
        yield dataclasses.replace(entry, name=str(Path("build/compiled") / build.name / entry.name))
