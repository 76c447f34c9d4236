"""Who may do what in the console, as data. Each role may do what those before it may."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from signaling.actions import Action
from signaling.store.interface import Role

ROLES: tuple[Role, ...] = get_args(Role)
"""``viewer`` looks; ``operator`` acts on the room; ``admin`` also sees who did what, and decides who may log in."""

NEEDED: Mapping[str, Role] = {
    "look": "viewer",
    "pair": "operator",
    "start-all": "operator",
    "hold": "operator",
    "release": "operator",
    "move": "operator",
    "pause": "operator",
    "resume": "operator",
    "extend": "operator",
    "end": "operator",
    "tell": "operator",
    "remove": "operator",
    "add-bot": "operator",
    "probe-room": "operator",
    "audit": "admin",
    "accounts": "admin",
}
"""The least role by what is asked: the kind of an action, or a part of the console."""


def role_for(action: Action) -> Role:
    """Return the role that an action needs; ``admin`` for a kind that nobody has thought about here."""
    return NEEDED.get(str(type(action).__struct_config__.tag), "admin")


def may(role: str, what: str) -> bool:
    """May ``role`` do this? What is not in :data:`NEEDED` needs ``admin``; a role that is none may nothing."""
    return role in ROLES and ROLES.index(role) >= ROLES.index(NEEDED.get(what, "admin"))
