"""Keys for environments that know nothing of this program: from what they offer, or what their actions mean; else
digits and arrows."""

from __future__ import annotations

import re
from typing import Any, Dict, List, Optional, Tuple

from envs.contract import Controls
from envs.foreign_keys import METADATA_KEY, known, offered, read_mapping
from envs.gym_spaces import neutral_value, plain_value
from p2pclient.common.errors import ConfigurationError, RemoteProtocolError
from p2pclient.common.spaces import Space, decode_action, encode_action

_KEYS = {
    "left": ["ArrowLeft", "KeyA"],
    "right": ["ArrowRight", "KeyD"],
    "up": ["ArrowUp", "KeyW"],
    "down": ["ArrowDown", "KeyS"],
    "fire": ["Space", "Enter"],
}
"""The first key of each is one hand's, the second the other's."""
_SYNONYMS = {
    "forward": "up", "backward": "down", "jump": "up", "shoot": "fire", "attack": "fire", "push": "fire",
    "turn left": "left", "turn right": "right",
}  # fmt: skip

_KNOWN: Dict[str, Tuple[str, ...]] = {
    "CartPole": ("left", "right"),
    "MountainCar-": ("left", "noop", "right"),
    "Acrobot": ("left", "noop", "right"),
    "LunarLander-": ("noop", "left", "up", "right"),
    "FrozenLake": ("left", "down", "right", "up"),
    "CliffWalking": ("up", "right", "down", "left"),
    "Taxi": ("down", "up", "right", "left", "pick up", "put down"),
    "butterfly/cooperative_pong": ("noop", "up", "down"),
    "butterfly/knights_archers_zombies": ("forward", "backward", "turn left", "turn right", "attack", "noop"),
    "butterfly/pistonball": ("down", "noop", "up"),
    "sisl/pursuit": ("left", "right", "down", "up", "noop"),
    "simple_": ("noop", "left", "right", "down", "up"),
    "classic/texas_holdem_no_limit": ("fold", "check or call", "raise half the pot", "raise the pot", "all in"),
    "classic/texas_holdem": ("call", "raise", "fold", "check"),
    "classic/leduc_holdem": ("call", "raise", "fold", "check"),
    "classic/rps": ("rock", "paper", "scissors"),
}
"""What discrete actions mean, by the beginning of the environment's name; from the documentation of each."""
_ALE = (
    "noop", "fire", "up", "right", "left", "down", "upright", "upleft", "downright", "downleft", "upfire", "rightfire",
    "leftfire", "downfire", "uprightfire", "upleftfire", "downrightfire", "downleftfire",
)  # fmt: skip
"""Atari's actions by their numbers, from the documentation of the Arcade Learning Environment."""
_MOST_KEYS = 40
"""Actions for which keys are looked for: behind the digits only those whose meaning has a key."""
_DIGITS = [f"Digit{n}" for n in (*range(1, 10), 0)]
_ROWS = [f"Key{letter}" for letter in "QWERTYUIOPASDFGHJKLZXCVBNM"]
"""Behind the digits, where there is time to look for a key."""
_AXES = (_KEYS["left"], _KEYS["right"]), (_KEYS["down"], _KEYS["up"]), (["KeyQ"], ["KeyE"]), (["KeyZ"], ["KeyC"])
"""Keys for less and for more of each number of a Box, as far as they go."""
_FEW, _LINE = 3, 10
"""Keys of one kind that have a line each, and that are listed in one line."""


def meanings_of(name: str, env: Any) -> Optional[List[str]]:
    """Return what each discrete action means, lower case, if that can be known."""
    inner = getattr(env, "unwrapped", env)
    tell = getattr(inner, "get_action_meanings", None)
    if callable(tell):
        return [str(each).lower() for each in tell()]
    numbers = getattr(inner, "action_mapping", None)
    if name.startswith("atari/") and numbers is not None:
        return [_ALE[int(number)] for number in numbers]
    found = next((known for start, known in _KNOWN.items() if name.startswith(start)), None)
    return None if found is None else list(found)


def controls_of(name: str, native: List[Any], spaces: List[Space], env: Any, *, many: bool = False) -> Controls:
    """Return how people play an environment.

    Args:
        native: its action spaces by seat, as Gymnasium knows them.
        spaces: the same as data.
        many: give letters to what has no digit left.

    Raises:
        ConfigurationError: it offers keys that make no sense.
    """
    meanings = meanings_of(name, env)
    neutral = [encode_action(data, neutral_value(space, meanings)) for space, data in zip(native, spaces)]
    own = _own_bindings(name, native, spaces, env)
    if own is None:
        bindings = [b for b in _bindings(native[0], spaces[0], meanings, many) if _is_for_all(b["input"], spaces)]
    else:
        bindings = [binding for binding in own if binding["keys"]]
        neutral = next(([b["input"]] * len(spaces) for b in own if not b["keys"]), neutral)
    return {"mode": "held", "bindings": bindings, "neutral": neutral, "help": _help(bindings)}


