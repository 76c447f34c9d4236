// One match in detail: its clients' views, charts, events, and what can be done with it.

import { chart, timeline } from "./charts.js";
import { el } from "./dom.js";
import { clock, duration, ms, nameOf, NONE, number, percent, seatsOf, signed } from "./format.js";
import { alertList, badge, button, eventList, head, shortId } from "./parts.js";
import { matchOf, playedFor, state } from "./state.js";

export function match() {
  const shown = matchOf(state.argument);
  if (!shown) {
    return [el("p.empty", {}, "This match is shown no more. What it recorded is on the players' machines. ",
      el("a", { href: "#matches" }, "To all matches"))];
  }
  const events = state.room.events.filter((event) => event.match_id === shown.id);
  const alerts = state.alerts.filter((alert) => alert.match_id === shown.id);
  return [
    el("p.back", { key: "back" }, el("a", { href: "#matches" }, "← All matches")),
    el("h2.match", { key: "h" }, badge(shown.state), ` ${seatsOf(shown)} `, el("small", {}, facts(shown))),
    controls(shown),
    alerts.length ? alertList(alerts, { links: false }) : null,
    el("section.charts", { key: "charts" }, charts(shown, events)),
    el("div.halves", { key: "halves" },
      el("section.wide", {}, el("h3", {}, "As each client sees it"), views(shown)),
      el("section", {}, el("h3", {}, "Events"),
        timeline({ from: shown.started_at, until: shown.started_at + Math.max(shown.running_for_s, shown.length_s), now: state.room.at, events }),
        eventList(events))),
  ];
}

function facts(shown) {
  const length = shown.length_s ? ` of ${duration(shown.length_s)}` : "";
  const ended = shown.state === "ended" ? `, ended: ${(shown.reason || "without a reason").replaceAll("-", " ")}` : "";
  const watched = shown.spectators ? `, ${shown.spectators} watching` : "";
  return `${shortId(shown.id)}, ${shown.env}, begun ${clock(shown.started_at)}, ${duration(playedFor(shown))}${length}${watched}${ended}`;
}

function controls(shown) {
  if (shown.state === "ended") return null;
  const id = { match: shown.id };
  const off = shown.state === "playing" ? "" : "It is not playing.";
  return el("div.buttons", { key: "controls" },
    shown.state === "paused" ? button("Resume", "resume", id, { kind: "primary" }) : button("Pause", "pause", id, { off }),
    button("Extend", "extend", id), button("Message", "tell-match", id), button("End", "end", id, { kind: "danger" }));
}

function charts(shown, events) {
  const kept = state.history.of(shown.id);
  state.history.load(shown.id);
  const marks = events.map((event) => ({ at: event.at, text: `${event.kind} ${event.text}` }));
  const lines = (name) => shown.seats.filter((seat) => !seat.bot || kept.seats[seat.seat])
    .map((seat) => ({ name: nameOf(seat), values: kept.seats[seat.seat]?.[name] ?? [] }));
  const rate = Number(state.room.settings.rate_hz) || null;
  const common = { at: kept.at, marks };
  return [
    chart({ title: "Round trip", unit: "ms", lines: lines("rtt_ms"), limit: 150, least: 60, ...common }),
    chart({ title: "Rollback depth", unit: "frames", lines: lines("rollback_depth"), least: 8, ...common }),
    chart({ title: "Frames ahead", unit: "frames", lines: lines("frames_ahead"), digits: 1, least: 2, ...common }),
    chart({ title: "Rate", unit: "frames per second", lines: lines("rate_hz"), digits: 1, limit: rate, least: rate ?? 15, ...common }),
  ];
}

const peersOf = (seat, name, shape) =>
  seat.health?.peers.length ? seat.health.peers.map((peer) => shape(peer[name])).join(", ") : NONE;

const health = (name, shape = number) => (seat) => (seat.health ? shape(seat.health[name]) : NONE);

function inFront({ health }) {
  if (!health) return NONE;
  if (!health.away) return health.focused ? "yes" : "no";
  return (health.away === "minimised" ? "no, minimised" : "no") + (health.is_waited_for ? "; the match waits" : "");
}

const LINES = [
  ["Label", (seat) => seat.label || NONE],
  ["Heard of", (seat) => (seat.health_ago_s === null ? "never" : `${seat.health_ago_s.toFixed(1)} s ago`)],
  ["Phase", (seat) => (seat.present ? seat.health?.phase ?? NONE : "gone")],
  ["Episode, frame", (seat) => (seat.health ? `${seat.health.episode + 1}, ${seat.health.frame}` : NONE)],
  ["Verified frames", health("verified_frames")],
  ["Rate", health("rate_hz", (value) => `${number(value, 1)} /s`)],
  ["Round trip", (seat) => peersOf(seat, "rtt_ms", ms)],
  ["Jitter", (seat) => peersOf(seat, "jitter_ms", ms)],
  ["Loss", (seat) => peersOf(seat, "loss", percent)],
  ["Frames ahead", (seat) => peersOf(seat, "frames_ahead", signed)],
  ["Peer silent for", (seat) => peersOf(seat, "silent_s", (value) => `${number(value, 1)} s`)],
  ["Path", (seat) => peersOf(seat, "path", (value) => value || NONE)],
  ["Rollbacks", health("rollbacks")],
  ["Deepest now", health("rollback_depth")],
  ["Stalls", health("stalls")],
  ["Desyncs", health("desyncs", (value) => (value ? String(value) : "none"))],
  ["Step of the environment", health("step_ms", ms)],
  ["Window in front", inFront],
  ["Stood still for", health("suspended_s", (value) => (value ? `${number(value, 1)} s` : "never"))],
  ["Scores", health("scores", (value) => value.map((each) => number(each, 1)).join(", ") || NONE)],
];

function views(shown) {
  return el("table.views", {}, head("", ...shown.seats.map((seat) => `${nameOf(seat)}${seat.bot ? " (bot)" : ""}`)),
    el("tbody", {}, LINES.map(([name, read]) => el("tr", { key: name }, el("th", { scope: "row" }, name),
      shown.seats.map((seat) => el("td", { key: String(seat.seat) }, read(seat)))))));
}
