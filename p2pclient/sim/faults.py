"""What goes wrong in a match, drawn from a seed: paths, programs, hosts, goodbyes, crashes and wrong states."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

from p2pclient.common.frames import MAX_SEATS
from p2pclient.sim.scenario import HOST_FAULTS, RECONNECT, TERMINAL, Fault, Scenario, SpectatorSpec

_MOST_SPELLS = 4


def plan_faults(scenario: Scenario) -> Scenario:
    """Return the scenario with a plan of faults, and with other habits of the match, from its seed.

    What the scenario says otherwise than the defaults stays, and so do its own faults. At most one peer leaves, crashes
    or goes wrong in a match, so that what must follow is known; two where the others go on without them. Every third
    match is watched, and a peer that crashes may come back as a spectator. In others environments fail.
    """
    draw, asked = Random(f"faults/{scenario.seed}"), scenario.plan
    scenario = _vary_match(draw, scenario)
    spells = [_draw_spell(draw, scenario) for _ in range(draw.randint(0, _MOST_SPELLS))]
    last = _draw_last(draw, scenario)
    faults = (*scenario.faults, *spells, *([last] if last else []))
    # A generator of its own: what the players go through is the same with and without spectators.
    look = Random(f"spectators/{scenario.seed}")
    if last is not None and last.kind == "crash" and look.random() < 0.5:
        at = round(last.at + look.uniform(0.1, 5.0), 3)
        faults = (*faults, Fault("return", at=at, peer=last.peer, amount=look.choice((0, 30))))
    scenario, more = _vary_kind(Random(f"kinds/{scenario.seed}"), scenario, last)
    if "on_drop" not in asked:
        scenario = _vary_losses(Random(f"losses/{scenario.seed}"), scenario, last)
    faults = (*faults, *more)
    spectators = scenario.spectators
    if not spectators and look.random() < 1 / 3:
        spectators = tuple(_draw_spectator(look, scenario) for _ in range(look.randint(1, 3)))
    scenario = replace(scenario, faults=faults, spectators=spectators)
    faults = (*scenario.faults, *_draw_dead_lanes(Random(f"lanes/{scenario.seed}"), scenario))
    scenario = replace(scenario, faults=faults)
    scenario = _vary_hosts(Random(f"hosts/{scenario.seed}"), scenario)
    scenario = replace(scenario, faults=(*scenario.faults, *_draw_reconnects(scenario)))
    return replace(scenario, faults=(*scenario.faults, *_draw_changes(Random(f"changes/{scenario.seed}"), scenario)))


def _draw_dead_lanes(draw: Random, scenario: Scenario) -> list[Fault]:
    """Return times in which one lane of a path carries nothing, in one direction or both, in a third of the matches.

    They are shorter than a link may be unsound before an episode, until it counts as lost.
    """
    if draw.random() < 2 / 3:
        return []
    peer = draw.randrange(scenario.players)
    other = draw.choice([-1, *(n for n in range(scenario.players) if n != peer)])
    at, seconds = round(draw.uniform(0.0, scenario.seconds), 3), round(draw.uniform(0.1, 6.0), 3)
    return [Fault(draw.choice(("dead-inputs", "dead-control")), at=at, seconds=seconds, peer=peer, other=other)]


def _draw_reconnects(scenario: Scenario) -> list[Fault]:
    """Return connections that are replaced by others, in a third of the matches."""
    draw = Random(f"connections/{scenario.seed}")
    count = draw.randint(1, 3) if draw.random() < 1 / 3 else 0
    return [replace(_draw_spell(draw, scenario), kind=RECONNECT, amount=0.0) for _ in range(count)]


def _draw_changes(draw: Random, scenario: Scenario) -> list[Fault]:
    """Return pauses, extensions and an end that are asked for, in half of the matches."""
    if draw.random() < 0.5:
        return []
    changes = [_draw_change(draw, scenario, "ask-pause") for _ in range(draw.randint(0, 3))]
    changes += [_draw_change(draw, scenario, "ask-extend") for _ in range(draw.choice((0, 0, 1, 2)))]
    if draw.random() < 0.4:
        changes.append(_draw_change(draw, scenario, "ask-end"))
    return changes


def _draw_change(draw: Random, scenario: Scenario, kind: str) -> Fault:
    at = round(draw.uniform(0.0, 1.1 * scenario.seconds), 3)
    seconds = round(draw.choice((0.0, draw.uniform(0.0, 1.0), draw.uniform(1.0, 7.0))), 3)
    amount = draw.randint(1, 300) if kind == "ask-extend" else 0.0
    return Fault(kind, at=at, seconds=seconds, peer=draw.randrange(scenario.players), amount=amount)


def _vary_hosts(draw: Random, scenario: Scenario) -> Scenario:
    """Return the scenario with environments that fail and are started again, in two of five matches.

    Not together with a state that goes wrong: what must follow when a wrong state is lost is another question.
    """
    if draw.random() < 0.6 or any(fault.kind.startswith("corrupt") for fault in scenario.faults):
        return scenario
    failing = [_draw_host_fault(draw, scenario) for _ in range(draw.randint(1, 2))]
    # Who comes to look on in the midst of an episode needs a state.
    looked_on = scenario.spectators or any(fault.kind == "return" for fault in scenario.faults)
    portable = scenario.portable and (draw.random() < 0.6 or bool(looked_on))
    return replace(scenario, faults=(*scenario.faults, *failing), portable=portable)


def _draw_host_fault(draw: Random, scenario: Scenario) -> Fault:
    at = round(draw.uniform(0.0, scenario.seconds), 3)
    seconds = round(draw.choice((0.02, draw.uniform(0.1, 1.0), draw.uniform(1.0, 5.0))), 3)
    return Fault(draw.choice(HOST_FAULTS), at=at, seconds=seconds, peer=draw.randrange(scenario.players))


def _draw_spectator(draw: Random, scenario: Scenario) -> SpectatorSpec:
    at = round(draw.uniform(0.0, scenario.seconds), 3)
    leave_at = round(at + draw.uniform(0.1, scenario.seconds), 3) if draw.random() < 0.3 else 0.0
    pause = round(draw.uniform(0.1, 25.0), 3) if draw.random() < 0.3 else 0.0
    delay = draw.choice((0, 0, 10, 60))
    return SpectatorSpec(at, delay, leave_at, pause_at=round(at + draw.uniform(0.0, 5.0), 3), pause_seconds=pause)


def _vary_match(draw: Random, scenario: Scenario) -> Scenario:
    frames = scenario.frames
    lengths = draw.choice(("whole", "whole", "limit", "event", "both"))
    room = lengths in ("limit", "both") and frames > 100
    drawn = {
        "skew_ppm": draw.choice((0.0, 100.0, -1000.0, 1000.0, 10_000.0)),
        "input_delays": tuple(draw.choice((0, 0, 0, 1, 2, 4)) for _ in range(scenario.players)),
        "hold_frames": draw.choice((1, 6, 6, 30)),
        "input_bytes": draw.choice((1, 1, 2, 4, 8)),
        "press": draw.random() < 0.2,
        "step_ms": draw.choice((0.05, 0.5, 0.5, 1.5)),
        "episode_frames": draw.randint(60, min(450, frames)) if room else None,
        "ends_when": draw.choice((60, 200, 500)) if lengths in ("event", "both") else None,
    }
    return replace(_with_unset(scenario, drawn), plan={**_vary_plan(draw), **scenario.plan})


def _with_unset(scenario: Scenario, values: dict[str, Any]) -> Scenario:
    """Return the scenario with ``values`` where it has the defaults."""
    usual = Scenario()
    return replace(scenario, **{n: value for n, value in values.items() if getattr(scenario, n) == getattr(usual, n)})


def _vary_kind(draw: Random, scenario: Scenario, last: Fault | None) -> tuple[Scenario, list[Fault]]:
    """Return the scenario as another kind of match at times, and a second loss: lockstep, several seats of a peer,
    a predictor in the host, or going on without whoever is lost."""
    lockstep, wide, asked, going_on = (draw.random() < share for share in (0.1, 0.15, 0.15, 0.5))
    values: dict[str, Any] = {"window": 0} if lockstep else {}
    if wide and 2 * scenario.players <= MAX_SEATS:
        values["seats_per_peer"] = 2
    scenario = _with_unset(scenario, values)
    plan: dict[str, Any] = {"prediction": ("held",)} if asked else {}
    more: list[Fault] = []
    if going_on and scenario.players > 2:
        plan["on_drop"] = "go-on"
        if last is not None and last.kind in TERMINAL and scenario.players > 3 and draw.random() < 0.5:
            peer = draw.choice([n for n in range(scenario.players) if n != last.peer])
            at = round(draw.uniform(0.0, scenario.seconds), 3)
            more.append(Fault(draw.choice(("leave", "crash")), at=at, peer=peer, amount=draw.choice((0.5, 3.0))))
    return replace(scenario, plan={**plan, **scenario.plan}), more


def _vary_losses(draw: Random, scenario: Scenario, last: Fault | None) -> Scenario:
    """Return the scenario with bots that take the seats of the lost, or with single seats that have another policy.

    So also two players go on, as far as the server lets them. Where nobody is lost, nothing is changed.
    """
    if last is None or last.kind not in TERMINAL or draw.random() < 0.4:
        return scenario
    usual = draw.choice(("bot:sim:hidden", "bot:sim:disclosed", "bot:sim:hidden@9", "go-on"))
    if draw.random() < 0.3:
        usual += f" {draw.randrange(scenario.seats)}={draw.choice(('go-on', 'bot:sim:hidden@11', 'bot:sim:hidden'))}"
    return replace(scenario, plan={**scenario.plan, "on_drop": usual})


def _vary_plan(draw: Random) -> dict[str, object]:
    plan: dict[str, object] = {}
    if draw.random() < 0.3:
        plan["on_desync"] = "resimulate"
    if draw.random() < 0.3:
        plan["delay_range"] = (0, draw.choice((3, 8)))
    return plan


def _draw_spell(draw: Random, scenario: Scenario) -> Fault:
    kind = draw.choice(("outage", "outage", "hold", "loss", "delay", "pause", "pause", "slow"))
    at = round(draw.uniform(0.0, scenario.seconds), 3)
    peer = draw.randrange(scenario.players)
    other = draw.choice([-1, *(n for n in range(scenario.players) if n != peer)])
    seconds = round(draw.choice((draw.uniform(0.02, 0.5), draw.uniform(0.5, 2.0), draw.uniform(2.0, 5.0))), 3)
    if kind in ("loss", "delay", "slow"):
        seconds = min(seconds, 3.0)
    amounts = {"loss": draw.uniform(0.2, 0.9), "delay": draw.uniform(20, 400), "slow": draw.uniform(2, 30)}
    amount = amounts.get(kind, 0.0)
    return Fault(kind, at=at, seconds=seconds, peer=peer, other=other, amount=round(amount, 3))


def _draw_last(draw: Random, scenario: Scenario) -> Fault | None:
    kind = draw.choice(("", "", "", "", "leave", "crash", "corrupt-step", "corrupt-once", "corrupt-load"))
    peer = draw.randrange(scenario.players)
    at = round(draw.uniform(0.0, scenario.seconds), 3)
    if kind == "leave":
        return Fault(kind, at=at, peer=peer)
    if kind == "crash":
        return Fault(kind, at=at, peer=peer, amount=draw.choice((0.0, 0.5, 3.0)))
    if kind:
        frames = min(scenario.frames, scenario.episode_frames or scenario.frames)
        return Fault(kind, peer=peer, amount=draw.randrange(frames))
    return None
