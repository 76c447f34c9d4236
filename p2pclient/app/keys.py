"""The input map: pygame's events become key positions and intents. pygame events stop here.

Keys are known by where they are (SDL scancodes, which are USB HID usages), not by what is printed on them, so that
"W A S D" lies under the same fingers on every layout. Codes are those of the W3C's UI Events KeyboardEvent code Values.
"""

from __future__ import annotations

import string

import pygame

from p2pclient.common.presentation import FocusChange, Intent, KeyChange

_LETTERS = {getattr(pygame, f"KSCAN_{c}"): f"Key{c}" for c in string.ascii_uppercase}
_DIGITS = {getattr(pygame, f"KSCAN_{c}"): f"Digit{c}" for c in string.digits}
_FUNCTION = {getattr(pygame, f"KSCAN_F{n}"): f"F{n}" for n in range(1, 16)}
_NUMPAD_DIGITS = {getattr(pygame, f"KSCAN_KP{c}"): f"Numpad{c}" for c in string.digits}

CODE_BY_SCANCODE: dict[int, str] = {
    **_LETTERS,
    **_DIGITS,
    **_FUNCTION,
    **_NUMPAD_DIGITS,
    pygame.KSCAN_RETURN: "Enter",
    pygame.KSCAN_ESCAPE: "Escape",
    pygame.KSCAN_BACKSPACE: "Backspace",
    pygame.KSCAN_TAB: "Tab",
    pygame.KSCAN_SPACE: "Space",
    pygame.KSCAN_MINUS: "Minus",
    pygame.KSCAN_EQUALS: "Equal",
    pygame.KSCAN_LEFTBRACKET: "BracketLeft",
    pygame.KSCAN_RIGHTBRACKET: "BracketRight",
    pygame.KSCAN_BACKSLASH: "Backslash",
    # The key left of Enter on ISO keyboards: browsers report it as Backslash, too.
    pygame.KSCAN_NONUSHASH: "Backslash",
    pygame.KSCAN_NONUSBACKSLASH: "IntlBackslash",
    pygame.KSCAN_SEMICOLON: "Semicolon",
    pygame.KSCAN_APOSTROPHE: "Quote",
    pygame.KSCAN_GRAVE: "Backquote",
    pygame.KSCAN_COMMA: "Comma",
    pygame.KSCAN_PERIOD: "Period",
    pygame.KSCAN_SLASH: "Slash",
    pygame.KSCAN_INTERNATIONAL1: "IntlRo",
    pygame.KSCAN_INTERNATIONAL2: "KanaMode",
    pygame.KSCAN_INTERNATIONAL3: "IntlYen",
    pygame.KSCAN_INTERNATIONAL4: "Convert",
    pygame.KSCAN_INTERNATIONAL5: "NonConvert",
    pygame.KSCAN_LANG1: "Lang1",
    pygame.KSCAN_LANG2: "Lang2",
    pygame.KSCAN_CAPSLOCK: "CapsLock",
    pygame.KSCAN_SCROLLLOCK: "ScrollLock",
    pygame.KSCAN_NUMLOCKCLEAR: "NumLock",
    pygame.KSCAN_PRINTSCREEN: "PrintScreen",
    pygame.KSCAN_PAUSE: "Pause",
    pygame.KSCAN_INSERT: "Insert",
    pygame.KSCAN_DELETE: "Delete",
    pygame.KSCAN_HOME: "Home",
    pygame.KSCAN_END: "End",
    pygame.KSCAN_PAGEUP: "PageUp",
    pygame.KSCAN_PAGEDOWN: "PageDown",
    pygame.KSCAN_UP: "ArrowUp",
    pygame.KSCAN_DOWN: "ArrowDown",
    pygame.KSCAN_LEFT: "ArrowLeft",
    pygame.KSCAN_RIGHT: "ArrowRight",
    pygame.KSCAN_KP_DIVIDE: "NumpadDivide",
    pygame.KSCAN_KP_MULTIPLY: "NumpadMultiply",
    pygame.KSCAN_KP_MINUS: "NumpadSubtract",
    pygame.KSCAN_KP_PLUS: "NumpadAdd",
    pygame.KSCAN_KP_ENTER: "NumpadEnter",
    pygame.KSCAN_KP_PERIOD: "NumpadDecimal",
    pygame.KSCAN_KP_EQUALS: "NumpadEqual",
    pygame.KSCAN_LSHIFT: "ShiftLeft",
    pygame.KSCAN_RSHIFT: "ShiftRight",
    pygame.KSCAN_LCTRL: "ControlLeft",
    pygame.KSCAN_RCTRL: "ControlRight",
    pygame.KSCAN_LALT: "AltLeft",
    pygame.KSCAN_RALT: "AltRight",
    pygame.KSCAN_LGUI: "MetaLeft",
    pygame.KSCAN_RGUI: "MetaRight",
    pygame.KSCAN_MENU: "ContextMenu",
    0x65: "ContextMenu",  # USB's "Application", what PC keyboards have; pygame has no name for it
}

