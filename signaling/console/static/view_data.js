// Data so far: the matches that ended, who is done, what happened, and (for admins) the audit log.

import { el } from "./dom.js";
import { clock, duration, icon, number, seatsOf } from "./format.js";
import { badge, cell, eventList, head, named, shortId } from "./parts.js";
import { state, worstOf } from "./state.js";

export function data() {
  const { room } = state;
  const ended = room.matches.filter((match) => match.state === "ended").reverse();
  const done = room.participants.filter((who) => who.state === "finished" || who.state === "excluded");
  const complete = ended.filter((match) => match.reason === "complete").length;
  return [
    el("h2", { key: "h" }, `Data so far: ${ended.length} ended, ${complete} of them complete`),
    el("p.hint", { key: "hint" }, `${room.counts.matches_made ?? 0} matches were begun. Older ones are shown no more; `
      + "everything recorded is on the players' machines."),
    ended.length ? el("table.rows", { key: "ended" }, head("Match", "Players", "Begun", "Length", "Ended", "Verified frames", "Desync"),
      el("tbody", {}, ended.map(row))) : el("p.empty", { key: "none" }, "No match has ended yet."),
    done.length ? el("h3", { key: "h-done" }, "Finished and excluded") : null,
    done.length ? el("table.rows", { key: "done" }, head("Who", "State", "Since", "Why"),
      el("tbody", {}, done.map((who) => el("tr", { key: who.id }, cell("Who", named(who)), cell("State", badge(who.state)),
        cell("Since", duration(who.state_for_s)), cell("Why", who.reason))))) : null,
    el("h3", { key: "h-events" }, "What happened"),
    el("div.scroll", { key: "events" }, eventList(room.events)),
    el("h3", { key: "h-audit" }, "Audit log"),
    el("div.scroll", { key: "audit" }, audit()),
  ];
}

function row(match) {
  const worst = worstOf({ seats: match.seats.map((seat) => ({ ...seat, present: true })) });
  return el("tr", { key: match.id },
    cell("Match", el("a", { href: `#match/${match.id}` }, shortId(match.id))), cell("Players", seatsOf(match)),
    cell("Begun", clock(match.started_at)), cell("Length", duration(match.running_for_s)),
    cell("Ended", el("span.state", {}, icon(match.reason === "complete" ? "done" : "warning"), match.reason || "without a reason")),
    cell("Verified frames", number(worst.verified_frames)), cell("Desync", worst.desyncs ? String(worst.desyncs) : "none"));
}

function audit() {
  if (!state.me.may_audit) return el("p.empty", {}, "The audit log is for the role admin.");
  if (!state.audit) return el("p.empty", {}, "Loading …");
  return el("table.rows", {}, head("When", "Who", "From", "What", "For", "Outcome", "Detail"),
    el("tbody", {}, [...state.audit].reverse().map((line) => el("tr", { key: String(line.number) },
      cell("When", clock(line.at)), cell("Who", line.by), cell("From", line.facts.address ?? ""), cell("What", line.action),
      cell("For", line.target), cell("Outcome", outcome(line.facts.outcome ?? "ok")), cell("Detail", detail(line.facts))))));
}

const outcome = (word) => el("span.state", {}, icon(word === "ok" ? "done" : "refused"), word);

/** What else is known: of an action what it asked for, of anything else its facts. */
function detail({ address, outcome: known, action, ...others }) {
  const facts = action ? Object.entries(action).filter(([name]) => !["kind", "match", "participant"].includes(name))
    : Object.entries(others);
  return facts.filter(([, value]) => value !== null && value !== "")
    .map(([name, value]) => `${name}: ${typeof value === "object" ? JSON.stringify(value) : value}`).join(", ");
}
