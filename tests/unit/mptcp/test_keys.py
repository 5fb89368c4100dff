"""Keys, tokens, IDSNs and HMACs against an independent computation."""

from __future__ import annotations

import hashlib
import hmac
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.mptcp.keys import (
    KeyPair,
    KeySource,
    add_addr_hmac,
    idsn_of,
    join_hmac,
    same,
    token_of,
)
from testbed.mptcp.tokens import TokenTable
from testbed.wire.codec import COMPILED

keys = st.integers(0, 2**64 - 1)
nonces = st.integers(0, 2**32 - 1)


@given(keys)
def test_token_and_idsn_are_the_two_ends_of_one_hash(key: int) -> None:
    digest = hashlib.sha256(key.to_bytes(8, "big")).hexdigest()
    assert f"{token_of(key):08x}" == digest[:8]
    assert f"{idsn_of(key):016x}" == digest[-16:]
    pair = KeyPair(1)
    pair.learn(key)
    assert (pair.remote_token, pair.remote_idsn) == (token_of(key), idsn_of(key))


@given(keys, keys, nonces, nonces)
def test_each_end_can_check_what_the_other_proves(key_a: int, key_b: int, nonce_a: int, nonce_b: int) -> None:
    by_a = join_hmac(key_a, key_b, nonce_a, nonce_b)
    expected = hmac.digest(
        bytes.fromhex(f"{key_a:016x}{key_b:016x}"), bytes.fromhex(f"{nonce_a:08x}{nonce_b:08x}"), "sha256"
    )
    assert by_a == expected
    if (key_a, nonce_a) != (key_b, nonce_b):
        assert by_a != join_hmac(key_b, key_a, nonce_b, nonce_a)


@given(keys, keys, st.integers(0, 255), st.sampled_from([4, 16]), st.one_of(st.none(), st.integers(1, 65535)))
def test_add_addr_is_proved_by_the_rightmost_octets(
    key: int, peer: int, ident: int, size: int, port: int | None
) -> None:
    address = bytes(range(size))
    secret = bytes.fromhex(f"{key:016x}{peer:016x}")
    message = bytes([ident]) + address + bytes.fromhex(f"{port or 0:04x}")
    assert add_addr_hmac(key, peer, ident, address, port) == hmac.digest(secret, message, "sha256")[24:]


def test_a_missing_proof_proves_nothing() -> None:
    assert not same(None, b"x")
    assert same(b"x", b"x")
    assert not same(b"y", b"x")


def test_the_same_seed_and_secret_give_the_same_keys_and_another_secret_others() -> None:
    def first(secret: bytes) -> list[int]:
        source = KeySource(secret, random.Random(7))
        return [source.draw(8) for _ in range(3)]

    assert first(b"a") == first(b"a")
    assert first(b"a") != first(b"b")
    assert len(set(first(b"a"))) == 3


class TakenTokens(TokenTable):
    """A table that says of the first n tokens that they are taken."""

    __slots__ = ("asked", "taken")

    def __init__(self, taken: int) -> None:
        super().__init__()
        self.taken = taken
        self.asked: list[int] = []

    def __contains__(self, token: int) -> bool:
        self.asked.append(token)
        return len(self.asked) <= self.taken


def test_a_key_with_a_taken_token_is_not_used() -> None:
    tokens = TakenTokens(2)
    pair = KeySource(b"s", random.Random(1)).unique_key_pair(tokens)
    assert len(tokens.asked) == 3
    assert pair.local_token == tokens.asked[2]
    assert pair.local_token not in tokens.asked[:2]


def test_the_search_for_a_free_token_ends() -> None:
    tokens = TakenTokens(1000)
    KeySource(b"s", random.Random(1)).unique_key_pair(tokens)
    assert len(tokens.asked) <= 4


@pytest.mark.skipif(COMPILED, reason="an owner stands in for a connection, which compiled code does not take")
def test_a_token_is_claimed_once_and_released_by_its_owner_only() -> None:
    tokens = TokenTable(limit=2)
    one, other = object(), object()
    assert tokens.claim(1, one)  # type: ignore[arg-type]
    assert not tokens.claim(1, other)  # type: ignore[arg-type]
    tokens.release(1, other)  # type: ignore[arg-type]
    assert tokens.find(1) is one
    assert tokens.claim(2, other)  # type: ignore[arg-type]
    assert not tokens.claim(3, other)  # type: ignore[arg-type]
    tokens.release(1, one)  # type: ignore[arg-type]
    assert tokens.find(1) is None
    assert len(tokens) == 1
