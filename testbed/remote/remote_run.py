"""A run on another machine: sent, watched, fetched whole. It goes on there when the connection does not.

What runs there is ``./tb run --spec FILE --messages`` of the checkout that was sent, detached from the connection. What
it says is read from its log by offset, so nothing is missed and nothing told twice however often the connection breaks.
A job is named by its experiment, so the same request finds it again (``--resume``): it is watched when it still runs,
fetched when it has ended, gone on with when it was stopped. The run directory is taken only when it is complete and
every digest in its run.json fits; then, and only then, its copy there is removed.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from testbed.orchestrator import spec
from testbed.orchestrator.errors import Interrupted, InvalidTrial, NotReady, TestbedError, Unsupported
from testbed.orchestrator.runner import OnMessage, RunRequest
from testbed.orchestrator.spec import SpecificationError
from testbed.record.errors import RecordError
from testbed.record.run_directory import RunDirectory
from testbed.remote import connecting, fetched, place, unfinished
from testbed.remote.errors import ConnectionLost, HostKeyRefused, MachineGone, Unreachable
from testbed.remote.far import FarMachine, last_words
from testbed.remote.host_clock import HostClock, write_stamps
from testbed.remote.place import Elsewhere
from testbed.remote.provider import Provider
from testbed.remote.session import Session
from testbed.remote.target import Target

PATIENCE_S = 300.0
"""How long a lost connection is tried again; the run there does not mind."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 20.0
"""Between two tries, doubled each time."""
STOP_S = 60.0
"""A run that was asked to stop takes everything down in this time."""
GUEST_STOP_S = 10.0
"""A machine that ends with the run needs not be left in order."""
_EXIT_USAGE, _EXIT_UNSUPPORTED, _EXIT_INTERRUPTED = 2, 4, 130

RunOne = Callable[[RunRequest, OnMessage], RunDirectory]


@contextmanager
def opened(backend: str) -> Iterator[RunOne]:
    """What carries out requests there, as ``runner.run`` does here: for each in turn, over one connection.

    ``backend`` is the whole of ``--backend``, ``ssh`` or ``vagrant`` (``testbed.vm`` boots machines of its own).
    Nothing is connected before the first request.
    """
    where = place.parse_backend(backend)
    with RemoteRuns(where, _provider(where)) as runs:
        yield runs.run


def _provider(where: Elsewhere) -> Provider:
    if where.kind == "ssh":
        from testbed.remote.ssh_provider import SshProvider

        assert where.place is not None
        return SshProvider(where.place)
    from testbed.remote.vagrant_provider import VagrantProvider

    return VagrantProvider(where.place.host if where.place else None)


@dataclass(slots=True)
class _Job:
    """A run there."""

    directory: str
    as_root: bool
    offset: int = 0
    """How much of its words was heard."""
    is_new: bool = False
    """It was started just now: nothing has been said that nobody heard."""
    clock: HostClock = field(default_factory=HostClock)
    run_path: str | None = None
    kept: Path | None = None
    """An unfinished run here that it goes on with."""
    done: bool = False
    """It has said that it is through, and its run directory is complete."""


