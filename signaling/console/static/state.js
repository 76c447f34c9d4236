// What the page knows, in one place. Views read it; only console.js and actions.js change it.

import { History } from "./history.js";

export const state = {
  room: null,
  alerts: [],
  me: { account: "", role: "", may_act: false, may_audit: false },
  link: { up: false, why: "" },
  heardAt: 0,
  view: "overview",
  argument: "",
  chosen: [], // participants, in the order in which they were chosen: the order of their seats
  asked: [], // what this page asked for and was refused, or has no answer yet
  audit: null,
  accounts: null,
  archive: { matches: [], more: false, counts: null }, // matches that ended, from the store, the newest first
  history: new History(),
};

export const participant = (id) => state.room?.participants.find((each) => each.id === id);
export const matchOf = (id) => state.room?.matches.find((each) => each.id === id);

/** How much of a match was played, in seconds: pauses do not count. Until its clients say, the time since it began. */
export function playedFor(match) {
  const frames = match.seats.map((seat) => seat.health?.verified_frames ?? 0);
  const rate = Number(state.room.settings.rate_hz);
  return match.length_s && rate ? Math.min(match.length_s, Math.max(...frames) / rate) : match.running_for_s;
}

const FREE = new Set(["idle", "waiting"]);
export const isFree = (who) => FREE.has(who.state);

/** The kinds of alerts (rtt, loss, ...) that hold for a match, by kind. */
export function alertKinds(matchId) {
  return new Set(state.alerts.filter((each) => each.match_id === matchId).map((each) => each.id.split(" ")[0]));
}

/** The worst of what the clients of a match report. */
export function worstOf(match) {
  const healths = match.seats.filter((seat) => seat.present && seat.health).map((seat) => seat.health);
  const peers = healths.flatMap((health) => health.peers);
  const most = (list, name) => {
    const found = list.map((each) => each[name]).filter((value) => value !== null && value !== undefined);
    return found.length ? found.reduce((one, other) => (Math.abs(other) > Math.abs(one) ? other : one)) : null;
  };
  return {
    rtt_ms: most(peers, "rtt_ms"), jitter_ms: most(peers, "jitter_ms"), loss: most(peers, "loss"),
    frames_ahead: most(peers, "frames_ahead"), rollback_depth: most(healths, "rollback_depth"),
    stalls: most(healths, "stalls"), desyncs: most(healths, "desyncs"),
    verified_frames: healths.length ? Math.min(...healths.map((health) => health.verified_frames)) : null,
    path: [...new Set(peers.map((peer) => peer.path).filter(Boolean))].join(", "),
  };
}
