"""The parts that are on the screen now, composed no more often than they change."""

from __future__ import annotations

from collections.abc import Sequence

from p2pclient.app import screens
from p2pclient.app.draw import Part
from p2pclient.app.picture import Pictures
from p2pclient.app.screens import Local
from p2pclient.common.presentation import Presentation


class Scene:
    """Keeps what was composed last: a waiting screen stands for minutes, and only its bar moves."""

    def __init__(self) -> None:
        self._pictures = Pictures()
        self._presentation: Presentation | None = None
        self._size = (0, 0)
        self._local = Local()
        self._parts: Sequence[Part] = ()
        self._moves = False

    def parts(self, presentation: Presentation, size: tuple[int, int], local: Local) -> Sequence[Part]:
        """What :func:`screens.compose` gives for these. Parts that did not change are the very same objects."""
        before, self._local = self._local, local
        if presentation is not self._presentation or size != self._size or _is_other(local, before):
            self._presentation, self._size = presentation, size
            self._parts = screens.compose(presentation, size, local, self._pictures)
            self._moves = any(part.moved is not None for part in self._parts)
        elif self._moves and local.phase != before.phase:
            self._parts = [part if part.moved is None else part.moved(local.phase) for part in self._parts]
        return self._parts


def _is_other(local: Local, before: Local) -> bool:
    return (local.figures, local.focused) != (before.figures, before.focused)
