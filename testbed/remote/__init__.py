"""Experiments on other machines: connections, providers of machines, and runs that are sent, watched and fetched.

    Provider.up() -> Target     ssh: the inventory; vagrant: starts one; later QEMU
    Session.connect(Target)     run, stream, push_tree, pull_tree, start_detached, reattach
    opened("ssh:HOST")          what carries out run requests there

paramiko takes a fifth of a second to import, so that waits until something of it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from testbed.remote.provider import Provider
    from testbed.remote.remote_run import opened
    from testbed.remote.session import Session
    from testbed.remote.target import Target

__all__ = ["Provider", "Session", "Target", "opened"]

_HOMES = {"Provider": "provider", "Session": "session", "Target": "target", "opened": "remote_run"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
