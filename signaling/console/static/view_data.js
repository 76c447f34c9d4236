// Data so far: the matches that ended, who is done, what happened, and (for admins) the audit log.

import { el } from "./dom.js";
import { duration, icon, moment, number, seatsOf } from "./format.js";
import { badge, cell, eventList, head, named, shortId } from "./parts.js";
import { matchOf, state, worstOf } from "./state.js";

export function data() {
  const { room, archive } = state;
  const { ended, total, complete } = endedSoFar(room, archive);
  const done = room.participants.filter((who) => who.state === "finished" || who.state === "excluded");
  return [
    el("h2", { key: "h" }, `Data so far: ${total} ended, ${complete} of them complete`),
    el("p.hint", { key: "hint" }, `${room.counts.matches_made ?? 0} matches were begun in this study, today and earlier. `
      + "What they recorded is on the players' machines."),
    downloads(),
    ended.length ? el("table.rows", { key: "ended" }, head("Match", "Players", "Begun", "Length", "Ended", "Verified frames", "Desync"),
      el("tbody", {}, ended.map(row))) : el("p.empty", { key: "none" }, "No match has ended yet."),
    archive.more ? el("div.buttons.downloads", { key: "older" },
      el("button", { type: "button", "data-do": "older" }, "Show older matches"),
      el("small", {}, `${ended.length} of ${total} are shown.`)) : null,
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

/** What ended in this run of the server, as it shows it, and before that what the store has. */
function endedSoFar(room, archive) {
  const here = room.matches.filter((match) => match.state === "ended").map(seen).reverse();
  const known = new Set(archive.matches.map((match) => match.id));
  const ended = [...here.filter((match) => !known.has(match.id)), ...archive.matches];
  const count = (list) => list.filter((match) => match.reason === "complete").length;
  if (!archive.counts) return { ended, total: ended.length, complete: count(ended) };
  const fresh = archive.matches.length ? [] : here; // a room may show what no store has
  const all = Object.values(archive.counts).reduce((sum, each) => sum + each, 0);
  return { ended, total: all + fresh.length, complete: (archive.counts.complete ?? 0) + count(fresh) };
}

function seen(match) {
  const worst = worstOf({ seats: match.seats.map((seat) => ({ ...seat, present: true })) });
  return { ...match, verified_frames: worst.verified_frames, desyncs: worst.desyncs };
}

function downloads() {
  if (!state.me.may_audit) return null;
  const link = (name, words, whole = null) =>
    el("a.button", { href: `/console/download/${name}`, download: "", key: name, "aria-label": whole }, words);
  return el("div.buttons.downloads", { key: "downloads" }, link("audit.csv", "Audit log as CSV"), link("audit.jsonl", "… as JSONL", "Audit log as JSONL"),
    link("decisions.csv", "Decisions as CSV"), link("decisions.jsonl", "… as JSONL", "Decisions as JSONL"),
    el("a.button", { href: "#accounts", key: "accounts" }, "Accounts"));
}

function row(match) {
  return el("tr", { key: match.id },
    cell("Match", matchOf(match.id) ? el("a", { href: `#match/${match.id}` }, shortId(match.id)) : shortId(match.id)),
    cell("Players", seatsOf(match)), cell("Begun", moment(match.started_at)), cell("Length", duration(match.running_for_s)),
    cell("Ended", el("span.state", {}, icon(match.reason === "complete" ? "done" : "warning"), match.reason || "without a reason")),
    cell("Verified frames", number(match.verified_frames)), cell("Desync", match.desyncs ? String(match.desyncs) : "none"));
}

function audit() {
  if (!state.me.may_audit) return el("p.empty", {}, "The audit log is for the role admin.");
  if (!state.audit) return el("p.empty", {}, "Loading …");
  return el("table.rows", {}, head("When", "Who", "From", "What", "For", "Outcome", "Detail"),
    el("tbody", {}, [...state.audit].reverse().map((line) => el("tr", { key: String(line.number) },
      cell("When", moment(line.at)), cell("Who", line.by), cell("From", line.facts.address ?? ""), cell("What", line.action),
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
