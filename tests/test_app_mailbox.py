"""The letter box between runtime and window."""

from __future__ import annotations

import threading
from pathlib import Path

from p2pclient.app.mailbox import Mailbox
from p2pclient.common.presentation import Continue, Presentation, Screen, Shown


def test_the_newest_presentation_wins() -> None:
    mailbox = Mailbox()
    assert mailbox.latest() is None
    mailbox.publish(Presentation(Screen.LOADING))
    newest = Presentation(Screen.WAITING)
    mailbox.publish(newest)
    assert mailbox.latest() is newest
    assert mailbox.latest() is newest


def test_intents_are_taken_in_order_and_once() -> None:
    mailbox = Mailbox()
    sent = [Shown(0, 1, 0.1), Continue(0.2), Shown(0, 2, 0.3)]
    for intent in sent:
        mailbox.send(intent)
    assert mailbox.take_intents() == sent
    assert mailbox.take_intents() == []


def test_intents_nobody_takes_do_not_grow_without_bound() -> None:
    mailbox = Mailbox()
    for frame in range(10_000):
        mailbox.send(Shown(0, frame, 0.0))
    taken = mailbox.take_intents()
    assert len(taken) < 10_000
    assert taken[-1] == Shown(0, 9_999, 0.0)


def test_the_window_is_woken_once_until_it_looks() -> None:
    mailbox = Mailbox()
    woken: list[int] = []
    mailbox.attach(lambda: woken.append(1))
    mailbox.publish(Presentation(Screen.LOADING))
    mailbox.publish(Presentation(Screen.WAITING))
    assert len(woken) == 1
    mailbox.latest()
    mailbox.publish(Presentation(Screen.PLAYING))
    assert len(woken) == 2
    mailbox.latest()
    mailbox.attach(None)
    mailbox.publish(Presentation(Screen.RESULTS))
    assert len(woken) == 2


def test_everything_published_from_another_thread_is_seen() -> None:
    mailbox = Mailbox()
    last = Presentation(Screen.RESULTS)

    def publish() -> None:
        for _ in range(5_000):
            mailbox.publish(Presentation(Screen.LOADING))
        mailbox.publish(last)

    thread = threading.Thread(target=publish)
    thread.start()
    while mailbox.latest() is not last:
        assert mailbox.wait(10.0), "slept through something that was published"
    thread.join()


def test_close_and_requests_for_pictures_wake_too() -> None:
    mailbox = Mailbox()
    assert not mailbox.wait(0)
    mailbox.request_snapshot("shown.png")
    assert mailbox.wait(0)
    assert mailbox.take_snapshot_requests() == [Path("shown.png")]
    assert mailbox.take_snapshot_requests() == []
    mailbox.latest()
    assert not mailbox.is_closed
    mailbox.close()
    mailbox.close()
    assert mailbox.wait(0)
    assert mailbox.is_closed


def test_a_runtime_whose_loop_has_closed_does_not_end_the_window() -> None:
    def closed() -> None:
        raise RuntimeError("Event loop is closed")

    mailbox = Mailbox(wake_runtime=closed)
    mailbox.send(Continue(0.0))
    mailbox.send(Continue(1.0))
    assert len(mailbox.take_intents()) == 2
