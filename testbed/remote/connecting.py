"""Making the connection: the host key first, then the key or the agent; every refusal says what to do about it."""

from __future__ import annotations

import logging
import socket
from pathlib import Path
from typing import NoReturn

import paramiko

from testbed.remote.errors import HostKeyRefused, Unreachable
from testbed.remote.target import SSH_PORT, Target, split_host_key

CONNECT_S = 15.0
"""For each of: the TCP connection, the banner, the authentication."""
KEEPALIVE_S = 10
"""Something is sent at least this often, so that a dead path shows itself."""
DEAD_AFTER_MS = 30_000
"""TCP gives up when nothing was acknowledged for this long (tcp(7), TCP_USER_TIMEOUT); its own limit is 15 minutes."""

_NO_KEY = "No authentication methods available"
"""paramiko's words when there was nothing to try."""

logging.getLogger("paramiko").addHandler(logging.NullHandler())  # its errors are ours to tell


def connect(target: Target, deadline_s: float) -> list[paramiko.SSHClient]:
    """The clients on the way, that of the target last. Raises Unreachable, of these HostKeyRefused."""
    way = connect(target.jump, deadline_s) if target.jump else []
    client = paramiko.SSHClient()
    try:
        channel = _channel_through(way[-1], target, deadline_s) if way else None
        _know(client, target)
        _authenticate(client, target, channel, deadline_s)
        transport = client.get_transport()
        assert transport is not None
        transport.set_keepalive(KEEPALIVE_S)
        if isinstance(transport.sock, socket.socket):
            transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, DEAD_AFTER_MS)
    except BaseException:
        for each in (client, *reversed(way)):
            each.close()
        raise
    return [*way, client]


def _know(client: paramiko.SSHClient, target: Target) -> None:
    """Tell the client by which key the machine is known."""
    client.set_missing_host_key_policy(_RefuseUnknown(target))
    if target.host_key is not None:
        kind, content = split_host_key(target.host_key)
        try:
            key = paramiko.PKey.from_type_string(kind, content)
        except (paramiko.SSHException, ValueError) as error:
            raise HostKeyRefused(f"{target.name}: its pinned host key ({kind}) cannot be used: {error}") from None
        client.get_host_keys().add(_known_as(target), kind, key)
        return
    for path in (Path.home() / ".ssh" / "known_hosts", Path("/etc/ssh/ssh_known_hosts")):
        if path.is_file():
            client.load_system_host_keys(str(path))


def _known_as(target: Target) -> str:
    """The name in known_hosts (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT)."""
    return target.host if target.port == SSH_PORT else f"[{target.host}]:{target.port}"


class _RefuseUnknown(paramiko.RejectPolicy):
    """Says which key was shown and where it would have to stand."""

    def __init__(self, target: Target) -> None:
        self._target = target

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> NoReturn:
        """Always refuses."""
        raise HostKeyRefused(
            f"{self._target.name}: its host key is not known; {self._target} shows {key.get_name()} {key.fingerprint}. "
            "Compare that on the machine itself (ssh-keygen -lf /etc/ssh/ssh_host_*_key.pub); if it is the same, put "
            f'host_key = "{key.get_name()} {key.get_base64()}" under [hosts.{self._target.name}] in hosts.toml'
        )


def _authenticate(
    client: paramiko.SSHClient, target: Target, channel: paramiko.Channel | None, deadline_s: float
) -> None:
    own = target.key is not None
    if target.key is not None and not target.key.is_file():
        raise Unreachable(f"{target.name}: there is no key file {target.key}; correct 'key', or make it: ssh-keygen")
    try:
        client.connect(
            target.host,
            target.port,
            target.user,
            key_filename=str(target.key) if own else None,
            allow_agent=not own,
            look_for_keys=not own,
            timeout=deadline_s,
            banner_timeout=deadline_s,
            auth_timeout=deadline_s,
            channel_timeout=deadline_s,
            sock=channel,
        )
    except paramiko.BadHostKeyException as error:
        shown, pinned = error.key, error.expected_key
        raise HostKeyRefused(
            f"{target.name}: {target} shows another host key than the known one: {shown.get_name()} "
            f"{shown.fingerprint} instead of {pinned.fingerprint}. Unless the machine was installed anew, somebody is "
            "in between; if it was, correct host_key in hosts.toml, or known_hosts"
        ) from None
    except paramiko.PasswordRequiredException:
        which = f"key {target.key}" if own else "a key"
        raise Unreachable(
            f"{target.name}: {which} is encrypted: unlock it in the agent (ssh-add) and leave 'key' out"
        ) from None
    except paramiko.AuthenticationException as error:
        which = f"the key {target.key}" if own else "every key of the agent and of ~/.ssh"
        raise Unreachable(
            f"{target.name}: {target} refuses {which} ({_in_words(error)}); ssh-copy-id puts a public key there, 'key' "
            "and 'user' in hosts.toml name another"
        ) from None
    except (paramiko.SSHException, EOFError, OSError, ValueError) as error:
        if _NO_KEY in str(error):
            advice = "make one (ssh-keygen) and put it there (ssh-copy-id), or name one as 'key' in hosts.toml"
            raise Unreachable(
                f"{target.name}: neither an agent nor ~/.ssh has a key to log in with: {advice}"
            ) from None
        raise Unreachable(f"{target.name}: no SSH connection to {target}: {_in_words(error)}") from None


def _channel_through(client: paramiko.SSHClient, target: Target, deadline_s: float) -> paramiko.Channel:
    transport = client.get_transport()
    assert transport is not None
    try:
        return transport.open_channel("direct-tcpip", (target.host, target.port), ("127.0.0.1", 0), timeout=deadline_s)
    except (paramiko.SSHException, EOFError, OSError) as error:
        via = target.jump.name if target.jump else ""
        raise Unreachable(f"{target.name}: {via} does not reach {target}: {_in_words(error)}") from None


def _in_words(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).strip().rstrip(".") or type(error).__name__
