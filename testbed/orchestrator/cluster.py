"""The trials of a run in virtual time, handed to an existing Dask cluster: ``--scheduler tcp://HOST:PORT``.

Each trial is a task. Its result is stored here as it arrives, so what is done is kept whatever becomes of the cluster,
and ``resume`` goes on with the rest. A task that was on a worker that is lost is given to another one by the scheduler,
which also says when a trial has taken too many workers with it (``distributed.scheduler.allowed-failures``).

Source: distributed.dask.org, "Resilience" and "Scheduling policies". Imported only when a scheduler is named.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import re
import time
import uuid
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

from testbed.endpoint import interrupts
from testbed.orchestrator import cluster_worker
from testbed.orchestrator.cluster_worker import OtherWorker
from testbed.orchestrator.errors import Interrupted, InvalidTrial, Unsupported
from testbed.orchestrator.plan import Trial
from testbed.orchestrator.sim_runner import OnMessage, identity, keep
from testbed.orchestrator.spec import Experiment, SpecificationError
from testbed.record.run_directory import RunDirectory

CONNECT_S = 10.0
"""So long the scheduler may take to answer."""
WORKERS_S = 60.0
"""So long a cluster may be without any worker, at first or on the way."""
TICK_S = 1.0
"""Between two signs of life while nothing arrives."""
LOOK_S = 5.0
"""Between two looks how many workers there are."""
AHEAD = 3
"""Tasks that are handed out for each thread of the cluster: none has to wait, and few results pile up."""

_ADDRESS = re.compile(r"(tcp|tls)://[^\s/:]+:\d{1,5}|(tcp|tls)://\[[0-9a-fA-F:.]+\]:\d{1,5}")


def check_address(scheduler: str) -> None:
    """Raises SpecificationError."""
    if not _ADDRESS.fullmatch(scheduler):
        raise SpecificationError(
            f"--scheduler {scheduler}: write tcp://HOST:PORT (or tls://), as 'dask scheduler' prints it"
        )


@contextmanager
def connected(scheduler: str, on_message: OnMessage) -> Iterator[Cluster]:
    """The cluster of that scheduler, each worker of which would make the same of a trial as this process.

    Raises SpecificationError for an address that is none; Unsupported when no scheduler answers, it has no workers, or
    one of other sources or versions; Interrupted after Ctrl-C or SIGTERM, also in the block.
    """
    check_address(scheduler)
    try:
        with interrupts.sigterm_like_ctrl_c(), _client(scheduler) as client:
            yield Cluster(client, scheduler, *_checked_workers(client, scheduler, on_message))
    except KeyboardInterrupt:
        raise Interrupted("stopped by the user") from None


@contextmanager
def _client(scheduler: str) -> Iterator[Any]:
    """What is left of its tasks when it goes is forgotten by the scheduler."""
    import distributed

    connect: Any = distributed.Client  # has no types
    with _quiet():
        try:
            asyncio.run(asyncio.wait_for(_asked(scheduler), CONNECT_S))
            client = connect(scheduler, timeout=CONNECT_S, set_as_default=False, name="testbed")
        except Exception as error:  # whatever is said by what listens there
            why = "" if isinstance(error, TimeoutError) else f": {_first(error)}"
            raise Unsupported(
                f"--scheduler {scheduler}: no Dask scheduler answers there within {CONNECT_S:g} s{why}"
            ) from None
        try:
            yield client
        finally:
            with suppress(Exception):  # it is perhaps gone
                client.close(timeout=CONNECT_S)


async def _asked(scheduler: str) -> None:
    """Returns when it has answered. A client would wait for ever for who listens and says nothing."""
    import distributed

    untyped: Any = distributed
    arguments = untyped.Security().get_connection_args("client")
    async with untyped.rpc(scheduler, connection_args=arguments) as asked:
        await asked.identity()


@contextmanager
def _quiet() -> Iterator[None]:
    """What the library would say on standard error is said here, in one line, where it matters."""
    names = [name for name in logging.root.manager.loggerDict if name.split(".")[0] == "distributed"]
    before = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)


def _checked_workers(client: Any, scheduler: str, on_message: OnMessage) -> tuple[int, str]:
    """Their threads in all, and who they are in words; each is as this process is. Raises Unsupported."""
    deadline_s = time.monotonic() + WORKERS_S
    if not (threads := _threads(client)):
        on_message({"kind": "note", "text": f"{scheduler} has no workers yet: waiting {WORKERS_S:g} s for one"})
    while not threads:
        if time.monotonic() > deadline_s:
            raise Unsupported(f"--scheduler {scheduler} has no workers; start some: dask worker {scheduler}")
        time.sleep(min(TICK_S, WORKERS_S))
        on_message({"kind": "tick"})
        threads = _threads(client)
    ours, told = cluster_worker.facts(), client.run(cluster_worker.facts, on_error="return")
    for address, theirs in sorted(told.items()):
        if isinstance(theirs, BaseException):
            raise Unsupported(
                f"worker {address} cannot run trials: {_first(theirs)}; start it in a checkout of the testbed, "
                "with its Python and PYTHONPATH"
            )
        if (problem := cluster_worker.difference(ours, theirs)) is not None:
            raise Unsupported(_other(f"{address} on {theirs['host']}", problem))
    hosts = len({theirs["host"] for theirs in told.values()})
    words = f"{len(told)} worker{'s'[: len(told) != 1]} on {hosts} machine{'s'[: hosts != 1]} of {scheduler}"
    return threads, words


def _other(worker: str, problem: str) -> str:
    return f"worker {worker} has {problem}; bring it to the same commit and versions and start it again"


def _threads(client: Any) -> int:
    """Of all workers; 0 also when the scheduler does not answer just now."""
    try:
        return sum(client.nthreads().values())
    except (OSError, TimeoutError):
        return 0


class Cluster:
    """Workers that wait for trials."""

    def __init__(self, client: Any, scheduler: str, threads: int, words: str) -> None:
        self._client = client
        self._scheduler = scheduler
        self._threads = threads
        self.words = words
        """Who they are."""
        self._ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._looked_s = self._manned_s = time.monotonic()

    def carry_out(
        self, experiment: Experiment, trials: Sequence[Trial], directory: RunDirectory, on_message: OnMessage
    ) -> None:
        """All of ``trials``, each stored when its result has arrived.

        Raises InvalidTrial when trials took their workers with them, or the cluster is gone; Unsupported when a worker
        of other sources has joined. What is stored by then stays.
        """
        on_message({"kind": "note", "text": f"trials go to {self.words}"})
        name = f"testbed-{experiment.name}-{uuid.uuid4().hex[:8]}"
        ours = cluster_worker.facts()
        waiting, out, lost = deque(trials), dict[Any, Trial](), dict[int, str]()
        try:
            while waiting or out:
                while waiting and len(out) < AHEAD * self._threads:
                    trial = waiting.popleft()
                    task = cluster_worker.packed(experiment, trial)
                    key = f"{name}-{trial.number}"
                    future = self._client.submit(cluster_worker.carry_out, task, ours, key=key, pure=False)
                    future.add_done_callback(self._ended.put)
                    out[future] = trial
                future = self._next_ended(on_message)
                trial = out.pop(future)
                problem = self._take(future, trial, directory, experiment, on_message)
                if problem is not None:
                    lost[trial.number] = problem
        finally:
            with suppress(Exception):  # the cluster is perhaps gone
                self._client.cancel(list(out), force=True)
        if lost:
            number, why = min(lost.items())
            others = f" ({len(lost) - 1} more like it)" if len(lost) > 1 else ""
            raise InvalidTrial(f"trial {number} {why}{others}; what was done is kept and --resume goes on")

    def _next_ended(self, on_message: OnMessage) -> Any:
        """A future that has ended. Raises InvalidTrial when nothing is to be expected any more."""
        while True:
            self._look_after_the_workers()
            try:
                return self._ended.get(timeout=TICK_S)
            except queue.Empty:
                on_message({"kind": "tick"})

    def _look_after_the_workers(self) -> None:
        """How many there are: they come and go."""
        if self._client.status != "running":
            self._gone("does not answer any more")
        now_s = time.monotonic()
        if now_s - self._looked_s < LOOK_S:
            return
        self._looked_s = now_s
        if (threads := _threads(self._client)) > 0:
            self._threads, self._manned_s = threads, now_s
        elif now_s - self._manned_s > WORKERS_S:
            self._gone(f"has had no worker for {WORKERS_S:g} s")

    def _gone(self, how: str) -> NoReturn:
        raise InvalidTrial(f"the scheduler {self._scheduler} {how}; what was done is kept and --resume goes on")

    def _take(
        self, future: Any, trial: Trial, directory: RunDirectory, experiment: Experiment, on_message: OnMessage
    ) -> str | None:
        """Store what has arrived; or why there is nothing to store."""
        if future.status == "cancelled":
            self._gone("has dropped the tasks of this run (was it started again?)")
        try:
            outcome, files = cluster_worker.unpacked(future.result())
        except OtherWorker as error:
            raise Unsupported(_other("that joined on the way", str(error))) from None
        except Exception as error:  # whatever a worker's machine may have met
            return _why(error)
        folder = directory.begin_trial(trial.number)
        for name, content in files.items():
            (folder / name).write_bytes(content)
        on_message({"kind": "trial", "expected_s": experiment.duration_ns / 1e9, "over": True, **identity(trial)})
        keep(trial, outcome, directory, on_message)
        return None


def _why(error: Exception) -> str:
    """Why a task has no result."""
    from distributed.scheduler import KilledWorker

    if isinstance(error, KilledWorker):
        number = error.allowed_failures + 1
        return f"took {number} worker{'s'[: number != 1]} with it, as for want of memory"
    return f"ended with {type(error).__name__}: {_first(error)}"


def _first(error: BaseException) -> str:
    """The first line of an error."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
