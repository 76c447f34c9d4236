"""The setting that says what follows when a player is gone: what it means, and what it must not be."""

from __future__ import annotations

import pytest

from p2pclient.cli.main import main
from p2pclient.common.errors import ConfigurationError
from p2pclient.common.if_lost import IfLost, LossPolicy
from p2pclient.common.match_settings import MatchSettings


def test_one_word_holds_for_all_seats_and_others_for_single_ones() -> None:
    policy = LossPolicy.parse("bot:greedy:hidden 1=end@30 0=go-on")
    assert policy.of(2) == IfLost("bot", "greedy", False)
    assert policy.of(1) == IfLost("end", wait_s=30.0)
    assert policy.of(0) == IfLost("go-on")
    assert str(policy) == "bot:greedy:hidden 0=go-on 1=end@30"
    assert LossPolicy.parse(str(policy)) == policy
    assert policy.bots == ("greedy",)
    assert (policy.longest_wait(15.0), policy.longest_wait(60.0)) == (30.0, 60.0)


def test_whether_people_are_told_of_a_bot_is_part_of_the_setting() -> None:
    assert LossPolicy.parse("bot:greedy:disclosed").usual.is_disclosed
    assert not LossPolicy.parse("bot:greedy:hidden").usual.is_disclosed
    with pytest.raises(ConfigurationError, match="disclosed or bot:NAME:hidden"):
        LossPolicy.parse("bot:greedy")


def test_a_player_with_several_seats_ends_the_match_if_one_of_them_does() -> None:
    policy = LossPolicy.parse("go-on 2=bot:greedy:hidden 3=end")
    assert policy.of_all([2, 1]).then == "go-on"
    assert policy.of_all([2]).then == "bot"
    assert policy.of_all([0, 3]).then == "end"
    assert policy.of_all([]).then == "go-on"
    assert policy.can_go_on
    assert not LossPolicy.parse("end 1=end@3").can_go_on


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hope",
        "0=end",
        "end end",
        "end 1=end 1=go-on",
        "end@0.5",
        "end@9999",
        "end@",
        "bot::hidden",
        "bot:../x:hidden",
        "end 8=end",
        "end, go-on",
        "end " * 400,
    ],
)
def test_what_says_nothing_clear_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        LossPolicy.parse(text)
    assert caught.value.setting == "on_drop"


def test_a_standby_is_refused_with_what_there_is_instead() -> None:
    with pytest.raises(ConfigurationError, match="nobody can take the seat of a player in a running match yet"):
        LossPolicy.parse("standby")


def test_settings_refuse_a_seat_that_the_match_does_not_have() -> None:
    assert MatchSettings(env="toy", seats=3, on_drop="end 2=go-on").on_drop == "end 2=go-on"
    with pytest.raises(ConfigurationError, match="seats 0 to 1"):
        MatchSettings(env="toy", on_drop="end 2=go-on")


def test_a_server_does_not_start_before_it_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "test:counter_v0", "--port", "0", "--hidden"]) == 1
    said = capsys.readouterr().err
    assert "--if-lost" in said
    assert "bot:NAME:disclosed" in said