def _own_bindings(name: str, native: List[Any], spaces: List[Space], env: Any) -> Optional[List[Dict[str, Any]]]:
    """Return the bindings that the environment offers, or that are known of it; without keys, what does nothing.

    None if there are none.
    """
    mapping = offered(env)
    if mapping is not None:
        try:
            return _read(mapping, native, spaces)
        except ValueError as error:
            raise ConfigurationError(f"{METADATA_KEY} of {name}", mapping, str(error)) from error
    for each in known(name):
        try:
            return _read(each, native, spaces)
        except ValueError:
            continue  # made with arguments that give it another space
    return None


def _read(mapping: Any, native: List[Any], spaces: List[Space]) -> List[Dict[str, Any]]:
    found: Dict[bytes, Dict[str, Any]] = {}
    idle = []
    for codes, action, label in read_mapping(mapping):
        try:
            payload = encode_action(spaces[0], plain_value(native[0], action))
        except ConfigurationError as error:
            raise ValueError(f"actions of the environment ({error})") from error
        if not _is_for_all(payload, spaces):
            raise ValueError(f"actions that every seat has, not {action!r}")
        if codes:
            found.setdefault(payload, {"keys": [], "input": payload, "label": label})["keys"].extend(codes)
        else:
            idle = [{"keys": [], "input": payload, "label": label}]
    return [*found.values(), *idle]


def _bindings(native: Any, space: Space, meanings: Optional[List[str]], many: bool) -> List[Dict[str, Any]]:
    if space["kind"] == "discrete":
        return _discrete(space, meanings, many)
    if space["kind"] == "box":
        return _box(space, neutral_value(native, meanings))
    return []


def _discrete(space: Space, meanings: Optional[List[str]], many: bool) -> List[Dict[str, Any]]:
    start = int(space.get("start", 0))
    found = []
    digits = iter([*_DIGITS, *(_ROWS if many else ())])
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
    """Return keys for the first numbers: each key holds one of them at its bound, or one away from neutral."""
    found = []
    names = [("left", "right"), ("down", "up"), *((f"less of {n}", f"more of {n}") for n in range(3, len(_AXES) + 1))]
    for axis, (sides, words) in enumerate(zip(_AXES[: len(middle)], names)):
        bounds = ((space["low"][axis], -1), (space["high"][axis], 1))
        for keys, label, (bound, step) in zip(sides, words, bounds):
            values = list(middle)
            values[axis] = middle[axis] + step if bound is None else bound
            if values != middle:
                # The letters of the second hand are taken where there are more than two numbers.
                keys = keys if len(middle) <= 2 else keys[:1]
                found.append({"keys": keys, "input": encode_action(space, values), "label": label})
    return found


def _is_for_all(payload: bytes, spaces: List[Space]) -> bool:
    """Is it an action of every seat: one keyboard layout serves them all."""
    try:
        for space in spaces:
            decode_action(space, payload)
    except RemoteProtocolError:
        return False
    return True


def _help(bindings: List[Dict[str, Any]]) -> List[Tuple[str, str]]:
    """Return the help lines; what nobody knows a word for, and what has one word for many keys, in one line."""
    lines: List[Tuple[str, str]] = []
    rest = list(bindings)
    while rest:
        label = rest[0]["label"]
        alike = 1
        while alike < len(rest) and _is_alike(rest[alike]["label"], label):
            alike += 1
        first, last = rest[0], rest[alike - 1]
        if alike > _FEW:
            names = [_key_text(each["keys"][:1]) for each in rest[:alike]]
            shown = names if alike <= _LINE else [names[0], "...", names[-1]]
            lines.append((" ".join(shown), _span(first["label"], last["label"])))
        else:
            lines.extend((_key_text(each["keys"]), str(each["label"])) for each in rest[:alike])
        del rest[:alike]
    return lines


_COUNTED = re.compile(r"(.*\D)(\d+)")


def _is_alike(label: str, other: str) -> bool:
    one, two = _COUNTED.fullmatch(label), _COUNTED.fullmatch(other)
    return label == other or (one is not None and two is not None and one.group(1) == two.group(1))


def _span(first: str, last: str) -> str:
    return first if first == last else f"{first} to {last.rpartition(' ')[2]}"


def _key_text(keys: List[str]) -> str:
    arrows = {"ArrowLeft": "←", "ArrowRight": "→", "ArrowUp": "↑", "ArrowDown": "↓"}
    names = [arrows.get(key) or key.replace("Key", "").replace("Digit", "") for key in keys]
    return " or ".join(names)
