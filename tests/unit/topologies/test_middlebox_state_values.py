"""Middleboxes that know flows, signals or headers, as values: their texts and what is refused."""

from __future__ import annotations

import json

import pytest

from topologies.middlebox import (
    ClampMss,
    FilterSignals,
    Firewall,
    Middlebox,
    MiddleboxError,
    Nat,
    Replay,
    RewriteIsn,
    ShrinkWindow,
    describe,
    from_dict,
    parse,
    to_dict,
)

SECOND = 1_000_000_000

EXAMPLES = (
    ("rewrite-isn", RewriteIsn()),
    ("rewrite-isn forward", RewriteIsn("forward")),
    ("rewrite-isn backward except sack", RewriteIsn("backward", sack=False)),
    ("nat", Nat()),
    ("nat as fd00:2::1", Nat("fd00:2::1")),
    (
        "nat as 10.0.2.1 rebind after 2s+5s ports 2000 to 2003 timeout 30s",
        Nat("10.0.2.1", (2 * SECOND, 5 * SECOND), 2000, 2003, 30 * SECOND),
    ),
    ("firewall", Firewall()),
    ("firewall drop-join reject opens both", Firewall(drop_join=True, reject=True, opens="both")),
    ("firewall opens backward forget after 1s timeout 2s", Firewall(False, False, "backward", (SECOND,), 2 * SECOND)),
    ("filter add_addr", FilterSignals(("add_addr",))),
    ("filter mp_prio+remove_addr", FilterSignals(("mp_prio", "remove_addr"))),
    ("filter add_addr of 10.0.0.0/8", FilterSignals(("add_addr",), "10.0.0.0/8")),
    ("filter add_addr.echo", FilterSignals(("add_addr.echo",))),
    ("clamp-mss 1200", ClampMss(1200)),
    ("shrink-window 8kB", ShrinkWindow(8000)),
    ("shrink-window 8KiB on backward and after 1s", ShrinkWindow(8192, "backward and after 1s")),
    ("replay data nth 3 after 500ms", Replay("data nth 3", SECOND // 2)),
    ("replay after 2s and data after 1s", Replay("after 2s and data", SECOND)),
)


@pytest.mark.parametrize(("text", "value"), EXAMPLES, ids=lambda each: str(each))
def test_text_and_json_of_a_middlebox_read_back(text: str, value: Middlebox) -> None:
    assert parse(text) == (value,)
    assert describe(value) == text
    assert from_dict(json.loads(json.dumps(to_dict(value)))) == value
    assert parse(f"drop syn, {text}, drop data")[1] == value, "it ends where its text ends"


@pytest.mark.parametrize(
    ("text", "place", "hint"),
    [
        ("rewrite-isn sideways", "rewrite-isn ^^^^^^^^", "forward"),
        ("rewrite-isn except", "rewrite-isn except ^", "sack"),
        ("nat rebind 2s", "nat rebind ^^", "after"),
        ("nat rebind after 2s+", "nat rebind after ^^^", "35ms"),
        ("nat rebind after 5s+2s", "^^^", "later than the one before"),
        ("nat as 10.0.2", "nat as ^^^^^^", "10.0.2"),
        ("nat ports 5 to 4", "nat ports 5 to ^", "5 to 65535"),
        ("nat as ::1 as ::2", "nat as ::1 ^^", "rebind"),
        ("firewall drop-joins", "firewall ^^^^^^^^^^", "did you mean drop-join"),
        ("firewall opens up", "firewall opens ^^", "backward"),
        ("filter dss", "filter ^^^", "add_addr"),
        ("filter add_addr+add_addr", "^^^^^^", "each once"),
        ("filter mp_prio of 10.0.0.0/8", "^^^^^^", "second filter"),
        ("filter add_addr of 10.0.0.1/8", "filter add_addr of ^^^^^^^^^^", "host bits"),
        ("clamp-mss 0", "clamp-mss ^", "from 1 to 65535"),
        ("shrink-window 8", "shrink-window ^", "kB"),
        ("shrink-window 8kB of syn", "shrink-window 8kB ^^", "on"),
        ("replay data 1s", "replay data ^^", "after"),
    ],
)
def test_a_wrong_text_is_refused_at_the_word(text: str, place: str, hint: str) -> None:
    with pytest.raises(MiddleboxError) as caught:
        parse(text)
    reason, _, carets = str(caught.value).split("\n")
    assert hint in reason
    assert carets.rstrip() == "  " + "".join("^" if sign == "^" else " " for sign in place)


@pytest.mark.parametrize(
    "make",
    [
        lambda: RewriteIsn("up"),  # type: ignore[arg-type]
        lambda: Nat("nowhere"),
        lambda: Nat(first_port=9, last_port=8),
        lambda: Nat(rebind_ns=(-1,)),
        lambda: Nat(timeout_ns=0),
        lambda: Firewall(opens="up"),  # type: ignore[arg-type]
        lambda: Firewall(timeout_ns=0),
        lambda: FilterSignals(()),
        lambda: FilterSignals(("add_addr",), "10.0.0.1/8"),
        lambda: ClampMss(65536),
        lambda: ShrinkWindow(0),
        lambda: ShrinkWindow(1, "sin"),
        lambda: Replay("data", 0),
    ],
)
def test_a_wrong_value_is_refused(make: object) -> None:
    with pytest.raises(MiddleboxError):
        make()  # type: ignore[operator]
