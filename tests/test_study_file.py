"""``tandem serve STUDY``: what a file says holds, the command line wins, and what is wrong is said with its place."""

from __future__ import annotations

import argparse
import contextlib
import json
from pathlib import Path

import pytest
from signaling_rig import callers, listening_server

from p2pclient.cli import serve
from p2pclient.cli.main import main
from p2pclient.common.errors import ConfigurationError
from p2pclient.common.lobby_messages import Join, MatchSettings, Waiting, Welcome
from p2pclient.common.match_settings import DEFAULT_STUDY
from p2pclient.settings.study_file import KEYS, MACHINE_FLAGS, parse_study
from p2pclient.settings.toml_text import line_of
from signaling.decisions import FILE_NAME, DecisionLog
from signaling.room_state import Rules
from signaling.server import _entropy
from signaling.store.sqlite import SqliteStore

WHOLE = """\
name = "pairs-2026"
title = "Cooking  in pairs"
screening = "rules.toml"

[environment]
name = "tag"
max_steps = 400
arguments = { size = 7, colours = ["red", "blue"] }

[match]
seats = 3
rate = 30
window = 6
input_delay = "auto:1-4"
prediction = ["repeat", "neutral", "auto"]
episodes = 2
on_desync = "resimulate"
on_away = "pause"
away_limit = 45
tell_away = true
check_tries = 5
max_rtt = 250
max_loss = 0.05
if_lost = "go-on"
drop_after = 20
may_return = false
relay = "never"
spectators = false
observations = true
allow_mixed_hosts = true
seed = 7

[matching]
rule = "balanced"
conditions = { slow = 10, fast = 12 }

[waiting_room]
hold = true
wait_limit = 120
after_wait = "bot:tag-bot"
wait_message = "Thank you."
confirm_within = 20
grace = 10
restart_grace = 30
links = "required"
lock_finished = true
"""


def holds(path: Path, *flags: str) -> tuple[argparse.Namespace, MatchSettings, Rules]:
    """Return what would be served."""
    words = ("serve", str(path), *flags)
    parser = argparse.ArgumentParser()
    serve.add_arguments(parser)
    arguments = parser.parse_args(words[1:])
    arguments.words = words
    arguments, settings, rules, _ = serve._what_holds(arguments)
    return arguments, settings, rules


def study_at(folder: Path, text: str) -> Path:
    path = folder / "any name.toml"
    path.write_text(text, encoding="utf-8-sig")  # with a mark in front, as Windows does
    return path


def test_what_the_file_says_holds(tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_text("[entry.ping]\nat_most_ms = 80\n", encoding="utf-8")
    _, settings, rules = holds(study_at(tmp_path, WHOLE))
    assert settings == MatchSettings(
        study="pairs-2026",
        env="tag",
        env_args={"size": 7, "colours": ["red", "blue"], "max_steps": 400},
        seats=3,
        rate_hz=30,
        window=6,
        input_delay=1,
        delay_range=(1, 4),
        prediction=("repeat", "neutral", "auto"),
        episodes=2,
        on_desync="resimulate",
        on_away="pause",
        away_limit_s=45,
        tell_away=True,
        check_tries=5,
        max_rtt_ms=250,
        max_loss=0.05,
        on_drop="go-on",
        drop_after_s=20,
        relay="never",
        spectators=False,
        record_observations=True,
        allow_mixed_hosts=True,
    )
    assert (rules.title, rules.starts_held, rules.wait_limit_s) == ("Cooking in pairs", True, 120)
    assert (rules.after_wait, rules.wait_bot, rules.wait_message) == ("bot", "tag-bot", "Thank you.")
    assert (rules.confirm_within_s, rules.grace_s, rules.restart_grace_s) == (20, 10, 30)
    assert rules.matcher.name == "balanced"
    assert (rules.join.links_only, rules.join.lock_finished) == (True, True)
    assert rules.screening.entry is not None  # the file beside it, whatever folder the server was started in
    assert rules.screening.entry.ping is not None
    assert rules.screening.entry.ping.at_most_ms == 80


def test_the_command_line_wins_and_what_nobody_says_is_the_flags_own_default(tmp_path: Path) -> None:
    path = study_at(tmp_path, 'name = "a"\n[match]\nrate = 30\nobservations = true\n[waiting_room]\nhold = true\n')
    words = ("--rate", "20", "--no-observations", "--no-hold", "--seats", "4")
    arguments, settings, rules = holds(path, *words)
    plain = argparse.ArgumentParser()
    serve.add_arguments(plain)
    assert (settings.rate_hz, settings.record_observations, rules.starts_held, settings.seats) == (20, False, False, 4)
    assert settings.window == plain.get_default("window") == 8
    assert rules.title == "a"
    assert arguments.data == plain.get_default("data")


def test_rules_may_stand_in_the_study_itself(tmp_path: Path) -> None:
    path = study_at(tmp_path, 'name = "a"\n[screening.playing.ping]\nat_most_ms = 90\n')
    rules = holds(path)[2]
    assert rules.screening.playing is not None


def test_functions_are_looked_for_beside_the_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "matching_of_one_study.py").write_text(
        "def pairs(a, b, c):\n    return []\n", encoding="utf-8"
    )
    monkeypatch.chdir(tmp_path)
    path = study_at(
        tmp_path / "study", 'name="a"\nmatching = { rule = "hook", function = "matching_of_one_study:pairs" }'
    )
    assert holds(path)[2].matcher.name == "matching_of_one_study:pairs"


