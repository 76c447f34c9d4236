// What is fetched besides the feed: logs, matches of earlier, accounts. Only while somebody looks at it.

import { toast } from "./dialogs.js";
import { state } from "./state.js";

async function read(path) {
  const answer = await fetch(path).catch(() => null); // offline: the banner says so, the next try follows
  return answer?.ok ? answer.json() : null;
}

export async function fetchAudit() {
  const found = state.me.may_audit ? await read("/console/audit") : null;
  if (found) state.audit = found.entries;
}

/** The newest matches that ended, again: those that were fetched before them stay. */
export async function fetchMatches() {
  const found = await read("/console/matches");
  if (!found) return;
  const { matches, more } = state.archive;
  const known = new Set(found.matches.map((match) => match.id));
  const joins = matches.some((match) => known.has(match.id));
  const older = joins ? matches.filter((match) => !known.has(match.id)) : [];
  state.archive = { matches: [...found.matches, ...older], more: joins ? more : found.more, counts: found.counts };
}

export async function fetchOlderMatches() {
  const last = state.archive.matches.at(-1);
  const found = last ? await read(`/console/matches?before=${encodeURIComponent(last.id)}`) : null;
  if (!found) return;
  const known = new Set(state.archive.matches.map((match) => match.id));
  const fresh = found.matches.filter((match) => !known.has(match.id));
  state.archive = { matches: [...state.archive.matches, ...fresh], more: found.more, counts: found.counts };
}

export async function fetchAccounts() {
  const found = state.me.may_audit ? await read("/console/accounts") : null;
  if (found) state.accounts = found.accounts;
}

/** Ask for a change of the accounts, and say what became of it. */
export async function changeAccount(change) {
  const answer = await fetch("/console/accounts", {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(change),
  }).catch(() => null);
  const outcome = await answer?.json().catch(() => null);
  if (outcome?.ok) toast(outcome.message, "done");
  else toast(`Not done: ${outcome?.message ?? "The server could not be reached, or cannot reach its data."}`, "refused");
  await fetchAccounts();
}
