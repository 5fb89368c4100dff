from __future__ import annotations

import dataclasses

import pytest

from topologies import link_profile, link_text
from topologies.link_profile import LinkProfile
from topologies.middlebox import DropCarrying, MiddleboxError, StripOption, describe, parse

EXAMPLES = (
    ("strip mptcp", StripOption("mptcp")),
    ("strip mptcp on syn+syn-ack", StripOption("mptcp", ("syn", "syn-ack"))),
    ("strip timestamps close", StripOption("timestamps", gap="close")),
    ("strip mptcp/dss on data close", StripOption("mptcp/dss", ("data",), "close")),
    ("drop mptcp/add_addr", DropCarrying("mptcp/add_addr")),
    ("drop 253 on ack nth 2+5", DropCarrying("253", ("ack",), (5, 2))),
)


@pytest.mark.parametrize(("text", "value"), EXAMPLES, ids=lambda each: str(each))
def test_the_text_of_a_middlebox_is_read_and_written_alike(text: str, value: StripOption | DropCarrying) -> None:
    assert parse(text) == (value,)
    assert describe(value) == text


def test_several_middleboxes_are_a_field_of_a_link() -> None:
    profile = link_text.with_field(LinkProfile(), "middleboxes", "strip mptcp on syn, drop sack")
    assert [type(each) for each in profile.middleboxes] == [StripOption, DropCarrying]
    assert not profile.is_wire()
    assert "middleboxes strip mptcp on syn, drop sack" in link_text.describe(profile)
    assert link_profile.from_dict(link_profile.to_dict(profile)) == profile
    assert link_text.with_field(profile, "middleboxes", "none") == LinkProfile()


@pytest.mark.parametrize(
    "text",
    ["strip", "strip nothing", "strip mptcp/what", "strip mptcp on sin", "drop sack close", "drop sack nth x", "cut a"],
)
def test_a_wrong_text_is_refused(text: str) -> None:
    with pytest.raises(MiddleboxError):
        parse(text)


def test_a_middlebox_survives_json_lists() -> None:
    value = DropCarrying("mptcp", ("data",), (3,))
    data = dataclasses.asdict(value) | {"on": ["data"], "nth": [3]}
    assert link_profile.from_dict({"middleboxes": [data]}).middleboxes == (value,)
