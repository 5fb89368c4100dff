"""Work on the other side that goes on when the connection does not: what its shell is told, as lists of words.

A job is a directory there::

    pid       number and start time (field 22 of /proc/PID/stat) of the command, and of the shell that waits for it:
              a number alone is used again
    stdout    stderr
    status    its exit code, when it has ended

The command has a session of its own (setsid(1)), so nothing that ends the connection reaches it. It is started in the
foreground of that session: what a shell starts with ``&`` ignores SIGINT, and so would every program it starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

TOOLS = ("setsid", "tail", "stat", "tar", "sed", "cut", "flock")
"""Programs that the other side needs for this and for the trees; every Debian has them."""

_TICKS = """ticks() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d ' ' -f 20; }"""

_START = r"""umask 077
mkdir -p -- "$1" && cd -- "$1" || exit 1
rm -f pid status stdout stderr
setsid -f sh -c '
{ cd -- "$2" && sh -c "$3" sh "$@"; } </dev/null >"$1/stdout" 2>"$1/stderr"
echo "$?" >"$1/status.new" && mv "$1/status.new" "$1/status"' sh "$@" </dev/null >/dev/null 2>&1
n=0
while [ ! -s pid ] && [ ! -s status ]; do
    n=$((n + 1)); [ "$n" -lt 200 ] || { echo "it did not start within 10 s" >&2; exit 1; }
    sleep 0.05
done"""
_COMMAND = (
    _TICKS
    + r"""
echo "$$ $(ticks $$) $PPID $(ticks "$PPID")" >"$1/pid.new" && mv "$1/pid.new" "$1/pid"
shift 3
exec "$@"
"""
)

_STATE = (
    _TICKS
    + r"""
cd -- "$1" 2>/dev/null || { echo absent; exit 0; }
while :; do
    if [ -s status ]; then echo "ended $(cat status)"; exit 0; fi
    [ -s pid ] || { echo absent; exit 0; }
    read -r pid began shell shell_began <pid
    if [ "$(ticks "$pid")" = "$began" ]; then echo "running $pid"; exit 0; fi
    if [ "$(ticks "$shell")" = "$shell_began" ]; then sleep 0.05; continue; fi  # about to write the exit code
    [ -s status ] || { echo lost; exit 0; }
done"""
)

_SIGNAL = (
    _TICKS
    + r"""
cd -- "$1" && read -r pid began _ <pid && [ "$(ticks "$pid")" = "$began" ] && kill "-$2" "$pid"
exit 0"""
)


@dataclass(frozen=True, slots=True)
class State:
    """What has become of a job."""

    word: Literal["absent", "running", "ended", "lost"]
    """``lost``: it is gone without an exit code, as after a reboot."""
    pid: int | None = None
    code: int | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """What the shell said."""
        match text.split():
            case ["running", pid]:
                return cls("running", pid=int(pid))
            case ["ended", code]:
                return cls("ended", code=int(code))
            case ["absent"]:
                return cls("absent")
            case _:
                return cls("lost")


def start_words(argv: Sequence[str], job: str, cwd: str) -> list[str]:
    """Start ``argv`` in ``cwd``; returns when it has a pid."""
    return ["sh", "-c", _START, "sh", job, cwd, _COMMAND, *argv]


def state_words(job: str) -> list[str]:
    """Ask for its :class:`State`."""
    return ["sh", "-c", _STATE, "sh", job]


def follow_words(job: str, offset: int, pid: int | None) -> list[str]:
    """Its standard output from ``offset`` on; with ``pid`` until that has ended."""
    follow = ["-f", "-s", "0.2", f"--pid={pid}"] if pid is not None else []
    return ["tail", "-c", f"+{offset + 1}", *follow, "--", f"{job}/stdout"]


def said_words(job: str) -> list[str]:
    """How many bytes its standard output has."""
    return ["stat", "-c", "%s", "--", f"{job}/stdout"]


def signal_words(job: str, number: int) -> list[str]:
    """Send it a signal."""
    return ["sh", "-c", _SIGNAL, "sh", job, str(number)]
