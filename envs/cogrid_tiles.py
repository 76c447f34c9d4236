"""Pictures of CoGrid kitchens: CoGrid's own tiles, drawn at once instead of pixel by pixel.

CoGrid asks a Python function for every pixel of a tile: 27 ms at 32 pixels, 109 ms at 64, and a match shows about a
hundred tiles. Here CoGrid's own drawing code runs with its four primitives replaced by ones that answer for all pixels
in one call, and each tile is drawn once, before the environment is ready. The tests compare tile by tile.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

import numpy as np
from cogrid.core.grid import Grid
from cogrid.core.objects import GridAgent, make_object

from envs.contract import Progress

TileKey = Tuple[Any, ...]
"""What is seen in a cell: ``("object", name, item, contents, timer)`` or ``("cook", seat, direction, item)``."""

_SMALLEST_TILE = 64
_PICTURE_WIDTH = 480
"""Pixels that a picture has at least, so that it stays crisp in a window."""


class KitchenPainter:
    """Draws the states of one CoGrid environment with grid size, objects and agents as given at construction.

    Args:
        env: a CoGrid environment that has been reset.
        tile_pixels: edge of a tile; by default 64 or more, so that the picture is 480 pixels wide.
    """

    def __init__(self, env: Any, tile_pixels: Optional[int] = None) -> None:
        self._env = env
        self._names: Dict[int, str] = {index: name for name, index in env._type_ids.items()}
        self._pots = f"{env.scope}.pot_positions", f"{env.scope}.pot_contents", f"{env.scope}.pot_timer"
        self.tile_pixels = tile_pixels or max(_SMALLEST_TILE, _PICTURE_WIDTH // env.grid.width)
        self._tiles: Dict[TileKey, Any] = {}

    def draw(self, state: Any) -> Any:
        """Return ``uint8[rows * tile, columns * tile, 3]`` of an ``EnvState``, equal to ``env.get_full_render``."""
        size = self.tile_pixels
        keys = self.tile_keys(state)
        picture = np.empty((len(keys) * size, len(keys[0]) * size, 3), dtype=np.uint8)
        for row, line in enumerate(keys):
            for column, key in enumerate(line):
                tile = self._tiles.get(key)
                if tile is None:
                    tile = self._tiles[key] = self._draw_tile(key)
                picture[row * size : (row + 1) * size, column * size : (column + 1) * size] = tile
        return picture

    def warm(self, keys: List[TileKey], progress: Progress) -> None:
        """Draw the tiles of ``keys`` that are not there yet."""
        missing = [key for key in keys if key not in self._tiles]
        for index, key in enumerate(missing):
            self._tiles[key] = self._draw_tile(key)
            progress((index + 1) / len(missing), "Drawing the kitchen")

    def tile_keys(self, state: Any) -> List[List[TileKey]]:
        """Return what is seen in each cell, row by row."""
        positions, contents, timers = (state.extra_state[name].tolist() for name in self._pots)
        pots = {tuple(place): (items, timer) for place, items, timer in zip(positions, contents, timers)}
        items_on = state.object_state_map.tolist()
        keys: List[List[TileKey]] = []
        for row, line in enumerate(state.object_type_map.tolist()):
            keys.append([])
            for column, kind in enumerate(line):
                name = self._names.get(kind, "free_space") if kind else "free_space"
                keys[-1].append(self._object_key(name, items_on[row][column], pots.get((row, column))))
        cooks = zip(state.agent_pos.tolist(), state.agent_dir.tolist(), state.agent_inv[:, 0].tolist())
        for seat, ((row, column), direction, held) in enumerate(cooks):
            keys[row][column] = ("cook", seat, direction, self._names[held] if held > 0 else None)
        return keys

    def _object_key(self, name: str, item: int, pot: Optional[Tuple[List[int], int]]) -> TileKey:
        if name == "pot" and pot is not None:
            return pot_key([self._names[kind] for kind in pot[0] if kind > 0], pot[1], len(pot[0]))
        on_top = self._names[item] if name == "counter" and item > 0 else None
        return ("object", name, on_top, (), None)

    def _draw_tile(self, key: TileKey) -> Any:
        grid = Grid(3, 3)
        thing = None
        if key[0] == "cook":
            grid.grid_agents[key[1]] = self._make_cook(key[1], key[2], key[3])
        elif key[1] != "free_space":
            thing = self._make_thing(key)
        with primitives_for_arrays():
            # CoGrid keeps floats and cuts them to bytes when it puts a tile into the picture.
            return grid.render_tile(thing, position=(1, 1), tile_size=self.tile_pixels).astype(np.uint8)

    def _make_thing(self, key: TileKey) -> Any:
        scope = self._env.scope
        thing = make_object(key[1], scope=scope, state=0)
        if key[2] is not None:
            thing.obj_placed_on = make_object(key[2], scope=scope)
        if key[1] == "pot":
            thing.objects_in_pot = [make_object(name, scope=scope) for name in key[3]]
            thing.cooking_timer = key[4] if key[4] is not None else -1
        return thing

    def _make_cook(self, seat: int, direction: int, item: Optional[str]) -> Any:
        cook = self._env.agent_class(agent_id=seat, start_position=np.array((1, 1)), start_direction=direction)
        cook.inventory = [make_object(item, scope=self._env.scope)] if item is not None else []
        return GridAgent(cook, n_agents=self._env.config["num_agents"], scope=self._env.scope)


def pot_key(contents: List[str], timer: int, capacity: int) -> TileKey:
    """Return the key of a pot: its timer shows only while it is full."""
    return ("object", "pot", None, tuple(contents), timer if len(contents) == capacity else None)


def expected_tiles(layout_names: List[str], items: List[str], seats: int, cook_time: int) -> List[TileKey]:
    """Return the keys of the tiles that a match of onion soups can show.

    Args:
        layout_names: objects that stand in the kitchen, such as ``counter`` and ``pot``.
        items: what can be carried.
    """
    keys: List[TileKey] = [("object", "free_space", None, (), None)]
    for name in layout_names:
        keys.append(("object", name, None, (), None) if name != "pot" else pot_key([], cook_time, 3))
    if "pot" in layout_names:
        keys += [pot_key(["onion"] * count, cook_time, 3) for count in (1, 2)]
        keys += [pot_key(["onion"] * 3, timer, 3) for timer in range(cook_time, -1, -1)]
    for item in items:
        keys += [("object", "counter", item, (), None), ("object", item, None, (), None)]
    keys += [("cook", seat, turn, item) for seat in range(seats) for turn in range(4) for item in [None, *items]]
    return keys


@contextmanager
def primitives_for_arrays() -> Iterator[None]:
    """Have CoGrid draw with primitives that take all pixels at once, and without its cache of tiles, for a while."""
    replaced: List[Tuple[Any, str, Any]] = []
    for name, module in list(sys.modules.items()):
        if name.startswith("cogrid."):
            for attribute, primitive in _PRIMITIVES.items():
                original = getattr(module, attribute, None)
                if getattr(original, "__module__", None) == "cogrid.visualization.rendering":
                    replaced.append((module, attribute, original))
                    setattr(module, attribute, primitive)
    cache, Grid.tile_cache = Grid.tile_cache, {}
    try:
        yield
    finally:
        Grid.tile_cache = cache
        for module, attribute, original in replaced:
            setattr(module, attribute, original)


Inside = Callable[[Any, Any], Any]


def _fill_coords(img: Any, fn: Inside, color: Any) -> Any:
    rows, columns = img.shape[:2]
    y = ((np.arange(rows) + 0.5) / rows)[:, None]
    x = ((np.arange(columns) + 0.5) / columns)[None, :]
    img[np.broadcast_to(fn(x, y), (rows, columns))] = color
    return img


def _point_in_rect(xmin: float, xmax: float, ymin: float, ymax: float) -> Inside:
    return lambda x, y: (x >= xmin) & (x <= xmax) & (y >= ymin) & (y <= ymax)


def _point_in_triangle(a: Any, b: Any, c: Any) -> Inside:
    a, b, c = (np.array(corner, dtype=np.float32) for corner in (a, b, c))
    v0, v1 = c - a, b - a
    dot00, dot01, dot11 = np.dot(v0, v0), np.dot(v0, v1), np.dot(v1, v1)
    inverse = 1 / (dot00 * dot11 - dot01 * dot01)

    def fn(x: Any, y: Any) -> Any:
        dx, dy = x - a[0], y - a[1]
        dot02 = v0[0] * dx + v0[1] * dy
        dot12 = v1[0] * dx + v1[1] * dy
        u = (dot11 * dot02 - dot01 * dot12) * inverse
        v = (dot00 * dot12 - dot01 * dot02) * inverse
        return (u >= 0) & (v >= 0) & (u + v < 1)

    return fn


_PRIMITIVES: Dict[str, Callable[..., Any]] = {
    "fill_coords": _fill_coords,
    "point_in_rect": _point_in_rect,
    "point_in_triangle": _point_in_triangle,
}
