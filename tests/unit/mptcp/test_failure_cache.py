from testbed.mptcp.failure_cache import FailureCache

PEER = b"\x0a\0\0\1"


def test_a_failure_is_remembered_for_its_time_only() -> None:
    cache = FailureCache(kept_ns=100)
    assert not cache.advises_against(PEER, 0)
    cache.failed(PEER, 10)
    assert cache.advises_against(PEER, 109)
    assert not cache.advises_against(PEER, 110)
    assert not cache.advises_against(PEER, 50)


def test_success_forgets_the_failure() -> None:
    cache = FailureCache()
    cache.failed(PEER, 0)
    cache.succeeded(PEER)
    assert not cache.advises_against(PEER, 1)


def test_the_oldest_gives_way_to_the_newest() -> None:
    cache = FailureCache(limit=2)
    peers = [bytes((number,)) for number in range(3)]
    for peer in peers:
        cache.failed(peer, 0)
    assert [cache.advises_against(peer, 1) for peer in peers] == [False, True, True]
