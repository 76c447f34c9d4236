"""Who is let in: the rules on entry as a table, the file they come from, and what hostile clients say of themselves."""

from __future__ import annotations

import tomllib
from typing import Any

import msgspec
import pytest

from p2pclient.common.errors import ConfigurationError
from p2pclient.common.screening_messages import Display, Environment, Facts, Pacing, Ping
from signaling.screening import checks_for, judge
from signaling.screening_file import parse_rules
from signaling.screening_rules import Entry

GOOD = Facts(
    system="Linux",
    system_version="6.1",
    machine="x86_64",
    program="0.4.2",
    python="3.11.7",
    cores=4,
    memory_mb=16_000,
    memory_free_mb=4_000,
    plugged_in=True,
    display=Display(width=1920, height=1080, scale=1.5, refresh_hz=60.0),
    pacing=Pacing(rate_hz=60.0, pictures=120, median_ms=16.7, p99_ms=18.0, missed=0.01),
    ping=Ping(samples=8, median_ms=12.0, worst_ms=40.0),
    environment=Environment(digest="aa11", python="3.11.7", numpy="2.1"),
)


def entry(**tables: Any) -> Entry:
    rules = parse_rules({"entry": tables}).entry
    assert rules is not None
    return rules


def but(**changed: Any) -> Facts:
    return msgspec.structs.replace(GOOD, **changed)


def paced(**changed: Any) -> Facts:
    return but(pacing=msgspec.structs.replace(GOOD.pacing, **changed))


WITHOUT = but(display=None, pacing=None, ping=None, environment=None, plugged_in=None, memory_mb=None)

CASES = [
    ("system", {"allowed": ["Linux", "macOS"]}, GOOD, True),
    ("system", {"allowed": ["Windows"]}, GOOD, False),
    ("system", {"allowed": ["Windows"]}, but(system=""), None),
    ("program", {"at_least": "0.4"}, GOOD, True),
    ("program", {"at_least": "0.4.2"}, GOOD, True),
    ("program", {"at_least": "0.4.10"}, GOOD, False),
    ("program", {"at_least": "0.4.0"}, but(program="0.4"), True),
    ("program", {"at_least": "0.4"}, but(program="1.0.dev3+local"), True),
    ("program", {"at_least": "0.4"}, but(program="newest"), None),
    ("program", {"at_least": "0"}, but(program="0.0"), True),
    ("python", {"at_least": "3.11"}, GOOD, True),
    ("python", {"at_least": "3.12"}, GOOD, False),
    ("python", {"at_least": "3.12"}, but(python=""), None),
    ("display", {"min_width": 1920, "min_height": 1080}, GOOD, True),
    ("display", {"min_width": 1921}, GOOD, False),
    ("display", {"min_height": 1081}, GOOD, False),
    ("display", {"min_width": 1920, "min_height": 1080}, but(display=Display(width=1080, height=1920)), True),
    ("display", {"min_width": 1}, WITHOUT, None),
    ("refresh_rate", {"at_least_hz": 60}, GOOD, True),
    ("refresh_rate", {"at_least_hz": 60}, but(display=Display(width=1, height=1, refresh_hz=59.0)), True),
    ("refresh_rate", {"at_least_hz": 60}, but(display=Display(width=1, height=1, refresh_hz=50.0)), False),
    ("refresh_rate", {"at_least_hz": 30, "at_most_hz": 50}, GOOD, False),
    ("refresh_rate", {"at_least_hz": 60}, but(display=Display(width=1, height=1)), None),
    ("refresh_rate", {"at_least_hz": 60}, WITHOUT, None),
    ("frame_pacing", {}, GOOD, True),
    ("frame_pacing", {}, paced(missed=0.06), False),
    ("frame_pacing", {"max_missed": 0.06}, paced(missed=0.06), True),
    ("frame_pacing", {"max_p99_ms": 17.9}, GOOD, False),
    ("frame_pacing", {}, paced(pictures=0), None),
    ("frame_pacing", {}, WITHOUT, None),
    ("ping", {"at_most_ms": 12}, GOOD, True),
    ("ping", {"at_most_ms": 11.9}, GOOD, False),
    ("ping", {"at_most_ms": 12}, WITHOUT, None),
    ("environment", {}, GOOD, True),
    ("environment", {"digests": ["aa11", "bb22"]}, GOOD, True),
    ("environment", {"digests": ["bb22"]}, GOOD, False),
    ("environment", {}, but(environment=Environment(problem="No module named 'cogrid'")), False),
    ("environment", {}, WITHOUT, None),
    ("memory", {"free_mb": 4000, "total_mb": 16000}, GOOD, True),
    ("memory", {"free_mb": 4001}, GOOD, False),
    ("memory", {"total_mb": 16001}, GOOD, False),
    ("memory", {"free_mb": 1}, WITHOUT, None),
    ("power", {}, GOOD, True),
    ("power", {}, but(plugged_in=False, battery=1.0), False),
    ("power", {"battery_at_least": 0.5}, but(plugged_in=False, battery=0.5), True),
    ("power", {"battery_at_least": 0.5}, but(plugged_in=False, battery=0.49), False),
    ("power", {}, WITHOUT, None),
]


