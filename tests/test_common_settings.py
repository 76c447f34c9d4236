"""What is checked where it is built: settings of a match, errors that say whose fault it is, what the window draws."""

from __future__ import annotations

from typing import Any

import pytest

from p2pclient.common.errors import ConfigurationError, EnvHostError, EnvHostGone, SignalingError, TandemError
from p2pclient.common.lobby_messages import decode_client_event, decode_server_event
from p2pclient.common.match_settings import MAX_INPUT_DELAY, MatchSettings
from p2pclient.common.presentation import Presentation, Screen, View


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"delay_range": (0, MAX_INPUT_DELAY)},
        {"delay_range": (2, 2), "input_delay": 2},
        {"prediction": ("repeat", "neutral")},
        {"prediction": ("one-of_the-environments-own",)},
        {"on_drop": "go-on", "on_desync": "resimulate"},
        {"on_away": "pause", "away_limit_s": 1, "tell_away": True},
        {"check_tries": 1, "max_rtt_ms": 150, "max_loss": 0.0},
        {"frames": 600, "episodes": 0},
        {"env_args": {"layout": "x" * 16_000}},
        {"window": 0, "seats": 8, "prediction": ("auto",) * 8},
    ],
)
def test_settings_within_their_bounds_are_taken(values: dict[str, Any]) -> None:
    settings = MatchSettings(env="toy", **values)
    assert all(getattr(settings, name) == value for name, value in values.items())


@pytest.mark.parametrize(
    ("setting", "values"),
    [
        ("delay_range, lowest", {"delay_range": (-1, 3)}),
        ("delay_range, highest", {"delay_range": (0, MAX_INPUT_DELAY + 1)}),
        ("delay_range, highest", {"delay_range": (4, 3), "input_delay": 4}),
        ("input_delay", {"delay_range": (1, 3), "input_delay": 0}),
        ("input_delay", {"delay_range": (1, 3), "input_delay": 4}),
        ("prediction", {"prediction": ()}),
        ("prediction", {"prediction": ("auto", "auto", "auto")}),
        ("prediction", {"prediction": ("../../secret",)}),
        ("on_drop", {"on_drop": "hope"}),
        ("on_away", {"on_away": "hope"}),
        ("away_limit_s", {"away_limit_s": 0}),
        ("check_tries", {"check_tries": 0}),
        ("max_rtt_ms", {"max_rtt_ms": 0}),
        ("max_loss", {"max_loss": 1.5}),
        ("on_desync", {"on_desync": "go-on"}),
        ("episodes", {"episodes": 0}),
        ("window", {"window": 61}),
        ("window", {"window": True}),
        ("rate_hz", {"rate_hz": float("nan")}),
        ("env", {"env": "../elsewhere"}),
        ("env", {"env": 3}),
        ("env_args", {"env_args": {1: 2}}),
        ("env_args", {"env_args": {"x": object()}}),
        ("env_args", {"env_args": {"x": "y" * 17_000}}),
        ("env_args", {"env_args": []}),
    ],
)
def test_a_setting_out_of_its_bounds_is_refused_by_name(setting: str, values: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        MatchSettings(**{"env": "toy", **values})
    assert caught.value.setting == setting


def test_an_error_of_the_environments_host_says_which_command_stopped_it() -> None:
    error = EnvHostGone("it is gone", index=3, command="step", traceback="Traceback")
    assert isinstance(error, EnvHostError)
    assert isinstance(error, TandemError)
    assert (str(error), error.index, error.command, error.traceback) == ("it is gone", 3, "step", "Traceback")


def test_an_event_that_no_client_sends_is_refused() -> None:
    with pytest.raises(SignalingError) as caught:
        decode_client_event("no-such-event", {})
    assert caught.value.code == "unknown-event"


@pytest.mark.parametrize("payload", [None, [], {"protocol": "new"}, {"protocol": 1.5}])
def test_an_event_of_another_shape_is_refused_as_malformed(payload: Any) -> None:
    with pytest.raises(SignalingError) as caught:
        decode_client_event("join", payload)
    assert caught.value.code == "malformed"


@pytest.mark.parametrize("event", ["no-such-event", "waiting", "matched"])
def test_a_server_that_says_something_unreadable_is_named_with_the_event(event: str) -> None:
    with pytest.raises(SignalingError, match=f"'{event}' that this program cannot read") as caught:
        decode_server_event(event, {})
    assert caught.value.code == "bad-server"


def test_a_picture_is_new_whenever_another_view_is_published() -> None:
    pixels = object()
    first, second = View(0, 7, pixels), View(0, 7, pixels)
    assert first != second
    shown = Presentation(Screen.PLAYING, view=first)
    assert shown == Presentation(Screen.PLAYING, view=first)
    assert shown != Presentation(Screen.PLAYING, view=second)
