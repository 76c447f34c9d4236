"""What a client that is sent away records and shows of it."""

from __future__ import annotations

import pytest

from p2pclient.common.lobby_messages import PeerGone
from p2pclient.common.presentation import Screen
from p2pclient.common.room_messages import Removed
from p2pclient.common.stages import SCREENS, Stage
from p2pclient.match.plan import Ended
from p2pclient.runtime.partings import STAYS_OUT, Partings

LEFT = Ended("left", "You left.", 0)


@pytest.mark.parametrize(("words", "text"), [("Please see Eva.", "Please see Eva."), ("", SCREENS[Stage.EXCLUDED][1])])
def test_who_was_removed_in_mid_match_has_not_left(words: str, text: str) -> None:
    partings = Partings()
    assert partings.explain(LEFT) == LEFT
    partings.leave(words)
    assert partings.explain(LEFT) == Ended("removed", text, 0)
    finished = Ended("finished", "All was played.", 0)
    assert partings.explain(finished) == finished


def test_who_broke_a_rule_was_excluded_and_not_removed() -> None:
    partings = Partings()
    partings.removed = Removed(message="Your connection was too slow.", rule="ping")
    partings.leave("Your connection was too slow.")
    assert partings.explain(LEFT) == Ended("excluded", "Your connection was too slow.", 0)


def test_what_is_said_of_a_partner_who_is_gone_holds_for_one_match() -> None:
    partings = Partings()
    partings.note_partner(PeerGone(match_id="m", client_id="b", why="left", message="Thank you for your patience."))
    partings.note_partner(PeerGone(match_id="m", client_id="b", why="left"))
    assert partings.partner_words == "Thank you for your patience."
    assert partings.explain(Ended("partner-left", "It left.", 0)).reason == "partner-excluded"
    partings.begin_match()
    assert partings.partner_words == ""


def test_a_station_that_is_out_says_how_it_comes_back_and_asks_for_no_key() -> None:
    partings = Partings()
    partings.leave("Please see Eva.")
    plain, station = partings.farewell("Please see Eva.", ()), partings.farewell("Please see Eva.", (), stays=True)
    assert (plain.message, plain.can_continue) == ("Please see Eva.", True)
    assert (station.message, station.can_continue) == (f"Please see Eva. {STAYS_OUT}", False)
    partings.removed = Removed(message="This computer is too slow.", rule="frame_rate")
    station = partings.farewell("This computer is too slow.", (), stays=True)
    assert (station.screen, station.can_continue) == (Screen.EXCLUDED, False)
    assert station.message.endswith(STAYS_OUT)
