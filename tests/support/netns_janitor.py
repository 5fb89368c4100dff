"""Named network namespaces that go away with the process that asked for them, also when it is killed.

A child holds the other end of a pipe and the names it has been told; the end of the pipe, which no death can prevent,
makes it remove those that are still there.
"""

from __future__ import annotations

import functools
import subprocess

_JANITOR = """
trap '' INT TERM HUP
names=
while read -r word name; do
    case $word in
    add) names="$names $name" ;;
    del) kept=; for each in $names; do [ "$each" = "$name" ] || kept="$kept $each"; done; names=$kept ;;
    esac
done
for each in $names; do ip netns del "$each"; done
"""


def add(name: str) -> None:
    """Make the namespace."""
    _tell("add", name)  # first: one that was never made cannot be removed, and that does no harm
    _ip("add", name)


def remove(name: str) -> None:
    """Remove it."""
    _ip("del", name)
    _tell("del", name)


def _tell(word: str, name: str) -> None:
    janitor = _janitor()
    assert janitor.stdin is not None
    janitor.stdin.write(f"{word} {name}\n")
    janitor.stdin.flush()


@functools.cache
def _janitor() -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["sh", "-c", _JANITOR],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        text=True,
    )


def _ip(verb: str, name: str) -> None:
    result = subprocess.run(["ip", "netns", verb, name], text=True, capture_output=True, check=False)
    if result.returncode:
        raise RuntimeError(f"ip netns {verb} {name}: {result.stderr.strip()}")