OVERLAY_KEY = "F3"
FULLSCREEN_KEY = "F11"
CONTINUE_KEYS = frozenset({"Enter", "NumpadEnter"})
# These belong to the window and never reach the environment.
_WINDOW_KEYS = frozenset({OVERLAY_KEY, FULLSCREEN_KEY})


class Keyboard:
    """Which keys are down, as far as the window was told, and whether it has the keyboard at all."""

    def __init__(self) -> None:
        self._held: dict[str, None] = {}  # an ordered set: keys are released in the order they went down
        self._focused = False
        self._minimised = False

    @property
    def is_focused(self) -> bool:
        return self._focused

    def receive(self, event: pygame.Event, *, at: float) -> list[Intent]:
        """What an event says about keys and focus; empty for any other event, for repeats, and for unknown keys.

        ``at`` is the ``perf_counter`` time at which the event was taken from the system.
        """
        if event.type == pygame.KEYDOWN:
            return self._press(CODE_BY_SCANCODE.get(event.scancode), at)
        if event.type == pygame.KEYUP:
            return self._release(CODE_BY_SCANCODE.get(event.scancode), at)
        if event.type == pygame.WINDOWFOCUSGAINED:
            return self._change_focus(at, focused=True, minimised=False)
        if event.type == pygame.WINDOWFOCUSLOST:
            return self._change_focus(at, focused=False, minimised=self._minimised)
        if event.type in (pygame.WINDOWMINIMIZED, pygame.WINDOWHIDDEN):
            return self._change_focus(at, focused=False, minimised=True)
        if event.type in (pygame.WINDOWRESTORED, pygame.WINDOWSHOWN, pygame.WINDOWMAXIMIZED):
            return self._change_focus(at, focused=self._focused, minimised=False)
        return []

    def release_all(self, *, at: float) -> list[Intent]:
        """Releases for every key that is down. The system tells nobody about keys that come up elsewhere."""
        released: list[Intent] = [KeyChange(code, False, at) for code in self._held]
        self._held.clear()
        return released

    def _press(self, code: str | None, at: float) -> list[Intent]:
        if code is None or code in _WINDOW_KEYS or code in self._held:
            return []
        self._held[code] = None
        return [KeyChange(code, True, at)]

    def _release(self, code: str | None, at: float) -> list[Intent]:
        # A key that went down before we had the keyboard is none of ours.
        if code is None or code not in self._held:
            return []
        del self._held[code]
        return [KeyChange(code, False, at)]

    def _change_focus(self, at: float, *, focused: bool, minimised: bool) -> list[Intent]:
        if (focused, minimised) == (self._focused, self._minimised):
            return []
        self._focused, self._minimised = focused, minimised
        released = [] if focused else self.release_all(at=at)
        return [*released, FocusChange(focused, at, minimised)]


def code_of(event: pygame.Event) -> str | None:
    """The code of a key that went down, ``None`` for any other event."""
    return CODE_BY_SCANCODE.get(event.scancode) if event.type == pygame.KEYDOWN else None
