"""What is typed on the command line: numbers are numbers, and what is out of range is named."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
from play_rig import tandem

from p2pclient.common.errors import ConfigurationError
from p2pclient.runtime.presenter import NoWindow
from p2pclient.runtime.solo import SoloClient, SoloSettings
from p2pclient.settings.flags import InputDelay, add_impairment_flags, add_match_flags, match_length


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_match_flags(parser)
    add_impairment_flags(parser)
    return parser.parse_args(words)


@pytest.mark.parametrize("flag", ["--rate", "--seconds", "--latency-ms", "--loss"])
@pytest.mark.parametrize("text", ["nan", "inf", "1e999", "", "five"])
def test_what_is_no_number_is_refused_where_it_is_typed(flag: str, text: str) -> None:
    with pytest.raises(argparse.ArgumentError, match=f"{flag}: invalid number"):
        parse(flag, text)


@pytest.mark.parametrize(
    ("words", "setting"),
    [
        (("--rate", "0"), "--rate"),
        (("--rate", "-15"), "--rate"),
        (("--rate", "1e300"), "--rate"),
        (("--seconds", "0.001"), "--seconds"),
        (("--seconds", "-3"), "--seconds"),
        (("--seconds", "1e300"), "--seconds"),
        (("--episodes", "-1"), "--episodes"),
    ],
)
def test_a_length_out_of_range_is_named(words: tuple[str, ...], setting: str) -> None:
    with pytest.raises(ConfigurationError, match=setting):
        match_length(parse(*words))


def test_alone_the_rate_is_the_environments_unless_one_is_given(tmp_path: Path) -> None:
    ready = {"seats": 1, "nominal_rate_hz": 20, "controls": {"neutral": [b"\0"]}}
    for given, rate, frames in ((None, 20.0, 40), (50.0, 50.0, 100)):
        settings = SoloSettings("e", tmp_path, rate_hz=given, seconds=2.0, episodes=0, seed=1)
        plan = SoloClient(settings, NoWindow(), report=lambda event: None)._plan(ready)
        assert (plan.rate_hz, plan.frames) == (rate, frames)
    parser = argparse.ArgumentParser()
    add_match_flags(parser, own_rate=True)
    assert parser.parse_args([]).rate is None


def test_seconds_are_nominal_frames_of_the_rate() -> None:
    assert match_length(parse("--rate", "60", "--seconds", "2.5")) == (0, 150)
    assert match_length(parse("--episodes", "3")) == (3, 0)
    assert match_length(parse()) == (1, 0)


@pytest.mark.parametrize(
    ("text", "delay"),
    [("3", InputDelay(3)), ("auto", InputDelay(0, (0, 8))), ("auto:2-5", InputDelay(2, (2, 5)))],
)
def test_an_input_delay_is_a_number_or_follows_the_network(text: str, delay: InputDelay) -> None:
    assert InputDelay.parse(text) == delay
    assert InputDelay.parse(str(delay)) == delay


async def test_alone_too_a_predictor_must_exist(tmp_path: Path) -> None:
    words = ("play", "test:counter_v0", "--headless", "--bot", "seeker", "--seconds", "1", "--prediction", "nonsense")
    async with tandem(*words, "--out", str(tmp_path), out=tmp_path) as process:
        assert await process.end() == 1
    assert "prediction is 'nonsense'" in process.errors
    assert "seeker" in process.errors
