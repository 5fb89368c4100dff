"""The other machine made ready: looked at, given the checkout, its environment made, asked what it can do.

There, under the target's directory (``~/.cache/mptcp-testbed``)::

    checkouts/DIGEST/       a working tree as it was sent; .venv and build are links to the next two
    environments/DIGEST/    the locked dependencies, shared by all checkouts that have the same
    build/                  compiled stacks, named by their sources, shared as well
    jobs/EXPERIMENT-.../    a run: its request, its words, its run directory; gone once it was fetched
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Literal

from testbed.orchestrator.errors import CommandFailed, InvalidTrial, Unsupported
from testbed.remote import detached
from testbed.remote.checkout import Checkout, read_checkout
from testbed.remote.session import Session

SETUP_S = 1800.0
"""The first time: pip fetches some 150 MB, and the stacks are compiled."""
DOCTOR_S = 600.0
"""As root, ./tb first installs the system packages that are missing."""
UNUSED_DAYS = 30
"""Checkouts and environments that nobody used for so long are removed."""

_LOOK = r"""
missing=
for tool in "$@"; do command -v "$tool" >/dev/null 2>&1 || missing="$missing $tool"; done
printf 'home=%s\n' "$HOME"
printf 'system=%s\n' "$(uname -s)"
printf 'kernel=%s\n' "$(uname -r)"
printf 'architecture=%s\n' "$(uname -m)"
printf 'missing=%s\n' "${missing# }"
"""

_INSTALL = r"""
cd -- "$1" || exit 1
mkdir -p "environments/$3" build checkouts
ln -sfn "../../environments/$3" "$2/.venv" && ln -sfn ../../build "$2/build" || exit 1
[ -d "checkouts/$4" ] || mv -- "$2" "checkouts/$4" 2>/dev/null
rm -rf -- "$2"
[ -d "checkouts/$4" ]
"""

_PREPARE = r"""
umask 077
cd -- "$1" || exit 1
mkdir -p "environments/$3" build
touch "checkouts/$2" "environments/$3"
find checkouts environments -mindepth 1 -maxdepth 1 -type d -mtime "+$4" -exec rm -rf -- {} +
find . -mindepth 1 -maxdepth 1 -name '.sending-*' -mmin +600 -exec rm -rf -- {} +
cd "checkouts/$2" || exit 1
[ -e .prepared ] && [ -x .venv/bin/python ] && exit 0
flock "../../environments/$3.lock" ./tb setup </dev/null 2>&1 || exit $?
: >.prepared
"""


class FarMachine:
    """One machine, looked at once; every method tells in which state it leaves it."""

    def __init__(self, session: Session, say: Callable[[str], None]) -> None:
        self.session = session
        self._say = say
        self.name = session.target.name
        self.facts = self._look()
        self.directory = self._absolute(session.target.directory)

    # --- what it is ---

    def _look(self) -> Mapping[str, str]:
        text = self.session.run(["sh", "-c", _LOOK, "sh", *detached.TOOLS])
        facts = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
        if facts.get("system") != "Linux":
            raise Unsupported(f"{self.name}: runs {facts.get('system') or 'no POSIX shell'}; the testbed needs Linux")
        if facts.get("missing"):
            raise Unsupported(
                f"{self.name}: {facts['missing']} not found there; on Debian: apt install util-linux coreutils sed tar"
            )
        return facts

    def _absolute(self, directory: str) -> str:
        return self.facts["home"].rstrip("/") + directory[1:] if directory.startswith("~/") else directory

    # --- the checkout ---

    def make_ready(self, backend: Literal["sim", "mininet"]) -> str:
        """All that a run there needs; where the checkout is. Raises Unsupported with what is in the way."""
        checkout = read_checkout()
        directory = self.ship(checkout)
        self.prepare(checkout)
        self.check(directory, backend)
        return directory

    def ship(self, checkout: Checkout) -> str:
        """Send the checkout unless it is there; returns its directory. All or nothing."""
        final = f"{self.directory}/checkouts/{checkout.digest}"
        if self.session.execute(["test", "-d", final]).code != 0:
            size = f"{len(checkout.entries)} files, {checkout.size / 1e6:.1f} MB"
            changed = ", with changes that are not committed" if checkout.dirty else ""
            self._say(f"{self.name}: sending the checkout ({size}{changed})")
            if checkout.untracked:
                more = f" and {len(checkout.untracked) - 1} more" if checkout.untracked[1:] else ""
                which = f"{checkout.untracked[0]!r}{more}"
                self._say(f"{self.name}: not sent, since git does not track it: {which} (git add)")
            staging = f"{self.directory}/.sending-{secrets.token_hex(4)}"
            self.session.push_entries(iter(checkout.entries), staging)
            argv = [self.directory, staging, checkout.environment, checkout.digest]
            self.session.run(["sh", "-c", _INSTALL, "sh", *argv])
        elif checkout.dirty:
            self._say(f"{self.name}: has this checkout already, with its changes that are not committed")
        return final

    def prepare(self, checkout: Checkout) -> None:
        """Make its environment, and compile, unless that was done. Raises Unsupported with what tb said."""
        words = [self.directory, checkout.digest, checkout.environment, str(UNUSED_DAYS)]
        if self.session.execute(["test", "-e", f"{self.directory}/checkouts/{checkout.digest}/.prepared"]).code != 0:
            self._say(f"{self.name}: ./tb setup there (minutes the first time: locked dependencies, compiled stacks)")
        last = ""
        try:
            for line in self.session.stream(["sh", "-c", _PREPARE, "sh", *words], deadline_s=SETUP_S):
                last = line.decode(errors="replace").strip() or last
                if last.startswith("tb: "):
                    self._say(f"{self.name}: {last}")
        except CommandFailed as error:
            said = last.removeprefix("tb: ") or str(error)
            raise Unsupported(f"{self.name}: ./tb setup fails there: {said}") from None

    def testbed_words(self, checkout_directory: str, *, as_root: bool) -> list[str]:
        """What begins a command of the testbed there; root leaves no files in what is the user's."""
        return [*(["env", "PYTHONDONTWRITEBYTECODE=1"] if as_root else []), f"{checkout_directory}/tb"]

    def check(self, checkout_directory: str, backend: Literal["sim", "mininet"]) -> None:
        """Ask ``testbed doctor`` there. Raises Unsupported with the obstacle, and how to remove it."""
        as_root = backend == "mininet"
        argv = [*self.testbed_words(checkout_directory, as_root=as_root), "doctor", "--json"]
        done = self.session.execute(argv, as_root=as_root, deadline_s=DOCTOR_S)
        try:
            answer = json.loads(done.stdout)
        except ValueError:
            raise Unsupported(f"{self.name}: ./tb doctor fails there: {last_words(done.stderr, done.code)}") from None
        if as_root and answer["obstacle"]:
            raise Unsupported(f"{self.name}: no experiments on real kernels there: {answer['obstacle']}")
        missing = [feature["name"] for feature in answer["features"] if not feature["available"]]
        if as_root and missing:
            self._say(f"{self.name}: not there: {', '.join(missing)} (./tb doctor there says what needs them)")

    # --- jobs ---

    def jobs(self, prefix: str) -> list[str]:
        """Directories of the jobs whose name begins like this, the newest first."""
        argv = [
            "find",
            f"{self.directory}/jobs",
            "-mindepth",
            "1",
            "-maxdepth",
            "1",
            "-type",
            "d",
            "-name",
            f"{prefix}*",
        ]
        done = self.session.execute(argv)
        return sorted(done.stdout.decode(errors="replace").splitlines(), key=_when, reverse=True)

    def write(self, path: str, content: bytes) -> None:
        """A file, with the directory it is in."""
        script = 'umask 077 && mkdir -p -- "$(dirname -- "$1")" && cat >"$1.new" && mv -- "$1.new" "$1"'
        done = self.session.execute(["sh", "-c", script, "sh", path], stdin=content)
        if done.code != 0:
            raise InvalidTrial(f"{self.name}: {path} cannot be written: {last_words(done.stderr, done.code)}")

    def tail(self, path: str, *, as_root: bool) -> str:
        """The end of a file, empty when there is none."""
        done = self.session.execute(["tail", "-c", "4000", "--", path], as_root=as_root)
        return done.stdout.decode(errors="replace")

    def remove(self, path: str, *, as_root: bool) -> None:
        """A directory of ours. Raises InvalidTrial for any other."""
        if PurePosixPath(path).parent.parent != PurePosixPath(self.directory):
            raise InvalidTrial(f"{path} is none of the testbed's directories on {self.name}")
        try:
            self.session.run(["rm", "-rf", "--", path], as_root=as_root)
        except CommandFailed as error:
            self._say(f"{self.name}: {path} could not be removed: {error}")


def last_words(stderr: bytes | str, code: int) -> str:
    """The last line that a program said before it failed."""
    text = stderr.decode(errors="replace") if isinstance(stderr, bytes) else stderr
    lines: Sequence[str] = text.strip().splitlines()
    return lines[-1].removeprefix("testbed: ").removeprefix("tb: ") if lines else f"exit code {code}"


def _when(job: str) -> str:
    """Names end with ``-TIME-RANDOM``."""
    return "-".join(job.rsplit("-", 2)[-2:])