class RemoteRuns:
    """The runs of one command line on one machine."""

    def __init__(
        self,
        where: Elsewhere,
        provider: Provider,
        *,
        made_of: Callable[[Session, Callable[[str], None]], FarMachine] = FarMachine,
        connect_s: float = connecting.CONNECT_S,
    ) -> None:
        """``made_of`` makes a machine of its session; ``connect_s`` is what a connection may take."""
        self._where = where
        self._provider = provider
        self._made_of = made_of
        self._connect_s = connect_s
        self._far: FarMachine | None = None
        self._checkout_there = ""
        self._say: Callable[[str], None] = lambda text: None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection, and a machine that was started for this alone."""
        try:
            if self._far is not None:
                self._far.session.close()
        finally:
            if self._provider.ends_with_the_run:
                self._provider.down()

    def run(self, request: RunRequest, on_message: OnMessage) -> RunDirectory:
        """Carry out ``request`` there; its run directory, fetched into ``request.parent``.

        Raises as ``runner.run`` does; Interrupted, too, when the connection is gone for good: the run goes on there.
        """
        self._say = lambda text: on_message({"kind": "note", "text": text})
        job: _Job | None = None
        try:
            far = self._connected()
            job = self._found_or_started(far, request)
            code = self._watched(job, on_message)
            if not job.done:
                raise self._failure(job, code)
            return self._fetched(job, request)
        except KeyboardInterrupt:
            self._keep(job, request, on_message)
            raise Interrupted("left; --resume fetches what is there" if job else "stopped by the user") from None
        except (TestbedError, RecordError):
            self._keep(job, request, on_message)
            raise

    def _keep(self, job: _Job | None, request: RunRequest, on_message: OnMessage) -> None:
        """What was done in a machine that is about to end comes here; elsewhere it stays where it is."""
        if self._provider.ends_with_the_run and self._far is not None and job is not None and job.run_path:
            with suppress(TestbedError):  # what it has not stored by now is lost in any case
                self._far.session.signal(job.directory, signal.SIGKILL, as_root=job.as_root)
            parent = request.parent / request.experiment.name
            path = unfinished.keep(self._far.session, job.run_path, parent, instead_of=job.kept)
            on_message({"kind": "kept", "path": str(path or job.kept or "") or None})

    # --- before ---

    def _connected(self) -> FarMachine:
        if self._far is None:
            session = Session.connect(self._provider.up(self._say), deadline_s=self._connect_s)
            try:
                self._far = self._made_of(session, self._say)
            except BaseException:
                session.close()
                raise
        return self._far

    def _sent_checkout(self, far: FarMachine) -> str:
        """Where it is there, ready to run; done once, and only when something is to be started."""
        if not self._checkout_there:
            self._checkout_there = far.make_ready(self._where.backend)
        return self._checkout_there

    def _found_or_started(self, far: FarMachine, request: RunRequest) -> _Job:
        prefix, as_root = self._job_prefix(request), self._where.backend == "mininet"
        earlier = far.jobs(prefix)
        if request.resume:
            for directory in earlier:
                job = _Job(directory, as_root)
                state = far.session.state(directory, as_root=as_root)
                if state.word == "running":
                    self._say(f"{far.name}: it still runs there, in {directory}")
                elif state.word != "ended" or not self._says_done(far, job):
                    self._say(f"{far.name}: going on with {directory}")
                    self._start(far, request, job, "--resume")
                return job
        elif any(far.session.state(directory, as_root=as_root).word == "running" for directory in earlier):
            self._say(f"{far.name}: the same already runs there; --resume would have watched it. This is another one")
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        job = _Job(f"{far.directory}/jobs/{prefix}{stamp}-{secrets.token_hex(2)}", as_root)
        job.kept = unfinished.find(request, self._where.text) if request.resume else None
        if job.kept is not None:
            self._say(f"{far.name}: going on with {job.kept}")
            unfinished.send(far.session, job.kept, job.directory)
        self._start(far, request, job, *(["--resume"] if job.kept is not None else []))
        return job

    def _start(self, far: FarMachine, request: RunRequest, job: _Job, *more: str) -> None:
        checkout = self._sent_checkout(far)
        document = {
            "experiment": spec.to_json(request.experiment),
            "command": list(request.command),
            "overrides": dict(request.overrides),
            "ran_on": self._ran_on(far.session.target),
            **self._more_of_a_request(),
        }
        request_file = f"{job.directory}.request.json"
        far.write(request_file, json.dumps(document).encode() + b"\n")
        words = [*far.testbed_words(checkout, as_root=job.as_root), "run", "--spec", request_file, "--messages", *more]
        words += ["--backend", self._where.backend, "--out", f"{job.directory}/runs"]
        words += ["--jobs", str(request.jobs)] if request.jobs is not None else []
        far.session.start_detached(
            words,
            job=job.directory,
            cwd=checkout,
            as_root=job.as_root,
        )
        job.is_new = True

    def _more_of_a_request(self) -> Mapping[str, Any]:
        """For whoever has more than one machine."""
        return {}

    def _ran_on(self, target: Target) -> dict[str, str]:
        """For run.json; what a machine that was booted for this consists of, and can do, is told with it."""
        told = {"backend": self._where.text, "host": str(target), "clock": target.clock, **target.machine}
        return {**told, "capabilities": json.dumps(dict(target.capabilities))} if target.capabilities else told

    def _job_prefix(self, request: RunRequest) -> str:
        words = f"{spec.digest(request.experiment)} {self._where.backend}"
        name = re.sub(r"[^A-Za-z0-9_.]", "_", request.experiment.name)
        return f"{name}-{hashlib.sha256(words.encode()).hexdigest()[:16]}-"

    def _says_done(self, far: FarMachine, job: _Job) -> bool:
        last = far.tail(f"{job.directory}/stdout", as_root=job.as_root).strip().rpartition("\n")[2]
        return bool(_message(last.encode())["kind"] == "done")

    # --- meanwhile ---

    def _watched(self, job: _Job, on_message: OnMessage) -> int | None:
        """Tell what it says until it has ended; its exit code, None when it was lost."""
        stop_by_s: float | None = None
        stop_s = GUEST_STOP_S if self._provider.ends_with_the_run else STOP_S
        asked = False
        far = self._far
        assert far is not None
        while True:
            left_s = None if stop_by_s is None else max(0.0, stop_by_s - time.monotonic())
            try:
                if stop_by_s is not None and not asked:  # once: a second time would kill what takes things down
                    far.session.signal(job.directory, signal.SIGTERM, as_root=job.as_root)
                    asked = True
                said = 0 if job.is_new else far.session.said(job.directory, as_root=job.as_root)
                job.is_new = False
                for line in far.session.reattach(job.directory, job.offset, as_root=job.as_root, deadline_s=left_s):
                    late = job.offset < said
                    job.offset += len(line) + 1
                    self._tell(job, line, on_message, late=late)
                return far.session.state(job.directory, as_root=job.as_root).code
            except KeyboardInterrupt:
                if stop_by_s is not None:
                    raise Interrupted(f"left; {far.name} was asked to stop and may still be at it") from None
                stop_by_s = time.monotonic() + stop_s
                self._say(f"{far.name}: stopping it in order; Ctrl-C again leaves without waiting")
            except NotReady as error:
                if stop_by_s is not None:
                    raise Interrupted(f"{far.name} was asked to stop {stop_s:g} s ago and still runs") from None
                self._say(f"{error}{self._goes_on}")  # a machine too busy to answer
                self._reconnect()
            except ConnectionLost as error:
                self._say(f"{error}{self._goes_on}")
                self._reconnect()

    @property
    def _goes_on(self) -> str:
        return "" if self._provider.ends_with_the_run else "; the run goes on there"

    def _tell(self, job: _Job, line: bytes, on_message: OnMessage, *, late: bool) -> None:
        assert self._far is not None
        message = _message(line)
        job.clock.hear(message, late=late)
        if message["kind"] == "run":
            job.run_path = message["path"]
            message = {**message, "path": f"{self._far.name}:{message['path']}"}
        elif message["kind"] == "done":
            job.run_path, job.done = message["path"], True
            return
        on_message(message)

    def _reconnect(self) -> None:
        assert self._far is not None
        session = self._far.session
        session.close()
        ends_s, pause_s = time.monotonic() + PATIENCE_S, FIRST_PAUSE_S
        while True:
            if (why := self._provider.why_gone()) is not None:
                raise MachineGone(f"{self._far.name}: {why}")
            try:
                self._far.session = Session.connect(session.target, deadline_s=self._connect_s)
            except HostKeyRefused:
                raise
            except Unreachable as error:
                if time.monotonic() + pause_s > ends_s:
                    raise Interrupted(f"{error}. The run goes on there") from None
            except KeyboardInterrupt:
                raise Interrupted(f"left; without a connection, {self._far.name} goes on with the run") from None
            else:
                self._say(f"{self._far.name}: connected again")
                return
            try:
                time.sleep(pause_s)
            except KeyboardInterrupt:
                raise Interrupted(f"left; without a connection, {self._far.name} goes on with the run") from None
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    # --- after ---

    def _failure(self, job: _Job, code: int | None) -> Exception:
        """Why there is nothing to fetch, as the error that it was there."""
        far = self._far
        assert far is not None
        words = far.tail(f"{job.directory}/stderr", as_root=job.as_root)
        said = last_words(words, code if code is not None else -1).removeprefix("UNSUPPORTED: ")
        text = f"{far.name}: {said}"
        if code in (_EXIT_USAGE, _EXIT_UNSUPPORTED) and job.run_path is None:
            self._remove(far, job)  # nothing was begun
        if code == _EXIT_USAGE:
            return SpecificationError(text)
        if code == _EXIT_UNSUPPORTED:
            return Unsupported(text)
        if code == _EXIT_INTERRUPTED:
            return Interrupted(f"{far.name} stopped the run")
        if code is None:
            text = f"{far.name} lost the run: it was killed, or the machine was restarted"
        return InvalidTrial(f"{text}{self._stays(f'; its work is kept there in {job.directory}')}")

    def _stays(self, words: str) -> str:
        """What is said of that which stays there; a machine that ends with the run keeps nothing."""
        return "" if self._provider.ends_with_the_run else words

    def _fetched(self, job: _Job, request: RunRequest) -> RunDirectory:
        far = self._far
        assert far is not None and job.run_path is not None
        there = Path(job.run_path)
        parent = request.parent / request.experiment.name
        staging = parent / f".fetching-{Path(job.directory).name}"
        kept = self._stays(f"; it is kept on {far.name} in {job.run_path}, --resume fetches it again")
        self._say(f"{far.name}: fetching {job.run_path}")
        while True:
            shutil.rmtree(staging, ignore_errors=True)
            try:
                far.session.pull_tree(job.run_path, staging, as_root=job.as_root)
                break
            except ConnectionLost as error:
                self._say(f"{error}, while fetching")
                self._reconnect()
            except RecordError as error:
                raise RecordError(f"{error}{kept}") from None
            except InvalidTrial as error:
                raise InvalidTrial(f"{error}{kept}") from None
        try:
            fetched.check(staging)
            write_stamps(staging, job.clock.stamps)
            final = fetched.moved(staging, parent, there.name, instead_of=job.kept)
        except RecordError as error:
            raise RecordError(f"{error}{kept}") from None
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        with suppress(ConnectionLost):  # it is fetched; what stays there is in its jobs/
            self._remove(far, job)
        return RunDirectory.open(final)

    def _remove(self, far: FarMachine, job: _Job) -> None:
        far.remove(job.directory, as_root=job.as_root)
        far.remove(f"{job.directory}.request.json", as_root=False)


def _message(line: bytes) -> Mapping[str, Any]:
    """One message; what is none is told as it is."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        message = None
    if isinstance(message, dict) and isinstance(message.get("kind"), str):
        return message
    kind: Literal["note"] = "note"
    return {"kind": kind, "text": line.decode(errors="replace")}
