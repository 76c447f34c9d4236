"""Keys for environments that say nothing of keyboards: from what their actions mean, else digits and arrows."""

from __future__ import annotations

import re
from typing import Any, Dict, List, Optional, Tuple

from envs.contract import Controls
from envs.gym_spaces import neutral_value
from p2pclient.common.errors import RemoteProtocolError
from p2pclient.common.spaces import Space, decode_action, encode_action

_KEYS = {
    "left": ["ArrowLeft", "KeyA"],
    "right": ["ArrowRight", "KeyD"],
    "up": ["ArrowUp", "KeyW"],
    "down": ["ArrowDown", "KeyS"],
    "fire": ["Space", "Enter"],
}
"""The first key of each is one hand's, the second the other's."""
_SYNONYMS = {"forward": "up", "backward": "down", "jump": "up", "shoot": "fire", "attack": "fire", "push": "fire"}

_KNOWN: Dict[str, Tuple[str, ...]] = {
    "CartPole": ("left", "right"),
    "MountainCar-": ("left", "noop", "right"),
    "Acrobot": ("left", "noop", "right"),
    "LunarLander-": ("noop", "left", "up", "right"),
    "FrozenLake": ("left", "down", "right", "up"),
    "CliffWalking": ("up", "right", "down", "left"),
    "Taxi": ("down", "up", "right", "left", "pick up", "put down"),
    "butterfly/cooperative_pong": ("noop", "up", "down"),
    "butterfly/knights_archers_zombies": ("up", "down", "left", "right", "fire", "noop"),
    "mpe/simple": ("noop", "left", "right", "down", "up"),
    "simple_": ("noop", "left", "right", "down", "up"),
}
"""What discrete actions mean, by the beginning of the environment's name; from the documentation of each."""
_MOST_KEYS = 40
"""Actions for which keys are looked for: behind the digits only those whose meaning has a key."""
_DIGITS = [f"Digit{n}" for n in (*range(1, 10), 0)]


def meanings_of(name: str, env: Any) -> Optional[List[str]]:
    """Return what each discrete action means, lower case, if that can be known."""
    inner = getattr(env, "unwrapped", env)
    tell = getattr(inner, "get_action_meanings", None)
    if callable(tell):
        return [str(each).lower() for each in tell()]
    found = next((known for start, known in _KNOWN.items() if name.startswith(start)), None)
    return None if found is None else list(found)


def controls_of(name: str, native: List[Any], spaces: List[Space], env: Any) -> Controls:
    """Return how people play an environment.

    Args:
        native: its action spaces by seat, as Gymnasium knows them.
        spaces: the same as data.
    """
    meanings = meanings_of(name, env)
    bindings = [b for b in _bindings(native[0], spaces[0], meanings) if _is_for_all(b["input"], spaces)]
    help_lines = [(_key_text(binding["keys"]), str(binding["label"])) for binding in bindings]
    return {
        "mode": "held",
        "bindings": bindings,
        "neutral": [encode_action(data, neutral_value(space, meanings)) for space, data in zip(native, spaces)],
        "help": help_lines,
    }


def _bindings(native: Any, space: Space, meanings: Optional[List[str]]) -> List[Dict[str, Any]]:
    if space["kind"] == "discrete":
        return _discrete(space, meanings)
    if space["kind"] == "box":
        return _box(space, neutral_value(native, meanings))
    return []


def _discrete(space: Space, meanings: Optional[List[str]]) -> List[Dict[str, Any]]:
    start = int(space.get("start", 0))
    found = []
    digits = iter(_DIGITS)
    for index in range(min(space["n"], _MOST_KEYS)):
        meaning = meanings[index] if meanings is not None and index < len(meanings) else ""
        if re.fullmatch(r"no[-_ ]?op|none|nothing|still|stay", meaning):
            continue
        word = _SYNONYMS.get(meaning, meaning)
        digit = [] if word in _KEYS else [key for key in [next(digits, None)] if key is not None]
        keys = _KEYS.get(word, digit)
        if keys:
            label = meaning or f"action {index + start}"
            found.append({"keys": keys, "input": encode_action(space, index + start), "label": label})
    return found


def _box(space: Space, middle: List[Any]) -> List[Dict[str, Any]]:
    """Return arrows for the first two numbers: each key holds one of them at its bound, or one away from neutral."""
    found = []
    for axis, (less, more) in enumerate((("left", "right"), ("down", "up"))):
        if axis >= len(middle):
            break
        for word, bound, step in ((less, space["low"][axis], -1), (more, space["high"][axis], 1)):
            values = list(middle)
            values[axis] = middle[axis] + step if bound is None else bound
            if values != middle:
                found.append({"keys": _KEYS[word], "input": encode_action(space, values), "label": word})
    return found


def _is_for_all(payload: bytes, spaces: List[Space]) -> bool:
    """Is it an action of every seat: one keyboard layout serves them all."""
    try:
        for space in spaces:
            decode_action(space, payload)
    except RemoteProtocolError:
        return False
    return True


def _key_text(keys: List[str]) -> str:
    arrows = {"ArrowLeft": "←", "ArrowRight": "→", "ArrowUp": "↑", "ArrowDown": "↓"}
    names = [arrows.get(key) or key.replace("Key", "").replace("Digit", "") for key in keys]
    return " or ".join(names)
