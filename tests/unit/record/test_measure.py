"""The texts of measures: what they mean, and one clear error for what means nothing."""

from __future__ import annotations

import pytest

from testbed.record.measure import LEDGER_MEASURES, MeasureError, flow_metrics, parse_measure


@pytest.mark.parametrize("metric", flow_metrics())
def test_every_number_of_the_flows_table_is_a_measure(metric: str) -> None:
    measure = parse_measure(metric)
    assert (measure.source, measure.name) == ("flows", metric)


@pytest.mark.parametrize(
    ("text", "source", "name", "at"),
    [
        ("counter:MPTcpExtMPRstTx@server", "counter", "MPTcpExtMPRstTx", "server"),
        ("watched:late-reset@path1", "watched", "late-reset", "path1"),
        ("observed:reset_reason.sf1", "observed", "reset_reason.sf1", ""),
        ("fate:no connection", "fate", "no connection", ""),
    ],
)
def test_a_source_leads_its_measure(text: str, source: str, name: str, at: str) -> None:
    measure = parse_measure(text)
    assert (measure.source, measure.name, measure.at) == (source, name, at)


@pytest.mark.parametrize("name", LEDGER_MEASURES)
def test_a_ledger_measure_has_the_unit_of_its_name(name: str) -> None:
    measure = parse_measure(f"ledger:{name}@client/ack")
    assert (measure.at, measure.kind, measure.unit) == ("client", "ack", LEDGER_MEASURES[name][0])


def test_a_sampled_measure_has_its_part_of_the_traffic_in_nanoseconds() -> None:
    measure = parse_measure("sampled:goodput_bit_s@main.server[1.5s..4s]")
    assert (measure.begin_ns, measure.end_ns, measure.at) == (1_500_000_000, 4_000_000_000, "main.server")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("goodputs", "no number of the flows table"),
        ("counter:MPTcpExtMPRstTx", "counter:MPTcpExtMPRstTx@server"),
        ("ledger:sacks@client/data", "displaced_share"),
        ("ledger:sack_sent@middle/data", "not of the form"),
        ("fate:lost", "unfinished"),
        ("sampled:cwnd@main.client[4s..2s]", "empty"),
        ("weather:rain", "counter:..."),
        ("goodput", "near ones: goodput_bit_s"),
    ],
)
def test_what_is_no_measure_is_refused_with_what_could_be_meant(text: str, words: str) -> None:
    with pytest.raises(MeasureError, match=words.replace("(", r"\(").replace("...", r"\.\.\.")):
        parse_measure(text)
