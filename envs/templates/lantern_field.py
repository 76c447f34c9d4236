"""lantern_field: two players walk over a dark field and light lanterns together.

Play it:      tandem play lantern_field:make --bot random
Check it:     tandem check lantern_field:make
On a LAN:     tandem serve lantern_field:make      and on each machine, in the folder with this file
              tandem join URL --allow-env lantern_field:make

Change it as you like: while `tandem play` is open, the next match is played with the new code.
"""

from __future__ import annotations

from typing import Any, Dict, Optional

import gymnasium
import numpy as np
from pettingzoo import ParallelEnv

WIDTH, HEIGHT = 9, 6
CELL = 48
"""Side of a cell in the picture, in pixels."""
MOVES = {0: (0, 0), 1: (0, -1), 2: (0, 1), 3: (-1, 0), 4: (1, 0)}
"""Action to (columns, rows)."""
COLOURS = {"player_0": (86, 180, 233), "player_1": (230, 159, 0)}


class LanternField(ParallelEnv):
    """Whoever stands on the lantern lights it: both get a point, and the next one stands elsewhere."""

    metadata = {"name": "lantern_field_v0", "render_modes": ["rgb_array"], "render_fps": 10}

    def __init__(self, max_steps: int = 300, render_mode: Optional[str] = None) -> None:
        self.possible_agents = ["player_0", "player_1"]
        self.agents: Any = []
        self.max_steps = max_steps
        self.render_mode = render_mode
        self._actions = {agent: gymnasium.spaces.Discrete(len(MOVES)) for agent in self.possible_agents}
        # Columns and rows of both players and of the lantern.
        self._view = gymnasium.spaces.Box(0, max(WIDTH, HEIGHT) - 1, (6,), np.int64)
        # Every random number comes from a generator that belongs to the state: never from `random` or `np.random`.
        self._random = np.random.default_rng(0)
        self._places: Dict[str, Any] = {}
        self._lantern = (0, 0)
        self._time = 0

    # The very same space object must be returned each time: PettingZoo seeds it.
    def action_space(self, agent: Any) -> Any:
        return self._actions[agent]

    def observation_space(self, agent: Any) -> Any:
        return self._view

    def get_action_meanings(self) -> Any:
        """By action. Words such as left, right, up, down, fire get their keys by themselves; noop gets none."""
        return ["noop", "up", "down", "left", "right"]

    def reset(self, seed: Optional[int] = None, options: Any = None) -> Any:
        self._random = np.random.default_rng(seed)
        self.agents = list(self.possible_agents)
        self._places = {"player_0": (0, 0), "player_1": (WIDTH - 1, HEIGHT - 1)}
        self._place_lantern()
        self._time = 0
        return self._observations(), {agent: {} for agent in self.agents}

    def step(self, actions: Any) -> Any:
        self._time += 1
        for agent in self.agents:
            column, row = self._places[agent]
            columns, rows = MOVES[int(actions[agent])]
            self._places[agent] = (min(max(column + columns, 0), WIDTH - 1), min(max(row + rows, 0), HEIGHT - 1))
        is_lit = self._lantern in self._places.values()
        if is_lit:
            self._place_lantern()
        agents, is_over = self.agents, self._time >= self.max_steps
        if is_over:
            self.agents = []
        return (
            {agent: self._observation() for agent in agents},
            dict.fromkeys(agents, float(is_lit)),
            dict.fromkeys(agents, False),
            dict.fromkeys(agents, is_over),
            {agent: {} for agent in agents},
        )

    def render(self) -> Any:
        """Return uint8[height, width, 3]. It must change nothing: only some machines draw, and not every frame."""
        picture = np.full((HEIGHT * CELL, WIDTH * CELL, 3), 24, np.uint8)
        picture[::CELL] = picture[:, ::CELL] = 40
        _fill(picture, self._lantern, (255, 236, 140), margin=14)
        for agent, place in self._places.items():
            _fill(picture, place, COLOURS[agent], margin=8)
        return picture

    # Two methods that PettingZoo does not ask for. With them, going back is exact and quick, because they say what the
    # state is: everything that the future depends on, the random generator included, as plain data. Without them, the
    # ways that are tried are slower. `tandem check` tells whether something is missing.

    def get_state(self) -> Any:
        return {
            "places": {agent: list(place) for agent, place in self._places.items()},
            "lantern": list(self._lantern),
            "time": self._time,
            "agents": list(self.agents),
            "random": self._random.bit_generator.state,
        }

    def set_state(self, state: Any) -> None:
        self._places = {agent: (place[0], place[1]) for agent, place in state["places"].items()}
        self._lantern = (state["lantern"][0], state["lantern"][1])
        self._time = state["time"]
        self.agents = list(state["agents"])
        self._random.bit_generator.state = state["random"]

    def _place_lantern(self) -> None:
        taken = set(self._places.values())
        # A list and not the set: the order of a set may differ between machines.
        free = [(column, row) for column in range(WIDTH) for row in range(HEIGHT) if (column, row) not in taken]
        self._lantern = free[int(self._random.integers(len(free)))]

    def _observations(self) -> Any:
        return {agent: self._observation() for agent in self.agents}

    def _observation(self) -> Any:
        return np.array([*self._places["player_0"], *self._places["player_1"], *self._lantern], np.int64)


def _fill(picture: Any, place: Any, colour: Any, *, margin: int) -> None:
    """Draw a square into a cell."""
    top, left = place[1] * CELL + margin, place[0] * CELL + margin
    picture[top : top + CELL - 2 * margin, left : left + CELL - 2 * margin] = colour


def make(**arguments: Any) -> Any:
    """Make the environment; `--env-arg NAME=VALUE` gives the arguments."""
    return LanternField(render_mode="rgb_array", **arguments)
