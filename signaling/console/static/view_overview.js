// Overview: figures that can be read across a room, what to look at first, and how each match goes.

import { el } from "./dom.js";
import { duration, icon, ms, seatsOf } from "./format.js";
import { alertList, badge, eventList } from "./parts.js";
import { playedFor, state, worstOf } from "./state.js";

const figure = (name, value, tone, href, shape) => el(`a.figure.tone-${tone}`, { href, key: name },
  el("span.name", {}, icon(shape), name), el("span.value", {}, value));

export function overview() {
  const { room, alerts } = state;
  const count = (...names) => names.reduce((sum, name) => sum + (room.counts[name] ?? 0), 0);
  const worst = alerts.some((alert) => alert.severity === "problem") ? "bad" : alerts.length ? "warn" : "good";
  const running = room.matches.filter((match) => match.state !== "ended");
  return [
    alerts.length ? alertList(alerts) : null,
    el("section.figures", { "aria-label": "In short", key: "figures" },
      figure("Waiting", count("waiting", "matched"), "wait", "#waiting", "waiting"),
      figure("Playing", count("playing", "connecting", "away"), "good", "#matches", "playing"),
      figure("Finished", count("finished"), "off", "#data", "finished"),
      figure("Excluded", count("excluded"), "off", "#data", "excluded"),
      figure("Problems", alerts.length, worst, "#overview", { bad: "problem", warn: "warning", good: "done" }[worst]),
      figure("Median wait", duration(room.median_wait_s), "off", "#waiting", "idle")),
    el("h2", { key: "h-matches" }, `${running.length} ${running.length === 1 ? "match" : "matches"} running`),
    running.length ? el("section.cards", { key: "cards" }, running.map(matchCard))
      : el("p.empty", { key: "none" }, "No match is running."),
    el("h2", { key: "h-events" }, "What happened last"),
    el("div", { key: "events" }, eventList(room.events, 8)),
  ];
}

function matchCard(match) {
  const worst = worstOf(match);
  const share = match.length_s ? Math.min(1, playedFor(match) / match.length_s) : null;
  const tone = match.alerts.length ? "troubled" : "fine";
  return el(`a.card.${tone}`, { href: `#match/${match.id}`, key: match.id },
    el("span.top", {}, badge(match.state), el("b", {}, seatsOf(match))),
    share === null ? null : el("progress", { max: 1, value: share.toFixed(3), "aria-label": "time played" }),
    el("span.facts", {}, el("span", {}, duration(playedFor(match)), match.length_s ? ` of ${duration(match.length_s)}` : ""),
      el("span", {}, `RTT ${ms(worst.rtt_ms)}`), el("span", {}, `depth ${worst.rollback_depth ?? "–"}`)),
    match.alerts.map((text) => el("span.alert", { key: text.slice(0, 24) }, icon("warning"), text)));
}
