from __future__ import annotations

from ipaddress import ip_interface

from p2pclient.common.discovery_messages import ServerFacts, decode_answer, encode_query
from p2pclient.common.network_interfaces import Interface
from signaling.answering import MAX_SOURCES, OVERALL, PER_SOURCE, Responder

FACTS = ServerFacts(server_id="0" * 16, room="Lab", computer="desk", port=8765, protocol=2)
LAN = Interface("eth0", (ip_interface("10.0.0.1/8"),))
NONCE = b"12345678"


def responder() -> Responder:
    return Responder(FACTS, [LAN], now=0.0)


def test_question_from_the_network_is_answered_with_its_nonce() -> None:
    answer = responder().receive(encode_query(NONCE), "10.0.0.9", now=1.0)
    assert answer is not None
    assert decode_answer(answer).nonce == NONCE
    assert decode_answer(answer).facts == FACTS


def test_question_from_elsewhere_and_noise_are_counted_and_not_answered() -> None:
    it = responder()
    assert it.receive(encode_query(NONCE), "8.8.8.8", now=1.0) is None
    assert it.receive(b"\xff" * 600, "10.0.0.9", now=1.0) is None
    assert it.receive(b"", "10.0.0.9", now=1.0) is None
    assert it.counts == {"elsewhere": 1, "foreign": 2}


def test_one_who_asks_too_often_is_answered_at_the_rate_and_others_are_not_affected() -> None:
    it = responder()
    answered = sum(it.receive(encode_query(NONCE), "10.0.0.9", now=step / 100) is not None for step in range(1000))
    rate, burst = PER_SOURCE
    assert burst + 9 * rate <= answered <= burst + 10 * rate
    assert it.receive(encode_query(NONCE), "10.0.0.10", now=10.0) is not None
    assert it.counts["too often"] == 1000 - answered


def test_many_forged_senders_cannot_make_it_send_more_than_its_rate_or_remember_all_of_them() -> None:
    it = responder()
    sources = [f"10.0.{each // 250}.{each % 250}" for each in range(4 * MAX_SOURCES)]
    answered = sum(it.receive(encode_query(NONCE), each, now=1.0) is not None for each in sources)
    assert answered == OVERALL[1]
    assert len(it._sources) == MAX_SOURCES


def test_changed_facts_are_told_from_then_on() -> None:
    it = responder()
    elsewhere = Interface("eth1", (ip_interface("192.168.0.1/24"),))
    it.set_facts(ServerFacts(server_id="0" * 16, room="New", computer="desk", port=1, protocol=2), [elsewhere])
    assert it.receive(encode_query(NONCE), "10.0.0.9", now=1.0) is None
    answer = it.receive(encode_query(NONCE), "192.168.0.9", now=1.0)
    assert answer is not None
    assert decode_answer(answer).facts.room == "New"
