from __future__ import annotations

import pytest

from p2pclient.common.discovery_messages import ServerFacts
from p2pclient.discovery.findings import (
    FORGET_S,
    GATHER_S,
    MAX_SERVERS,
    TRY_AGAIN_S,
    Findings,
    Found,
    Wanted,
    server_url,
)

PROTOCOL = 2


def facts(number: int, room: str = "Lab 1", *, protocol: int = PROTOCOL, address: str = "10.0.0.1") -> ServerFacts:
    return ServerFacts(
        server_id=f"{number:016x}",
        room=room,
        computer=f"desk{number}",
        port=8765,
        protocol=protocol,
        addresses=(address,),
    )


def search(wanted: Wanted | None = None) -> Findings:
    return Findings(wanted or Wanted(), PROTOCOL)


def answer_all(findings: Findings, *, now: float) -> None:
    """Let every server that is due answer at the first of its URLs."""
    due = findings.due(now=now)
    assert due
    for server, urls in due:
        findings.tried(server, urls[0], now=now)


def test_first_server_that_answers_is_taken_after_a_short_gathering() -> None:
    it = search()
    it.see(facts(1), "broadcast", ["10.0.0.5"], now=0.0)
    assert it.choose(now=100.0).found is None  # seen, but nothing answered yet
    answer_all(it, now=1.0)
    assert it.choose(now=1.0 + GATHER_S - 0.01).found is None
    found = it.choose(now=1.0 + GATHER_S).found
    assert found == Found("http://10.0.0.5:8765", "Lab 1", "desk1", ("broadcast",))


def test_one_server_seen_in_two_ways_counts_once() -> None:
    it = search()
    it.see(facts(1), "broadcast", ["10.0.0.5"], now=0.0)
    it.see(facts(1), "mdns", [], now=0.1)
    answer_all(it, now=0.2)
    found = it.choose(now=5.0).found
    assert found is not None
    assert found.ways == ("broadcast", "mdns")


def test_two_rooms_are_listed_and_none_is_taken() -> None:
    it = search()
    it.see(facts(1, "Lab 1"), "mdns", [], now=0.0)
    it.see(facts(2, "Lab 2", address="10.0.0.2"), "broadcast", ["10.0.0.2"], now=0.0)
    answer_all(it, now=0.1)
    choice = it.choose(now=3.0)
    assert choice.found is None
    assert [each.room for each in choice.several] == ["Lab 1", "Lab 2"]


def test_room_that_was_named_is_taken_and_others_are_told() -> None:
    it = search(Wanted(room="lab2"))
    it.see(facts(1, "Lab 1"), "mdns", [], now=0.0)
    answer_all(it, now=0.1)
    assert it.choose(now=3.0).found is None
    assert [each.room for each in it.choose(now=3.0).others] == ["Lab 1"]
    it.see(facts(2, "Lab 2"), "broadcast", ["10.0.0.2"], now=3.0)
    answer_all(it, now=3.1)
    found = it.choose(now=3.2).found
    assert found is not None
    assert found.room == "Lab 2"


def test_server_of_another_version_is_told_and_not_taken() -> None:
    it = search()
    it.see(facts(1, protocol=PROTOCOL + 1), "broadcast", ["10.0.0.5"], now=0.0)
    answer_all(it, now=0.1)
    choice = it.choose(now=3.0)
    assert choice.found is None
    assert len(choice.old) == 1


def test_server_that_is_seen_but_never_answers_is_told() -> None:
    it = search()
    it.see(facts(1), "mdns", [], now=0.0)
    ((server, _),) = it.due(now=0.0)
    assert it.due(now=0.1) == []  # its turn was just now
    assert it.choose(now=0.5).silent == ()  # it is being tried
    it.tried(server, None, now=1.0)
    assert [each.computer for each in it.choose(now=1.0).silent] == ["desk1"]
    assert [server for server, _ in it.due(now=TRY_AGAIN_S)] == [server]


def test_server_that_was_named_wins_at_once_over_what_is_on_the_lan() -> None:
    it = search(Wanted(urls=("http://a:1", "http://b:2")))
    it.see(facts(1), "broadcast", ["10.0.0.5"], now=0.0)
    answer_all(it, now=0.1)
    it.named_answers("http://b:2", facts(3), now=0.2)
    found = it.choose(now=0.2).found
    assert found is not None
    assert (found.url, found.ways) == ("http://b:2", ("named",))
    it.named_answers("http://a:1", facts(4), now=0.3)
    found = it.choose(now=0.3).found
    assert found is not None
    assert found.url == "http://a:1"


def test_addresses_are_tried_from_the_one_that_spoke_to_link_local_last() -> None:
    it = search()
    it.see(facts(1, address="10.0.0.9"), "multicast", ["fe80::1%eth0"], now=0.0)
    it.see(facts(1, address="10.0.0.9"), "broadcast", ["192.168.0.4"], now=0.0)
    ((_, urls),) = it.due(now=0.0)
    assert urls == ("http://192.168.0.4:8765", "http://10.0.0.9:8765", "http://[fe80::1%eth0]:8765")


def test_good_bye_in_every_way_and_long_silence_both_remove_a_server() -> None:
    it = search()
    it.see(facts(1), "mdns", [], now=0.0)
    it.see(facts(1), "broadcast", ["10.0.0.5"], now=0.0)
    answer_all(it, now=0.0)
    it.gone(facts(1).server_id, "mdns")
    assert it.choose(now=2.0).found is not None
    it.gone(facts(1).server_id, "broadcast")
    assert it.choose(now=2.0).found is None
    it.see(facts(2), "broadcast", ["10.0.0.6"], now=3.0)
    answer_all(it, now=3.0)
    assert it.due(now=3.1 + FORGET_S) == []
    assert it.choose(now=3.1 + FORGET_S).found is None


def test_server_that_mdns_has_told_of_is_tried_until_mdns_says_that_it_is_gone() -> None:
    it = search()
    it.see(facts(1), "mdns", [], now=0.0)
    for now in (0.0, 100.0, 200.0):
        ((server, _),) = it.due(now=now)
        it.tried(server, None, now=now)
    assert len(it.choose(now=200.0).silent) == 1
    it.gone(server, "mdns")
    assert it.due(now=300.0) == []


def test_host_that_claims_to_be_a_thousand_servers_fills_nothing() -> None:
    it = search()
    for number in range(1000):
        it.see(facts(number), "broadcast", [f"10.0.{number % 200}.1"], now=0.0)
    assert len(it.due(now=0.0)) == MAX_SERVERS
    for number in range(1000):
        it.see(facts(0), "broadcast", [f"10.1.{number % 200}.{number // 200}"], now=0.0)
    assert all(len(urls) <= 13 for _, urls in it.due(now=TRY_AGAIN_S))


@pytest.mark.parametrize(
    ("address", "url"), [("10.0.0.1", "http://10.0.0.1:80"), ("fe80::1%eth0", "http://[fe80::1%eth0]:80")]
)
def test_ipv6_stands_in_brackets(address: str, url: str) -> None:
    assert server_url(address, 80) == url
