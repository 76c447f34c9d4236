// Waiting: who waits, how long, why nobody was found yet; choosing and moving.

import { el } from "./dom.js";
import { duration, ms } from "./format.js";
import { button, cell, head, named } from "./parts.js";
import { state } from "./state.js";

export function queue() {
  const waiting = state.room.participants.filter((who) => who.state === "waiting");
  const place = (who) => who.position ?? Infinity;
  return waiting.sort((one, other) => place(one) - place(other) || other.state_for_s - one.state_for_s);
}

export function waiting() {
  const all = queue();
  const proposed = state.room.participants.filter((who) => who.state === "matched" || who.state === "screening");
  return [
    el("h2", { key: "h" }, `${all.length} waiting`),
    state.room.paused ? el("p.held", { key: "held" }, "Matching is on hold: nobody is matched until it is released, or paired by hand. ",
      button("Release", "release", {}, { kind: "primary" })) : null,
    all.length ? el("table.rows", { key: "table" }, head("", "Place", "Who", "Waits", "RTT", "Why not matched yet", ""),
      el("tbody", {}, all.map((who, index) => row(who, index, all.length))))
      : el("p.empty", { key: "none" }, "Nobody is waiting."),
    proposed.length ? el("h3", { key: "h-proposed" }, "About to be matched") : null,
    proposed.length ? el("table.rows", { key: "proposed" }, head("Who", "State", "Since", ""),
      el("tbody", {}, proposed.map((who) => el("tr", { key: who.id }, cell("Who", named(who)), cell("State", who.state),
        cell("Since", duration(who.state_for_s)), cell("", who.reason))))) : null,
  ];
}

function row(who, index, count) {
  const chosen = state.chosen.includes(who.id);
  const place = who.position ?? index + 1;
  return el("tr", { key: who.id, "aria-selected": chosen ? "true" : "false" },
    el("td.choose", {}, el("input", { type: "checkbox", "data-do": "choose", "data-id": who.id, checked: chosen,
      "aria-label": `Choose ${who.station || who.label || who.id}` })),
    cell("Place", String(place)),
    cell("Who", named(who)),
    cell("Waits", duration(who.state_for_s)),
    cell("RTT", ms(who.rtt_ms)),
    cell("Why not matched yet", who.reason || "It is next."),
    el("td.buttons", {},
      button("First", "move", { id: who.id, position: 1 }, { off: index === 0 ? "It is the first already." : "" }),
      button("Up", "move", { id: who.id, position: place - 1 }, { off: index === 0 ? "It is the first already." : "" }),
      button("Down", "move", { id: who.id, position: place + 1 }, { off: index === count - 1 ? "It is the last already." : "" })));
}
