// Matches: one row for each that runs, with the health of its links.

import { sparkline } from "./charts.js";
import { el } from "./dom.js";
import { duration, icon, ms, NONE, number, percent, seatsOf, signed } from "./format.js";
import { badge, button, cell, head, shortId } from "./parts.js";
import { alertKinds, playedFor, state, worstOf } from "./state.js";

export function matches() {
  const running = state.room.matches.filter((match) => match.state !== "ended");
  return [
    el("h2", { key: "h" }, `${running.length} ${running.length === 1 ? "match" : "matches"} running`),
    el("p.hint", { key: "hint" }, "Of each match the worst of what its clients report, over the last second."),
    running.length ? el("table.rows.matches", { key: "table" },
      head("Match", "State", "Players", "Time", "RTT", "Jitter", "Loss", "Depth", "Ahead", "Stalls", "Desync", "Path", ""),
      el("tbody", {}, running.map(row)))
      : el("p.empty", { key: "none" }, "No match is running. Ended ones are under Data."),
  ];
}

/** A figure, marked by shape and colour if an alert concerns it. */
function marked(name, kind, kinds, text, ...more) {
  const bad = kinds.has(kind);
  const node = cell(name, bad ? icon("warning") : null, text, ...more);
  if (bad) node.className = "bad";
  return node;
}

function row(match) {
  const worst = worstOf(match);
  const kinds = alertKinds(match.id);
  state.history.load(match.id);
  const past = state.history.of(match.id).seats;
  const rtt = Object.values(past)[0]?.rtt_ms ?? [];
  return el("tr", { key: match.id, "data-href": `#match/${match.id}` },
    cell("Match", el("a", { href: `#match/${match.id}` }, shortId(match.id))),
    cell("State", badge(match.state)),
    cell("Players", seatsOf(match)),
    cell("Time", duration(playedFor(match)), match.length_s ? el("small", {}, ` / ${duration(match.length_s)}`) : null),
    marked("RTT", "rtt", kinds, ms(worst.rtt_ms), sparkline(rtt, 100)),
    marked("Jitter", "jitter", kinds, ms(worst.jitter_ms)),
    marked("Loss", "loss", kinds, percent(worst.loss)),
    cell("Depth", number(worst.rollback_depth)),
    cell("Ahead", signed(worst.frames_ahead)),
    marked("Stalls", "stalls", kinds, number(worst.stalls)),
    marked("Desync", "desync", kinds, worst.desyncs === null ? NONE : worst.desyncs ? String(worst.desyncs) : "none"),
    cell("Path", worst.path || NONE),
    el("td.buttons", {}, match.state === "paused" ? button("Resume", "resume", { match: match.id })
      : button("Pause", "pause", { match: match.id }, { off: match.state === "playing" ? "" : "It is not playing." })));
}
