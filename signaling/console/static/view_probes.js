// The network between every two who are here, as their clients measured it: a matrix, and how far it is.

import { el } from "./dom.js";
import { byName, clock, icon, ms, nameOf, percent } from "./format.js";
import { button } from "./parts.js";
import { participant, state } from "./state.js";

const FAIR_MS = 80;
const POOR_MS = 150;
const LOSSY = 0.05;
const OVER = new Set(["done", "failed"]);

export function probes() {
  const known = (state.room.probes ?? []).filter((probe) => participant(probe.a) && participant(probe.b));
  const ids = [...new Set(known.flatMap((probe) => [probe.a, probe.b]))];
  const who = ids.map(participant).sort(byName);
  const open = known.filter((probe) => !OVER.has(probe.state)).length;
  const free = state.room.participants.filter((each) => each.connected && ["idle", "waiting", "finished"].includes(each.state));
  return [
    el("h3", { key: "h-probes" }, "Network between them"),
    el("p.hint", { key: "probe-hint" }, "Round trip and loss over a data channel, as a match would have it. ",
      open ? el("b", {}, `${known.length - open} of ${known.length} pairs measured. `) : null,
      button("Measure everyone who does not play", "probe-room", {},
        { off: free.length < 2 ? "It takes two who are here and do not play." : "" })),
    known.length ? el("div.scroll.matrix", { key: "matrix", tabindex: "0", role: "region", "aria-label": "Network between every two" },
      matrix(who, known)) : el("p.empty", { key: "no-probes" }, "Nothing was measured yet."),
  ];
}

function matrix(who, known) {
  const of = new Map(known.flatMap((probe) => [[`${probe.a} ${probe.b}`, probe], [`${probe.b} ${probe.a}`, probe]]));
  return el("table.matrix", {},
    el("thead", {}, el("tr", {}, el("td"), who.map((each) => el("th", { scope: "col", key: each.id }, nameOf(each))))),
    el("tbody", {}, who.map((one) => el("tr", { key: one.id }, el("th", { scope: "row" }, nameOf(one)),
      who.map((other) => one === other ? el("td.self", { key: other.id })
        : field(of.get(`${one.id} ${other.id}`), other, `${nameOf(one)} and ${nameOf(other)}`))))));
}

function field(probe, other, names) {
  if (!probe) return el("td", { key: other.id, title: `${names}: not measured` }, "");
  const when = probe.at === null ? "" : `, at ${clock(probe.at)}`;
  const waits = !OVER.has(probe.state);
  if (probe.rtt_ms === null) {
    const [shape, text] = waits ? ["sent", probe.state] : ["failed", probe.reason];
    return el(`td.tone-${waits ? "wait" : "bad"}`, { key: other.id, title: `${names}: ${text}${when}` }, icon(shape),
      el("small", {}, waits ? probe.state : "none"));
  }
  const tone = probe.rtt_ms > POOR_MS || probe.loss > LOSSY ? "bad" : probe.rtt_ms > FAIR_MS ? "warn" : "good";
  const more = `jitter ${ms(probe.jitter_ms)}, loss ${percent(probe.loss)}, ${probe.path || "path unknown"}`;
  return el(`td.tone-${tone}`, { key: other.id, title: `${names}: ${ms(probe.rtt_ms)}, ${more}${when}` },
    icon(waits ? "sent" : { good: "done", warn: "warning", bad: "problem" }[tone]), ms(probe.rtt_ms),
    probe.loss > 0 ? el("small", {}, percent(probe.loss)) : null);
}
