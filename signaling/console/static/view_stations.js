// Stations: a map of tiles, to be read at a glance and to choose from.

import { el } from "./dom.js";
import { alsoKnown, byName, duration, icon, ms, nameOf, toneOf } from "./format.js";
import { alertKinds, matchOf, state } from "./state.js";
import { probes } from "./view_probes.js";

const LEGEND = ["idle", "waiting", "matched", "connecting", "playing", "paused", "away", "finished", "excluded"];

export function stations() {
  const all = [...state.room.participants].sort(byName);
  const done = all.filter((who) => !who.connected && (who.state === "finished" || who.state === "excluded"));
  const here = all.filter((who) => !done.includes(who));
  return [
    el("h2", { key: "h" }, `${here.length} here`),
    el("p.hint", { key: "hint" }, "Choose tiles in the order of the seats, then pair them below."),
    here.length ? el("section.tiles", { key: "tiles" }, here.map(tile))
      : el("p.empty", { key: "none" }, "Nobody is here yet. Start the client on the other machines."),
    done.length ? el("h3", { key: "h-done" }, "Finished and excluded") : null,
    done.length ? el("section.tiles", { key: "done" }, done.map(tile)) : null,
    el("p.legend", { key: "legend" }, LEGEND.map((name) => el("span", { key: name }, icon(name), name))),
    ...probes(),
  ];
}

/** What a tile shows: the participant's state, and that of its match where that says more. */
function shownState(who, match) {
  return who.state === "playing" && match?.state === "paused" ? "paused" : who.state;
}

function tile(who) {
  const match = who.match_id ? matchOf(who.match_id) : null;
  const shown = shownState(who, match);
  const place = state.chosen.indexOf(who.id);
  const partners = match ? match.seats.filter((seat) => seat.participant_id !== who.id).map(nameOf).join(", ") : "";
  const troubled = match && who.state === "playing" && alertKinds(match.id).size > 0;
  return el(`button.tile.tone-${toneOf(shown)}`, {
    type: "button", key: who.id, "data-do": "choose", "data-id": who.id, "aria-pressed": place >= 0 ? "true" : "false",
  },
  el("span.top", {}, el("b", {}, nameOf(who)), place >= 0 ? el("span.place", {}, `seat ${place + 1}`) : null),
  el("span.also", {}, alsoKnown(who) || "\u00a0"),
  el("span.state", {}, icon(shown), shown, " ", el("small", {}, duration(who.state_for_s))),
  el("span.more", {}, who.reason || who.note || (partners ? `with ${partners}` : "") || "\u00a0"),
  el("span.foot", {}, troubled ? el("span.alert", {}, icon("warning"), "alert") : el("span", {}, who.address || "\u00a0"),
    el("span", {}, who.rtt_ms === null ? "" : ms(who.rtt_ms))));
}
