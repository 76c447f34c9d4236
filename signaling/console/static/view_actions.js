// Actions: what concerns the whole room, each match's controls, and what became of everything that was asked for.

import { el } from "./dom.js";
import { seatsOf } from "./format.js";
import { actionList, badge, button, cell, head } from "./parts.js";
import { state } from "./state.js";

export function actions() {
  const { room } = state;
  const running = room.matches.filter((match) => match.state !== "ended");
  return [
    el("h2", { key: "h" }, "The whole room"),
    el("div.buttons", { key: "room" },
      button("Start all who wait", "start-all", {}, { kind: "primary" }),
      room.paused ? button("Release matching", "release") : button("Hold matching", "hold"),
      button("Message to everyone", "tell-all"), button("Add a bot", "add-bot")),
    el("p.hint", { key: "hint" }, room.paused ? "Matching is on hold: nobody is matched until it is released, or paired by hand."
      : "To pair by hand, choose participants under Stations or Waiting."),
    el("h2", { key: "h-matches" }, "Each match"),
    running.length ? el("table.rows", { key: "matches" }, head("Players", "State", ""), el("tbody", {}, running.map(row)))
      : el("p.empty", { key: "none" }, "No match is running."),
    el("h2", { key: "h-log" }, "What became of them"),
    el("div", { key: "log" }, actionList()),
  ];
}

function row(match) {
  const id = { match: match.id };
  return el("tr", { key: match.id }, cell("Players", el("a", { href: `#match/${match.id}` }, seatsOf(match))),
    cell("State", badge(match.state)),
    el("td.buttons", {},
      match.state === "paused" ? button("Resume", "resume", id)
        : button("Pause", "pause", id, { off: match.state === "playing" ? "" : "It is not playing." }),
      button("Extend", "extend", id), button("Message", "tell-match", id), button("End", "end", id, { kind: "danger" })));
}