@pytest.mark.parametrize(("name", "rule", "facts", "met"), CASES)
def test_a_rule_is_met_or_not_or_unknown(name: str, rule: dict[str, Any], facts: Facts, met: bool | None) -> None:
    for unknown in ("admit", "exclude"):
        verdict = judge(entry(**{name: {**rule, "unknown": unknown}}), facts)
        assert [(each.rule, each.met) for each in verdict.findings] == [(name, met)]
        keeps_out = met is False or (met is None and unknown == "exclude")
        assert verdict.is_admitted is not keeps_out
        assert verdict.rule == (name if keeps_out else "")
        assert bool(verdict.message) is keeps_out
        assert "{" not in verdict.message
        if met is not True:
            assert name in verdict.reason


def test_every_rule_has_a_case_of_each_kind() -> None:
    names = {name for name in Entry.__struct_fields__ if name not in ("within_s", "no_answer", "bots", "custom")}
    for met in (True, False, None):
        assert {name for name, _, _, each in CASES if each is met} == names


def test_whoever_fails_several_rules_reads_the_first_and_the_researcher_all() -> None:
    rules = entry(ping={"at_most_ms": 5}, system={"allowed": ["Windows"], "message": "Windows, please: no {measured}."})
    verdict = judge(rules, GOOD)
    assert (verdict.rule, verdict.message) == ("system", "Windows, please: no Linux.")
    assert verdict.reason == "system: Linux (required: Windows); ping: 12 ms (required: 5 ms)"


def test_what_could_not_be_measured_is_said_with_the_reason() -> None:
    facts = but(display=None, unknown={"display": "There is no window."})
    verdict = judge(entry(display={"min_width": 800}), facts)
    assert verdict.message.endswith("There is no window.")
    assert verdict.reason == "display: not measured (required: a width of 800)"


def test_only_what_the_rules_look_at_is_measured() -> None:
    assert checks_for(entry()) == ()
    assert checks_for(entry(system={"allowed": ["Linux"]}, memory={"free_mb": 1})) == ()
    assert checks_for(entry(refresh_rate={"at_least_hz": 60}, ping={"at_most_ms": 9})) == ("display", "ping")
    assert set(checks_for(entry(custom={"hook": "rules:admit"}))) == {"display", "pacing", "ping", "environment"}


