"""All that the console knows of the room."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from signaling.actions import Action
from signaling.effects import Effect
from signaling.rows import RoomRow


class Desk(Protocol):
    """The room, as a researcher reaches it."""

    def row(self, *, now: float, epoch: float) -> RoomRow:
        """Return everything that is shown. ``now`` is the server's clock, ``epoch`` the same moment since 1970."""
        ...

    async def act(self, action: Action, *, by: str, now: float) -> str:
        """Begin to carry an action out, for the account ``by``; return its id, which ``row().actions`` shows next.

        Raises:
            SignalingError: it is refused, with a stable code and a sentence.
        """
        ...


class ActingRoom(Protocol):
    """What the pure room offers for this; see there."""

    def row(self, *, now: float, epoch: float) -> RoomRow: ...

    def act(self, action: Action, *, by: str, now: float) -> tuple[str, list[Effect]]: ...


class RoomDesk:
    """A :class:`Desk` over a pure room, whose decisions ``carry_out`` carries out."""

    def __init__(self, room: ActingRoom, carry_out: Callable[[Sequence[Effect]], Awaitable[None]]) -> None:
        self._room, self._carry_out = room, carry_out

    def row(self, *, now: float, epoch: float) -> RoomRow:
        return self._room.row(now=now, epoch=epoch)

    async def act(self, action: Action, *, by: str, now: float) -> str:
        action_id, effects = self._room.act(action, by=by, now=now)
        await self._carry_out(effects)
        return action_id
