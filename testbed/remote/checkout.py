"""The working tree as it is sent: exactly the files that git tracks, with their uncommitted changes, named by content.

What git does not track stays here: secrets beside the code, runs, environments. New files are sent once they are added.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from os import fsdecode, fsencode
from pathlib import Path

from testbed.orchestrator import environment, process
from testbed.orchestrator.errors import TestbedError, Unsupported
from testbed.remote.errors import UnsafeTree
from testbed.remote.trees import Entry, checked_link

LOCK_FILE = "requirements.lock"
_DIGITS = 20
"""Of a digest, in names of directories: 80 bits."""
_GIT_S = 30.0


@dataclass(frozen=True, slots=True)
class Checkout:
    """Everything in memory (9 MB), so that what is sent is what was digested, whoever edits meanwhile."""

    entries: tuple[Entry, ...]
    digest: str
    """Of names, contents, links and what run.json will say of the source."""
    environment: str
    """Of the locked dependencies: checkouts of the same share one environment."""
    dirty: bool
    untracked: tuple[str, ...]
    """New files that git was told nothing of (and not to ignore): they are not sent."""

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(len(entry.content) for entry in self.entries if isinstance(entry.content, bytes))


def read_checkout(root: Path = environment.ROOT) -> Checkout:
    """The checkout that this program runs from. Raises Unsupported when it is none, UnsafeTree for a link out of it."""
    deleted = set(_names(root, "--deleted"))
    names = sorted(name for name in set(_names(root, "--cached")) - deleted)
    entries = [_entry(root, fsdecode(name)) for name in names]
    source = environment.source(root)
    source["tree"] = _digest(entries)
    entries.append(Entry(environment.SHIPPED, content=json.dumps(source).encode() + b"\n"))
    locks = [entry.content for entry in entries if entry.name == LOCK_FILE]
    lock = locks[0] if locks and isinstance(locks[0], bytes) else b""
    return Checkout(
        tuple(entries),
        _digest(entries)[:_DIGITS],
        environment_name(lock),
        bool(source["dirty"]),
        tuple(sorted(fsdecode(name) for name in _names(root, "--others", "--exclude-standard"))),
    )


def environment_name(lock: bytes) -> str:
    """What an environment with these locked dependencies is called there; provision/guest.sh calls it the same."""
    return hashlib.sha256(lock).hexdigest()[:_DIGITS]


def _names(root: Path, *which: str) -> list[bytes]:
    """As bytes: a name need not be text."""
    with tempfile.TemporaryDirectory() as folder:
        listing = Path(folder) / "names"
        argv = ["git", "-c", f"safe.directory={root}", "-C", str(root), "ls-files", "-z", *which]
        try:
            with process.start(argv, stdout=listing) as git:
                git.succeed(_GIT_S)
        except TestbedError as error:
            raise Unsupported(
                f"{root} cannot be sent: it is no git checkout, or git is missing ({error}); another machine gets "
                "exactly the files that git tracks"
            ) from None
        return [name for name in listing.read_bytes().split(b"\0") if name]


def _entry(root: Path, name: str) -> Entry:
    path = root / name
    if path.is_symlink():
        return Entry(name, link=checked_link(root, path))
    if not path.is_file():
        raise UnsafeTree(f"{path} is tracked and is no file any more: commit, or restore it")
    return Entry(name, bool(path.stat().st_mode & 0o100), path.read_bytes())


def _digest(entries: Sequence[Entry]) -> str:
    sha = hashlib.sha256()
    for entry in entries:
        content = entry.content if isinstance(entry.content, bytes) else fsencode(entry.link or "")
        kind = b"link" if entry.link is not None else b"program" if entry.executable else b"file"
        for part in (fsencode(entry.name), kind, content):
            sha.update(len(part).to_bytes(8, "big") + part)
    return sha.hexdigest()