# -- the file ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "key", "allowed"),
    [
        ("[entri]", "entri", "entry, playing"),
        ("[entry.pong]", "entry.pong", "ping"),
        ("[entry.ping]", "entry.ping.at_most_ms", "must be given"),
        ("[entry.ping]\nat_most_ms = 'fast'", "entry.ping.at_most_ms", "a number"),
        ("[entry.ping]\nat_most_ms = -3", "entry.ping.at_most_ms", "> 0"),
        ("[entry.ping]\nat_most_ms = nan", "entry.ping.at_most_ms", "> 0"),
        ("[entry.ping]\nat_most_ms = 3\nmost = 4", "entry.ping.most", "at_most_ms"),
        ("[entry.system]\nallowed = ['Linux', 'Amiga']", "entry.system.allowed[1]", "Windows, Linux, macOS"),
        ("[entry.system]\nallowed = []", "entry.system.allowed", "Windows, Linux, macOS"),
        ("[entry.program]\nat_least = 'new'", "entry.program.at_least", "0.4"),
        ("[entry.custom]\nhook = 'rules.py'", "entry.custom.hook", "module:function"),
        ("[entry]\nwithin_s = 1", "entry.within_s", ">= 5"),
        ("entry = 3", "entry", "a table"),
        ("[entry.refresh_rate]\nat_least_hz = 60\nat_most_hz = 50", "entry.refresh_rate.at_least_hz", "at_most_hz"),
        ("[playing.focus]\nwarn_after_s = 20", "playing.focus.warn_after_s", "exclude_after_s, 15"),
        ("[playing.focus]\naction = 'kick'", "playing.focus.action", "exclude, warn"),
        ("[playing.ping]\nat_most_ms = 9\nviolations = 21", "playing.ping.violations", "window, 20"),
        ("[playing.loss]\nat_most = 1.5", "playing.loss.at_most", "<= 1"),
        (
            "[playing.ping]\nat_most_ms = 9\nwarn_violations = 11",
            "playing.ping.warn_violations",
            "playing.ping.violations, 10",
        ),
    ],
)
def test_what_is_wrong_in_the_file_is_named_by_its_key(text: str, key: str, allowed: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_rules(tomllib.loads(text))
    assert caught.value.setting == key
    assert allowed in caught.value.allowed


def test_a_file_without_rules_has_none() -> None:
    rules = parse_rules({})
    assert (rules.entry, rules.playing) == (None, None)


def test_the_example_in_the_documentation_is_a_file_of_rules() -> None:
    from pathlib import Path

    page = (Path(__file__).resolve().parents[1] / "docs" / "screening.md").read_text(encoding="utf-8")
    example = page.split("```toml\n", 1)[1].split("```", 1)[0]
    rules = parse_rules(tomllib.loads(example))
    assert rules.entry is not None
    assert rules.playing is not None
    for table, others in ((rules.entry, {"within_s", "no_answer", "bots"}), (rules.playing, {"grace_s", "bots"})):
        absent = {name for name in table.__struct_fields__ if getattr(table, name) is None}
        assert not absent - others, "the example shows every rule"


# -- what comes from a client -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "facts",
    [
        {"system": "x" * 65},
        {"memory_mb": -1},
        {"memory_mb": 1 << 60},
        {"battery": 1.5},
        {"plugged_in": "yes"},
        {"display": {"width": 1920}},
        {"display": {"width": 1e9, "height": "1080"}},
        {"pacing": {"rate_hz": 60, "pictures": 1, "median_ms": -1, "p99_ms": 1, "missed": 0}},
        {"ping": {"samples": 8, "median_ms": float("inf"), "worst_ms": 1}},
        {"ping": {"samples": 8, "median_ms": float("nan"), "worst_ms": 1}},
        {"unknown": {f"check {number}": "" for number in range(17)}},
        {"unknown": {"display": "x" * 1001}},
        {"environment": {"digest": ["aa"]}},
    ],
)
def test_facts_out_of_bounds_are_refused(facts: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(facts, Facts)


def test_facts_survive_the_way_to_the_server() -> None:
    assert msgspec.convert(msgspec.json.decode(msgspec.json.encode(GOOD)), Facts) == GOOD
    assert judge(entry(ping={"at_most_ms": 5}), Facts()).rule == "ping", "a client that tells nothing is not let in"
