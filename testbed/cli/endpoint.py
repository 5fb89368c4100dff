"""``testbed endpoint``: the userspace MPTCP stack as a tool, like netcat, on this host's interfaces."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from testbed.cli import outcome

if TYPE_CHECKING:
    from testbed.endpoint.attached.tool import Order
    from testbed.mptcp.parameters import Parameters

STDIN, STDOUT = 0, 1
LONGEST_TIMEOUT_S = 1_000_000
"""epoll(7) waits at most 2^31 ms."""

endpoint = typer.Typer(
    name="endpoint",
    no_args_is_help=True,
    rich_markup_mode=None,
    help="The userspace MPTCP stack as a tool (like netcat), attached to this host's interfaces; needs root.",
)

_Profile = Annotated[str, typer.Option(help="Option policy and receiver rules: see 'testbed list policies'.")]
_Scheduler = Annotated[str | None, typer.Option(help="lowest-rtt, round-robin, redundant, blest, ecf.")]
_Control = Annotated[str | None, typer.Option("--cc", help="reno, cubic, cubic-no-hystart, lia, olia, balia.")]
_PathManager = Annotated[
    str | None, typer.Option(help="none, subflow, signal, fullmesh, ndiffports, backup.", show_default=False)
]
_File = Annotated[Path | None, typer.Option(help="Send this file instead of standard input.", dir_okay=False)]
_Output = Annotated[Path | None, typer.Option(help="Write what arrives here instead of standard output.")]
_Json = Annotated[bool, typer.Option("--json", help="Summary with all counters as JSON, on standard error.")]
_Pcap = Annotated[Path | None, typer.Option(help="Capture to NAME-INTERFACE.pcap beside this path.")]
_Tcp = Annotated[bool, typer.Option("--tcp", help="Plain TCP, no MPTCP options.")]
_Checksum = Annotated[bool, typer.Option("--checksum/--no-checksum", help="Ask for DSS checksums.")]
_Timestamps = Annotated[bool, typer.Option("--timestamps/--no-timestamps", help="Offer TCP timestamps.")]
_Offloads = Annotated[
    bool, typer.Option("--offloads/--no-offloads", help="Super-segments, cut by the kernel; or one packet at a time.")
]
_Interface = Annotated[
    list[str] | None, typer.Option("--interface", "-i", help="Only this interface; may be repeated.")
]
_Timeout = Annotated[float | None, typer.Option(help="Give up after so many seconds.", min=0.1)]
_Four = Annotated[bool, typer.Option("-4", help="IPv4 only.")]
_Six = Annotated[bool, typer.Option("-6", help="IPv6 only.")]
_StatusFd = Annotated[
    int | None, typer.Option(help="Say LISTENING, READY and CONNECTED, a line each, on this open descriptor.", min=1)
]
_Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Say nothing but errors.")]
_Port = Annotated[int, typer.Argument(help="TCP port.", min=1, max=65535, show_default=False)]


@endpoint.command("listen")
def listen(
    port: _Port,
    file: _File = None,
    output: _Output = None,
    profile: _Profile = "linux",
    scheduler: _Scheduler = None,
    cc: _Control = None,
    path_manager: _PathManager = None,
    tcp: _Tcp = False,
    checksum: _Checksum = False,
    timestamps: _Timestamps = True,
    offloads: _Offloads = True,
    interface: _Interface = None,
    four: _Four = False,
    six: _Six = False,
    timeout: _Timeout = None,
    pcap: _Pcap = None,
    status_fd: _StatusFd = None,
    as_json: _Json = False,
    quiet: _Quiet = False,
) -> None:
    """Wait for one connection; what arrives goes to standard output, standard input (or --file) to the peer.

    Example: sudo testbed endpoint listen 5001 --path-manager signal --json > received
    """
    parameters = _parameters(profile, scheduler, cc, path_manager, tcp, checksum, timestamps)
    _run(
        {
            "role": "listen", "port": port, "parameters": parameters,
            "offloads": offloads, "pcap": pcap, "status_fd": status_fd,
        },
        file, output, interface, four, six, timeout, as_json, quiet,
    )  # fmt: skip


@endpoint.command("connect")
def connect(
    host: Annotated[str, typer.Argument(help="Name or address of the peer.", show_default=False)],
    port: _Port,
    file: _File = None,
    output: _Output = None,
    local: Annotated[str | None, typer.Option(help="Address of this host for the first subflow.")] = None,
    control_fd: Annotated[
        int | None, typer.Option(help="When ready, wait for a line on this open descriptor, then connect.", min=1)
    ] = None,
    profile: _Profile = "linux",
    scheduler: _Scheduler = None,
    cc: _Control = None,
    path_manager: _PathManager = None,
    tcp: _Tcp = False,
    checksum: _Checksum = False,
    timestamps: _Timestamps = True,
    offloads: _Offloads = True,
    interface: _Interface = None,
    four: _Four = False,
    six: _Six = False,
    timeout: _Timeout = None,
    pcap: _Pcap = None,
    status_fd: _StatusFd = None,
    as_json: _Json = False,
    quiet: _Quiet = False,
) -> None:
    """Connect; standard input (or --file) goes to the peer, what arrives to standard output.

    Example: sudo testbed endpoint connect 10.0.2.1 5001 --file disk.img --path-manager fullmesh --json
    """
    parameters = _parameters(profile, scheduler, cc, path_manager, tcp, checksum, timestamps)
    _run(
        {
            "role": "connect", "remote": host, "local": local, "port": port, "parameters": parameters,
            "offloads": offloads, "pcap": pcap, "status_fd": status_fd, "control_fd": control_fd,
        },
        file, output, interface, four, six, timeout, as_json, quiet,
    )  # fmt: skip


def _parameters(
    profile: str,
    scheduler: str | None,
    cc: str | None,
    path_manager: str | None,
    tcp: bool,
    checksum: bool,
    timestamps: bool,
) -> Parameters:
    from testbed.endpoint.userspace.names import CONGESTION_CONTROLS, SCHEDULERS, UNCOUPLED
    from testbed.mptcp.path_manager.catalog import PATH_MANAGERS
    from testbed.mptcp.profiles import PROFILES

    chosen = PROFILES[_known("--profile", profile, tuple(PROFILES))]
    changes: dict[str, Any] = {"enabled": not tcp, "checksum": checksum}
    if scheduler is not None:
        changes["scheduler"] = _known("--scheduler", scheduler, SCHEDULERS)
    if cc is not None:
        changes["congestion_control"] = _known("--cc", cc, UNCOUPLED if tcp else CONGESTION_CONTROLS)
    if path_manager is not None:
        changes["path_manager"] = _known("--path-manager", path_manager, tuple(PATH_MANAGERS))
    if not timestamps:
        changes["tcp"] = dataclasses.replace(chosen.tcp, timestamps=False)
    return dataclasses.replace(chosen, **changes)


def _known(option: str, name: str, names: tuple[str, ...]) -> str:
    if name not in names:
        outcome.fail(f"{option} is one of {', '.join(names)}, not {name!r}", outcome.USAGE)
    return name


def _run(
    order: dict[str, Any],
    file: Path | None,
    output: Path | None,
    interfaces: list[str] | None,
    four: bool,
    six: bool,
    timeout_s: float | None,
    as_json: bool,
    quiet: bool,
) -> None:
    from testbed.endpoint.attached.tool import Order

    if four and six:
        outcome.fail("-4 and -6 exclude each other", outcome.USAGE)
    if timeout_s is not None and not timeout_s <= LONGEST_TIMEOUT_S:
        outcome.fail(f"--timeout is at most {LONGEST_TIMEOUT_S} s", outcome.USAGE)
    pcap: Path | None = order["pcap"]
    if pcap is not None and not os.access(pcap.parent, os.W_OK | os.X_OK):
        outcome.fail(f"--pcap {pcap}: {pcap.parent} is not a directory that can be written to", outcome.USAGE)
    made = Order(
        **order,
        family=4 if four else 6 if six else None,
        interfaces=tuple(interfaces) if interfaces else None,
        give_up_ns=round(timeout_s * 1e9) if timeout_s is not None else None,
    )
    for given, descriptor, name in ((file, STDIN, "input"), (output, STDOUT, "output")):
        if given is None and not _is_open(descriptor):  # before anything else gets its number
            outcome.fail(f"standard {name} is closed", outcome.USAGE)
    for option, wanted in (("--status-fd", made.status_fd), ("--control-fd", made.control_fd)):
        if wanted is not None and not _is_open(wanted):
            outcome.fail(f"{option} {wanted}: that descriptor is not open", outcome.USAGE)
    try:
        source = os.open(file, os.O_RDONLY) if file is not None else STDIN
        sink = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666) if output is not None else STDOUT
    except OSError as error:
        outcome.fail(f"{error.filename}: {error.strerror}", outcome.USAGE)
    with outcome.reported():
        code, summary = _carry_out(made, source, sink)
    if as_json:
        print(json.dumps(summary, indent=2), file=sys.stderr)
    elif not quiet and code == outcome.MET:
        print(_sentence(summary), file=sys.stderr)
    raise typer.Exit(code)


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _carry_out(order: Order, source: int, sink: int) -> tuple[int, dict[str, Any]]:
    from testbed.endpoint import interrupts
    from testbed.endpoint.attached.tool import Tool, ToolError
    from testbed.endpoint.loop import Loop

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # both end it alike: the peer is told
    loop = Loop()
    try:
        tool = Tool(order, loop, source, sink)
    except KeyboardInterrupt:
        outcome.fail("interrupted", outcome.INTERRUPTED)
    except ToolError as error:
        outcome.fail(str(error), outcome.USAGE)
    except OSError as error:  # AttachError, QuietError, PortsError among them
        words = error.args[-1] if error.args else error
        outcome.fail(f"cannot attach: {words}", outcome.UNSUPPORTED)
    try:
        with interrupts.between_calls(loop):
            result = tool.run()
    except KeyboardInterrupt:
        outcome.fail("interrupted", outcome.INTERRUPTED)
    if result.error is not None:
        print(f"testbed: {result.error}", file=sys.stderr)
    return (outcome.FAILED if result.error is not None else outcome.MET), result.summary


def _sentence(summary: dict[str, Any]) -> str:
    protocol = "TCP" if summary["fallback"] else "MPTCP"
    count = len(summary["subflows"])
    subflows = f", {count} subflow{'s' if count != 1 else ''}" if protocol == "MPTCP" else ""
    return (
        f"{protocol}{subflows}: sent {summary['bytes_sent']} bytes, received {summary['bytes_received']}"
        f" in {summary['duration_s']:.3f} s"
    )
