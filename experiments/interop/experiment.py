"""The matrix as an experiment: a variant for each cell that can be asked, a reason for each that cannot."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence

from experiments.ingredients import SECOND
from experiments.interop.implementations import Implementation, implementation
from experiments.interop.known import known
from experiments.interop.measurements import MEASUREMENTS
from experiments.interop.question import Check, Test
from experiments.interop.tests import TESTS
from testbed.orchestrator.grid import Fate, Grid, GridCell, GridColumn, GridRow
from testbed.orchestrator.interop import Interop, InteropCell, InteropTest
from testbed.orchestrator.spec import Endpoint, Expectation, Experiment, Flow, PathManager, SpecificationError, Variant

ALL: Mapping[str, Test] = {test.name: test for test in (*TESTS, *MEASUREMENTS)}
DEFAULT_IMPLEMENTATIONS = ("linux", "linux-tcp", "userspace", "userspace:rfc8684", "userspace-tcp")


class NothingToAskError(SpecificationError):
    """Not one cell of the matrix can be asked; the message has the reasons."""


QUESTION = "Which implementations of MPTCP understand each other, test by test?"


def interop() -> Experiment:
    """Every test between this kernel, our own stack with two option policies, and plain TCP of both."""
    return build([implementation(name) for name in DEFAULT_IMPLEMENTATIONS])


def chosen_tests(words: Sequence[str]) -> tuple[Test, ...]:
    """The tests of these names or abbreviations, ``tests`` for all that answer yes or no, ``measurements`` for the
    others. Raises SpecificationError that lists near names."""
    groups = {"tests": TESTS, "measurements": MEASUREMENTS}
    by_letter = {test.abbreviation.lower(): test for test in ALL.values()}
    found: dict[str, Test] = {}
    for word in words:
        single = ALL.get(word) or by_letter.get(word.lower())
        for test in groups.get(word, () if single is None else (single,)):
            found[test.name] = test
        if word not in groups and single is None:
            near = difflib.get_close_matches(word, [*ALL, *groups], n=4, cutoff=0.4) or [*ALL, *groups]
            raise SpecificationError(f"there is no test {word!r}; near: {', '.join(near)}")
    return tuple(test for test in ALL.values() if test.name in found)


def build(
    clients: Sequence[Implementation],
    servers: Sequence[Implementation] | None = None,
    tests: Sequence[Test] = (*TESTS, *MEASUREMENTS),
    *,
    repetitions: int = 1,
    seed: int = 1,
    capture: bool = True,
    retries: int = 1,
    pairs: Collection[tuple[str, str]] | None = None,
) -> Experiment:
    """``servers`` None: the same as the clients. ``pairs``: names of client and server, of those that are asked here;
    the others have no cell at all, not even an unsupported one (another machine asks them). Raises NothingToAskError.
    """
    servers = clients if servers is None else servers
    cells: list[InteropCell] = []
    variants: list[Variant] = []
    grid: list[GridCell] = []
    expectations: list[Expectation] = []
    for client in clients:
        for server in servers:
            if pairs is not None and (client.name, server.name) not in pairs:
                continue
            for test in tests:
                obstacle = _obstacle(test, client, server)
                name = "" if obstacle else f"{test.name}/{client.word}/{server.word}"
                cells.append(
                    InteropCell(
                        test=test.name,
                        client=client.name,
                        server=server.name,
                        variant=name,
                        unsupported=obstacle,
                        known="" if obstacle else known(test.name, client, server),
                    )
                )
                if obstacle:
                    continue
                variants.append(_variant(name, test, client, server))
                grid.append(_grid_cell(name, test, client, server))
                expectations += _expectations(name, test, client, server)
    if not variants:
        reasons = "; ".join(dict.fromkeys(cell.unsupported for cell in cells))
        raise NothingToAskError(f"the matrix has no cell that can be asked: {reasons}")
    asked = {cell.test for cell in cells if cell.variant}
    return Experiment(
        name="interop",
        question=QUESTION,
        variants=tuple(variants),
        repetitions=repetitions,
        retries=retries,
        duration_ns=12 * SECOND,
        seed=seed,
        capture=capture,
        expectations=tuple(expectations),
        grid=Grid(
            heading="test",
            rows=tuple(
                GridRow(name=test.name, text=test.summary, because=test.source) for test in tests if test.name in asked
            ),
            cells=tuple(grid),
        ),
        interop=Interop(
            tests=tuple(_shown(test) for test in tests),
            clients=tuple(each.shown() for each in clients if each.name in {cell.client for cell in cells}),
            servers=tuple(each.shown() for each in servers if each.name in {cell.server for cell in cells}),
            cells=tuple(cells),
        ),
    )


def _shown(test: Test) -> InteropTest:
    return InteropTest(
        name=test.name,
        abbreviation=test.abbreviation,
        summary=test.summary,
        source=test.source,
        judged=test.judged,
        kind="measurement" if test.measure else "test",
        measure=test.measure,
        better=test.better,
    )


def _obstacle(test: Test, client: Implementation, server: Implementation) -> str:
    """Why a cell cannot be asked; empty: it can."""
    for end in (client, server):
        if end.obstacle:
            return end.obstacle
    plain = [end.name for end in (client, server) if not end.speaks_mptcp]
    if plain and test.needs_mptcp:
        return f"{' and '.join(dict.fromkeys(plain))}: {test.needs_mptcp}"
    return ""


def _are_mptcp(client: Implementation, server: Implementation) -> bool:
    return client.speaks_mptcp and server.speaks_mptcp


def _variant(name: str, test: Test, client: Implementation, server: Implementation) -> Variant:
    flow = Flow(
        application=test.application,
        client=_endpoint(client, test.checksum[0], None),
        server=_endpoint(server, test.checksum[1], test.receive_buffer_bytes),
        duration_ns=test.duration_ns,
        test=test.name,
    )
    return Variant(
        name=name,
        summary=f"{test.summary} {client.name} to {server.name}.",
        topology=test.topology,
        flows=(flow,),
        path_manager=test.path_manager if _are_mptcp(client, server) else PathManager(mode="none"),
        repetitions=test.repetitions,
    )


def _endpoint(end: Implementation, checksum: bool | None, receive_buffer_bytes: int | None) -> Endpoint:
    wanted = checksum if end.speaks_mptcp else None
    return dataclasses.replace(end.endpoint, checksum=wanted, receive_buffer_bytes=receive_buffer_bytes)


def _grid_cell(name: str, test: Test, client: Implementation, server: Implementation) -> GridCell:
    column = GridColumn(pair=client.name, role=f"to {server.name}")
    fates = test.fates
    if not _are_mptcp(client, server):
        after: Fate = "fallback" if client.speaks_mptcp else "tcp"
        fates = test.plain_fates or (after,)
    altered = tuple(fate for fate in test.altered if fate in fates)
    return GridCell(variant=name, row=test.name, column=column, fates=fates, altered=altered)


def _expectations(name: str, test: Test, client: Implementation, server: Implementation) -> Iterator[Expectation]:
    ends = "mptcp" if _are_mptcp(client, server) else "plain"
    for check in test.checks:
        if check.ends in (ends, "any"):
            yield _expectation(name, check, test)


def _expectation(name: str, check: Check, test: Test) -> Expectation:
    return Expectation(
        variant=name,
        metric=check.metric,
        at_least=check.at_least,
        at_most=check.at_most,
        statistic="min" if check.at_least is not None else "max",  # that is: every repetition
        because=f"{test.source}: {check.because}",
    )
