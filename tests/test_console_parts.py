"""The console's pure parts: history, throttle, metrics; and rules for its page."""

from __future__ import annotations

import re

import pytest
from console_rig import RehearsedRoom, health, match, seat
from prometheus_client.parser import text_string_to_metric_families

from p2pclient.common.room_messages import PeerHealth
from signaling.alerts import Alert
from signaling.console.history import KEPT, SERIES, History
from signaling.console.metrics import render_metrics
from signaling.console.pages import STATIC, TYPES
from signaling.console.throttle import MOST_KEPT, Throttle
from signaling.rows import MatchRow, RoomRow

# -- history ----------------------------------------------------------------------------------------------------------


def samples(history: History, *rows: MatchRow, count: int = 1, begin: float = 0.0) -> None:
    for second in range(count):
        history.add(RoomRow(at=1e9 + begin + second, matches=rows))


def test_history_keeps_the_newest_samples_of_each_seat() -> None:
    history = History()
    for second in range(KEPT + 50):
        row = match(seat(0, health(stalls=second, rtt_ms=7.0)), seat(1, health(seat=1)))
        samples(history, row, begin=second)
    found = history.of_match("0001-00c0ffee")
    assert len(found["at"]) == KEPT
    assert found["at"][0] == pytest.approx(1e9 + 50)
    assert found["at"][-1] == pytest.approx(1e9 + KEPT + 49)
    assert found["seats"]["0"]["stalls"] == [float(second) for second in range(50, KEPT + 50)]
    assert set(found["seats"]["1"]) == set(SERIES)


def test_history_has_gaps_where_nothing_was_heard_and_the_worst_of_several_peers() -> None:
    history = History()
    peers = tuple(PeerHealth(seats=(number,), rtt_ms=10.0 * number) for number in (1, 2))
    samples(history, match(seat(0, health(peers=peers)), seat(1, None), seat(2, health(), ago_s=3.1)))
    found = history.of_match("0001-00c0ffee")["seats"]
    assert found["0"]["rtt_ms"] == [20.0]
    assert found["0"]["jitter_ms"] == [None]
    assert found["1"]["rate_hz"] == [None]
    assert found["2"]["rate_hz"] == [None]


def test_history_stops_with_the_match_and_is_forgotten_with_it() -> None:
    history = History()
    samples(history, match(seat(0, health())), count=3)
    samples(history, match(seat(0, health()), state="ended"), begin=3)
    assert len(history.of_match("0001-00c0ffee")["at"]) == 3
    samples(history, begin=4)
    assert history.of_match("0001-00c0ffee") == {"at": [], "seats": {}}


def test_page_keeps_the_same_series_as_the_server() -> None:
    script = (STATIC / "history.js").read_text(encoding="utf-8")
    assert re.findall(r"^  (\w+): \(health\)", script, re.MULTILINE) == list(SERIES)
    assert f"const KEPT = {KEPT};" in script


# -- throttle ---------------------------------------------------------------------------------------------------------


