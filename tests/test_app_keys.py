"""Key events become positions."""

from __future__ import annotations

import pygame
import pytest

from p2pclient.app.keys import CODE_BY_SCANCODE, Keyboard
from p2pclient.common.presentation import FocusChange, KeyChange


def down(scancode: int) -> pygame.Event:
    return pygame.Event(pygame.KEYDOWN, scancode=scancode, key=0, mod=0, unicode="")


def up(scancode: int) -> pygame.Event:
    return pygame.Event(pygame.KEYUP, scancode=scancode, key=0, mod=0, unicode="")


@pytest.mark.parametrize(
    ("usage", "code"),
    # USB HID Usage Tables 1.4, page 0x07, against the W3C's names: an independent reading of both.
    [
        (0x04, "KeyA"),
        (0x1D, "KeyZ"),
        (0x1E, "Digit1"),
        (0x27, "Digit0"),
        (0x28, "Enter"),
        (0x2C, "Space"),
        (0x35, "Backquote"),
        (0x3A, "F1"),
        (0x45, "F12"),
        (0x4F, "ArrowRight"),
        (0x50, "ArrowLeft"),
        (0x51, "ArrowDown"),
        (0x52, "ArrowUp"),
        (0x58, "NumpadEnter"),
        (0x59, "Numpad1"),
        (0x62, "Numpad0"),
        (0x64, "IntlBackslash"),
        (0xE0, "ControlLeft"),
        (0xE6, "AltRight"),
    ],
)
def test_positions_have_the_names_of_the_w3c(usage: int, code: str) -> None:
    assert CODE_BY_SCANCODE[usage] == code


def test_every_key_of_a_usual_keyboard_has_a_name() -> None:
    # 0x66 (Power) and up to 0x67 (NumpadEqual) lie on few keyboards.
    missing = [hex(usage) for usage in range(0x04, 0x66) if usage not in CODE_BY_SCANCODE]
    assert missing == []
    assert all(usage in CODE_BY_SCANCODE for usage in range(0xE0, 0xE8))


def test_a_press_and_a_release_are_told_with_their_times() -> None:
    keyboard = Keyboard()
    assert keyboard.receive(down(0x1A), at=1.0) == [KeyChange("KeyW", True, 1.0)]
    assert keyboard.receive(up(0x1A), at=1.5) == [KeyChange("KeyW", False, 1.5)]


def test_repeats_strangers_and_the_windows_own_keys_are_silent() -> None:
    keyboard = Keyboard()
    keyboard.receive(down(0x1A), at=1.0)
    assert keyboard.receive(down(0x1A), at=1.1) == []
    assert keyboard.receive(up(0x04), at=1.2) == []
    assert keyboard.receive(down(0x1FF), at=1.3) == []
    assert keyboard.receive(down(pygame.KSCAN_F3), at=1.4) == []
    assert keyboard.receive(down(pygame.KSCAN_F11), at=1.5) == []


def test_losing_the_keyboard_releases_all_keys_before_it_is_told() -> None:
    keyboard = Keyboard()
    assert keyboard.receive(pygame.Event(pygame.WINDOWFOCUSGAINED), at=0.5) == [FocusChange(True, 0.5)]
    keyboard.receive(down(0x1A), at=1.0)
    keyboard.receive(down(0x2C), at=1.1)
    assert keyboard.receive(pygame.Event(pygame.WINDOWFOCUSLOST), at=2.0) == [
        KeyChange("KeyW", False, 2.0),
        KeyChange("Space", False, 2.0),
        FocusChange(False, 2.0),
    ]
    assert keyboard.receive(pygame.Event(pygame.WINDOWFOCUSLOST), at=2.1) == []
    assert keyboard.receive(up(0x1A), at=2.2) == []


@pytest.mark.parametrize("focus_first", [True, False])
@pytest.mark.parametrize("back", [pygame.WINDOWRESTORED, pygame.WINDOWSHOWN, pygame.WINDOWMAXIMIZED])
def test_a_minimised_window_is_told_whatever_comes_first(focus_first: bool, back: int) -> None:
    keyboard = Keyboard()
    keyboard.receive(pygame.Event(pygame.WINDOWFOCUSGAINED), at=0.5)
    keyboard.receive(down(0x1A), at=1.0)
    kinds = [pygame.WINDOWFOCUSLOST, pygame.WINDOWMINIMIZED]
    told = [keyboard.receive(pygame.Event(kind), at=2.0) for kind in (kinds if focus_first else kinds[::-1])]
    assert told[0][0] == KeyChange("KeyW", False, 2.0)
    assert [intent for each in told for intent in each][-1] == FocusChange(False, 2.0, minimised=True)
    assert keyboard.receive(pygame.Event(pygame.WINDOWHIDDEN), at=2.1) == []
    assert keyboard.receive(pygame.Event(back), at=3.0) == [FocusChange(False, 3.0)]
    assert keyboard.receive(pygame.Event(pygame.WINDOWFOCUSGAINED), at=3.1) == [FocusChange(True, 3.1)]
