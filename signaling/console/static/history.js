// The last few minutes of each match: what the server kept, and what has come since. The same figures as
// signaling/console/history.py.

const KEPT = 300;
const STALE_S = 3;

const worst = (peers, name) => {
  const found = peers.map((peer) => peer[name]).filter((value) => value !== null && value !== undefined);
  return found.length ? Math.max(...found) : null;
};

export const SERIES = {
  rtt_ms: (health) => worst(health.peers, "rtt_ms"),
  jitter_ms: (health) => worst(health.peers, "jitter_ms"),
  loss: (health) => worst(health.peers, "loss"),
  rollback_depth: (health) => health.rollback_depth,
  frames_ahead: (health) => worst(health.peers, "frames_ahead"),
  rate_hz: (health) => health.rate_hz,
  stalls: (health) => health.stalls,
};

export class History {
  constructor() {
    this.matches = new Map();
  }

  add(room) {
    const shown = new Set(room.matches.map((match) => match.id));
    for (const id of this.matches.keys()) if (!shown.has(id)) this.matches.delete(id);
    for (const match of room.matches) if (match.state !== "ended") this.sample(match, room.at);
  }

  sample(match, at) {
    const kept = this.of(match.id);
    if (kept.at.length && at - kept.at.at(-1) < 0.9) return;
    kept.at.push(at);
    for (const seat of match.seats) {
      const stale = !seat.health || !seat.present || (seat.health_ago_s ?? 0) > STALE_S;
      kept.seats[seat.seat] ??= {};
      for (const [name, read] of Object.entries(SERIES)) {
        const values = (kept.seats[seat.seat][name] ??= new Array(kept.at.length - 1).fill(null));
        values.push(stale ? null : read(seat.health));
        if (values.length > KEPT) values.shift();
      }
    }
    if (kept.at.length > KEPT) kept.at.shift();
  }

  of(id) {
    if (!this.matches.has(id)) this.matches.set(id, { at: [], seats: {}, asked: false });
    return this.matches.get(id);
  }

  /** Fetch what the server kept from before this page was opened, once. */
  async load(id) {
    const kept = this.of(id);
    if (kept.asked) return;
    kept.asked = true;
    const answer = await fetch(`/console/history?match=${encodeURIComponent(id)}`);
    if (!answer.ok) return;
    const earlier = await answer.json();
    const until = kept.at.length ? kept.at[0] - 0.5 : Infinity;
    const count = earlier.at.filter((at) => at < until).length;
    const length = kept.at.length;
    kept.at = [...earlier.at.slice(0, count), ...kept.at].slice(-KEPT);
    for (const [seat, series] of Object.entries(earlier.seats)) {
      kept.seats[seat] ??= {};
      for (const [name, values] of Object.entries(series)) {
        const later = kept.seats[seat][name] ?? new Array(length).fill(null);
        kept.seats[seat][name] = [...values.slice(0, count), ...later].slice(-KEPT);
      }
    }
  }
}