@pytest.mark.parametrize(
    ("text", "place", "allowed"),
    [
        ("[match]\nraet = 20", "match.raet in {}, line 3", "did you mean rate?"),
        ("[mtach]\nrate = 20", "mtach in {}, line 2", "did you mean match?"),
        ("[match]\nhold = true", "match.hold in {}, line 3", "it belongs under [waiting_room]"),
        ("port = 3", "port in {}, line 2", "said with --port"),
        ("[match]\n\n# so many\nseats = 'two'", "match.seats in {}, line 5", "a whole number"),
        ("[match]\nseats = 99", "match.seats in {}, line 3", "1 to 8"),
        ("[match]\nrate = 1e400", "match.rate in {}, line 3", "a number"),
        ("[match]\nrate = 0.5", "match.rate in {}, line 3", "1 to 240"),
        ("[match]\ninput_delay = 'auto:4'", "match.input_delay in {}, line 3", "auto:LOWEST-HIGHEST"),
        ("[match]\nepisodes = -1", "match.episodes in {}, line 3", "1 or more"),
        ("[waiting_room]\nlinks = 'some'", "waiting_room.links in {}, line 3", "optional or required"),
        ("[waiting_room]\nhold = 1", "waiting_room.hold in {}, line 3", "true or false"),
        ("[waiting_room]\ngrace = -1", "waiting_room.grace in {}, line 3", "0 to"),
        ("[matching]\nrule = 'rtt'\nlimt = 3", "matching in {}, line 2", "limit, relax, most, probe"),
        ("matching = 'fofi'", "matching in {}, line 2", "fifo"),
        ("[environment]\narguments = { day = 2026-01-01 }", "environment.arguments in {}, line 3", "plain values"),
        ("[screening.entry.pong]\nat_most_ms = 3", "screening.entry.pong in {}, line 2", "no such key"),
        ("screening = 3", "screening in {}, line 2", "the name of a file"),
        ("match = 3", "match in {}, line 2", "a table"),
        ("title = 'a\u200eb'", "title in {}, line 2", "one line"),
        ("[match", "the study's file", "line 2"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, text: str, place: str, allowed: str) -> None:
    path = study_at(tmp_path, f'name = "a"\n{text}\n')
    with pytest.raises(ConfigurationError) as caught:
        holds(path)
    assert caught.value.setting == place.format(path)
    assert allowed in caught.value.allowed


def test_a_value_of_the_command_line_is_not_blamed_on_the_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        holds(study_at(tmp_path, 'name = "a"\n[match]\nrate = 20\n'), "--rate", "900")
    assert "any name" not in caught.value.setting


@pytest.mark.parametrize("head", ["", "name = 3", 'name = "a/b"', 'name = ""'])
def test_a_study_has_a_name_that_can_be_kept(head: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^name in"):
        parse_study(head.encode(), Path("a.toml"))


def test_every_flag_of_serve_is_the_studys_or_the_machines() -> None:
    """A new flag has to be one or the other: see KEYS and MACHINE_FLAGS of p2pclient.settings.study_file."""
    parser = argparse.ArgumentParser()
    serve.add_arguments(parser)
    not_said = {"help", "child", "print_study", "screening"}
    flags = {action.dest for action in parser._actions} - not_said
    assert flags == {key.flag for key in KEYS.values()} | set(MACHINE_FLAGS)


def test_what_is_printed_says_the_same_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rules.toml").write_text("[entry.ping]\nat_most_ms = 80\n", encoding="utf-8")
    path = study_at(tmp_path, WHOLE)
    assert main(["serve", str(path), "--rate", "25", "--print-study"]) == 0
    printed = capsys.readouterr().out
    again = tmp_path / "again.toml"
    again.write_text(printed, encoding="utf-8")
    _, settings, rules = holds(path, "--rate", "25")
    _, same, other = holds(again)
    assert same == settings
    assert other.screening == rules.screening
    assert other.matcher.name == rules.matcher.name
    assert "rate = 25.0\n" in printed
    assert "default" not in printed.split("[match]")[1].split("[waiting_room]")[0].replace("seconds", "")


def test_the_study_in_the_documentation_can_be_served(tmp_path: Path) -> None:
    docs = Path(__file__).resolve().parent.parent / "docs" / "server.md"
    text = docs.read_text(encoding="utf-8").partition("```toml\n")[2].partition("```")[0]
    _, settings, rules = holds(study_at(tmp_path, text))
    assert (settings.study, settings.rate_hz, rules.wait_limit_s) == ("pairs-2026", 30, 300)


def test_a_line_is_found_in_any_form_that_a_key_can_have() -> None:
    text = 'a = """\nb = 1\n"""\n[t]\n"b" = [\n  1,\n]\n[t.u]\nx.y = 2\n'
    assert line_of(text, ("t", "b")) == 5
    assert line_of(text, ("t", "u", "x", "y")) == 9
    assert line_of(text, ("b",)) is None


async def test_two_studies_in_one_folder_do_not_mix(tmp_path: Path) -> None:
    seen = {}
    for name in ("one", "two", "one"):
        settings = MatchSettings(study=name, env="tag", seats=2)
        rules = Rules(title=f"Study {name}", grace_s=60)
        async with listening_server(settings=settings, data=tmp_path, rules=rules) as listening:
            row = listening.server.room.row(now=0.0, epoch=0.0)
            seen[name] = {each.label or each.id for each in row.participants}, row.title
            async with callers(listening.urls[-1], 1) as [caller]:
                welcome = await caller.client.join(Join(label=f"of {name}"))
                assert isinstance(welcome, Welcome)
                assert welcome.settings.study == name
                await caller.next(Waiting)
    store = SqliteStore(tmp_path, serve=False)
    studies = {each.id: each.name for each in await store.studies()}
    labels = {each.label for each in await store.participants("two")}
    await store.close()
    assert studies == {"one": "Study one", "two": "Study two"}
    assert labels == {"of two"}
    assert seen["two"] == (set(), "Study two")
    assert "of two" not in seen["one"][0]
    assert seen["one"][0]


async def test_each_line_of_the_file_of_decisions_names_its_study(tmp_path: Path) -> None:
    for study in ("one", ""):
        with contextlib.closing(DecisionLog(tmp_path, study)) as log:
            await log.write([{"decision": "round"}])
    lines = (tmp_path / FILE_NAME).read_text(encoding="utf-8").splitlines()
    assert [json.loads(line).get("study") for line in lines] == ["one", None]


async def test_no_two_studies_with_one_seed_have_the_same_ids() -> None:
    """They may be in one folder, where an id belongs to one match."""
    drawn = {study: (await _entropy(7, study, None)).getrandbits(53) for study in (DEFAULT_STUDY, "one", "two")}
    assert len(set(drawn.values())) == 3
    assert drawn["one"] == (await _entropy(7, "one", None)).getrandbits(53)