def test_each_failure_after_the_first_ones_makes_the_next_try_wait_longer() -> None:
    throttle, waits = Throttle(), []
    for _ in range(14):
        waits.append(throttle.wait_s("10.0.0.1", "ada", now=0.0))
        throttle.failed("10.0.0.1", "ada", now=0.0)
    assert waits == [0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    assert throttle.wait_s("10.0.0.1", "olu", now=0.0) == 300
    assert throttle.wait_s("10.0.0.2", "ada", now=0.0) == 60
    assert throttle.wait_s("10.0.0.1", "ada", now=299.0) == 1
    assert throttle.wait_s("10.0.0.2", "olu", now=0.0) == 0


def test_who_has_logged_in_from_an_address_before_is_not_locked_out_by_others() -> None:
    throttle = Throttle()
    throttle.succeeded("10.0.0.9", "ada")
    for _ in range(20):
        throttle.failed("10.0.0.1", "ada", now=0.0)
    assert throttle.wait_s("10.0.0.9", "ada", now=0.0) == 0
    assert throttle.wait_s("10.0.0.8", "ada", now=0.0) > 0


def test_failures_are_forgotten_after_a_success_or_an_hour() -> None:
    throttle = Throttle()
    for _ in range(6):
        throttle.failed("10.0.0.1", "ada", now=0.0)
    throttle.succeeded("10.0.0.1", "ada")
    assert throttle.wait_s("10.0.0.1", "ada", now=0.0) == 0
    for now in (0.0, 0.0, 0.0, 0.0, 3700.0):
        throttle.failed("10.0.0.1", "ada", now=now)
    assert throttle.wait_s("10.0.0.1", "ada", now=3700.0) == 0


def test_addresses_of_one_ipv6_network_count_as_one_and_mapped_ipv4_as_itself() -> None:
    throttle = Throttle()
    for number in range(8):
        throttle.failed(f"2001:db8:0:1::{number}", f"a{number}", now=0.0)
        throttle.failed("10.0.0.1", f"b{number}", now=0.0)
    assert throttle.wait_s("2001:db8:0:1::ffff", "x", now=0.0) > 0
    assert throttle.wait_s("2001:db8:0:2::1", "x", now=0.0) == 0
    assert throttle.wait_s("::ffff:10.0.0.1", "x", now=0.0) > 0
    assert throttle.wait_s("fe80::1%eth0", "x", now=0.0) == 0


def test_throttle_is_bounded() -> None:
    throttle = Throttle()
    for number in range(MOST_KEPT + 10):
        throttle.failed(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", "x", now=0.0)
        throttle.succeeded("10.255.0.1", f"a{number}")
    assert len(throttle._failures) <= MOST_KEPT
    assert len(throttle._known) <= MOST_KEPT


# -- metrics ----------------------------------------------------------------------------------------------------------


def test_metrics_are_read_by_prometheus_and_name_nobody() -> None:
    row = RehearsedRoom().row(now=0.0, epoch=1e9)
    alert = Alert(id="x", severity="problem", text="P-021 is away.")
    text = render_metrics(row, (alert,), consoles=2, lag_s=0.004).decode("utf-8")
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert found["tandem_participants", "playing"] == 6
    assert found["tandem_participants", "away"] == 0
    assert found["tandem_matches", "playing"] == 3
    assert found["tandem_matches_made_total",] == 4
    assert found["tandem_wait_seconds_median",] == 14
    assert found["tandem_alerts", "problem"] == 1
    assert found["tandem_consoles",] == 2
    assert found["tandem_loop_lag_seconds",] == 0.004
    assert found["tandem_loss_ratio_max",] == 0.08
    assert 0.15 < found["tandem_rtt_seconds_max",] < 0.3
    assert not re.search("P-0|LAB|10\\.0\\.0|0001-", text)


def test_metrics_of_an_empty_room_are_whole() -> None:
    text = render_metrics(RoomRow(server_version='0.1"\n'), (), consoles=0, lag_s=0.0).decode("utf-8")
    names = {family.name for family in text_string_to_metric_families(text)}
    assert {"tandem_participants", "tandem_matches", "tandem_server_info"} <= names


# -- the page ---------------------------------------------------------------------------------------------------------

FILES = sorted(STATIC.iterdir())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_page_is_plain_small_and_reads_nothing_as_markup(path: object) -> None:
    text = path.read_text(encoding="utf-8")  # type: ignore[attr-defined]
    assert path.suffix in TYPES  # type: ignore[attr-defined]
    assert len(text.splitlines()) <= 400
    assert not re.findall(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|\beval\b|new Function", text
    )
    assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", text)
    assert not re.findall(r"<script(?![^>]*\bsrc=)|\son\w+=|\sstyle=|<style", text)


def test_scripts_import_only_files_that_are_there() -> None:
    found = {name for path in FILES for name in re.findall(r'from "\./([\w.]+)"', path.read_text(encoding="utf-8"))}
    assert len(found) > 10
    assert found <= {path.name for path in FILES}
