"""A machine that can be reached by SSH: the value that every provider yields and every session starts from."""

from __future__ import annotations

import base64
import binascii
import getpass
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from testbed.orchestrator.spec import SpecificationError

SSH_PORT = 22
"""RFC 4253 section 4.1."""
DIRECTORY = "~/.cache/mptcp-testbed"
"""Where the testbed works on the other machine, unless the inventory says otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where it is, who we are there, and by which key we know it."""

    name: str
    """What the user calls it."""
    host: str
    port: int = SSH_PORT
    user: str = field(default_factory=getpass.getuser)
    key: Path | None = None
    """Private key file; None: the agent's keys and the user's usual ones."""
    host_key: str | None = None
    """The one host key that is accepted, as in a .pub file: type and base64; None: what known_hosts files say."""
    clock: Literal["real", "virtual"] = "real"
    """Whether its seconds are ours (QEMU can count instructions instead)."""
    machine: Mapping[str, str] = field(default_factory=dict)
    """What it consists of, when it was made for the run: kernel, processors, memory ..."""
    capabilities: Mapping[str, Any] = field(default_factory=dict)
    """What was found there (counters, lengths of structures ...): discovered, never derived from a version. Values of
    JSON; null where it could not be found out."""
    directory: str = DIRECTORY
    jump: Target | None = None
    """Through which machine it is reached."""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.user}@{host}:{self.port}"


def split_host_key(text: str) -> tuple[str, bytes]:
    """Type and content of a public key in the form of a .pub file. Raises SpecificationError."""
    words = text.split()
    if len(words) < 2:
        raise SpecificationError("it is two words as in a .pub file: ssh-ed25519 AAAA...")
    try:
        content = base64.b64decode(words[1], validate=True)
    except binascii.Error:
        raise SpecificationError(f"its second word is no base64: {words[1][:16]}...") from None
    length = int.from_bytes(content[:4], "big")  # RFC 4253 section 6.6: the content begins with its type
    if content[4 : 4 + length] != words[0].encode():
        raise SpecificationError(f"its content is not of the type {words[0]}; copy the whole line of the .pub file")
    return words[0], content
