from __future__ import annotations

from testbed.net.forwarding import ForwardingTable, Prefix

A, B, FAR = bytes([10, 0, 1, 1]), bytes([10, 0, 2, 1]), bytes([10, 0, 9, 2])


def test_a_rule_for_the_source_comes_before_the_main_table_and_the_rules_keep_their_order() -> None:
    table = ForwardingTable()
    table.add_route(Prefix(bytes(4), 0, "default"))
    table.add_rule(20, A, 102)
    table.add_rule(10, A, 101)
    table.add_route(Prefix(bytes(4), 0, "second"), 102)
    table.add_route(Prefix(bytes(4), 0, "first"), 101)
    assert table.link_for(A, FAR) == "first"
    assert table.link_for(B, FAR) == "default"


def test_the_longest_prefix_wins_and_a_table_without_one_is_passed_over() -> None:
    table = ForwardingTable()
    table.add_rule(10, A, 101)
    table.add_route(Prefix(bytes([10, 0, 1, 0]), 24, "near"), 101)
    table.add_route(Prefix(bytes(4), 0, "default"))
    table.add_route(Prefix(bytes([10, 0, 9, 0]), 24, "specific"))
    assert table.link_for(A, FAR) == "specific"
    assert table.link_for(A, bytes([10, 0, 1, 7])) == "near"


def test_no_route_and_another_family_have_no_link() -> None:
    table = ForwardingTable()
    table.add_route(Prefix(bytes(4), 0, "four"))
    assert table.link_for(bytes(16), bytes(16)) is None
    assert table.link_for(A, FAR) == "four"
