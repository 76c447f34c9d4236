// Figures and states as people read them.

import { svg } from "./dom.js";

export const NONE = "–";

export function number(value, digits = 0) {
  return value === null || value === undefined || Number.isNaN(value) ? NONE : value.toFixed(digits);
}

export function ms(value) {
  return value === null || value === undefined ? NONE : `${value.toFixed(value < 10 ? 1 : 0)} ms`;
}

export function percent(value, digits = 1) {
  return value === null || value === undefined ? NONE : `${(value * 100).toFixed(digits)} %`;
}

export function signed(value, digits = 1) {
  if (value === null || value === undefined) return NONE;
  return `${value > 0 ? "+" : value < 0 ? "−" : ""}${Math.abs(value).toFixed(digits)}`;
}

/** Seconds as 0:07, 12:30 or 1:02:03. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return NONE;
  const whole = Math.max(0, Math.floor(seconds));
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (value) => String(value).padStart(2, "0");
  return h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

/** The time of day of seconds since 1970, by this computer's clock. */
export function clock(at) {
  return new Date(at * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
}

/** The day of seconds since 1970, by this computer's clock; of what nobody knows, nothing. */
export function day(at) {
  return at ? new Date(at * 1000).toLocaleDateString([], { year: "numeric", month: "short", day: "numeric" }) : NONE;
}

/** The time of day, and the day if that was another one. */
export function moment(at) {
  const isToday = new Date(at * 1000).toDateString() === new Date().toDateString();
  return isToday ? clock(at) : `${day(at)}, ${clock(at)}`;
}

export const nameOf = (who) => who.station || who.label || who.id || who.participant_id || `seat ${who.seat + 1}`;

/** The rest of what is known of somebody: the label beside a station's name, and that it is a bot. */
export function alsoKnown(who) {
  const label = who.station && who.label && who.label !== who.station ? who.label : "";
  return [label, who.bot ? "bot" : ""].filter(Boolean).join(", ");
}

export const seatsOf = (match) => match.seats.map(nameOf).join(" + ");

const sorter = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });
export const byName = (one, other) => sorter.compare(nameOf(one), nameOf(other));

// Each state has a colour, a shape and a word, so that none of them has to be told apart by colour alone.
const SHAPES = {
  dot: () => [svg("circle", { cx: 8, cy: 8, r: 6.5 })],
  ring: () => [svg("circle.line", { cx: 8, cy: 8, r: 5.5 })],
  hourglass: () => [svg("path", { d: "M3 1.5h10v2.6L9.6 8l3.4 3.9v2.6H3v-2.6L6.4 8 3 4.1z" })],
  play: () => [svg("path", { d: "M3 1.5 14.5 8 3 14.5z" })],
  bars: () => [svg("path", { d: "M2.5 2h4v12h-4zM9.5 2h4v12h-4z" })],
  link: () => [svg("path.line", { d: "M6 4.5A4 4 0 1 0 6 11.5M10 4.5A4 4 0 1 1 10 11.5M5.5 8h5" })],
  square: () => [svg("rect", { x: 2.5, y: 2.5, width: 11, height: 11, rx: 1.5 })],
  tick: () => [svg("path.line", { d: "M2.5 8.5 6.3 12.3 13.5 4" })],
  cross: () => [svg("path.line", { d: "M3.5 3.5l9 9M12.5 3.5l-9 9" })],
  triangle: () => [svg("path", { d: "M8 1 15.5 14.5H.5z" }), svg("path.mark", { d: "M8 5.5v4.6M8 11.4v1.7" })],
  eye: () => [svg("path.line", { d: "M1 8c3.5-6 10.500-6 14 0-3.500 6-10.500 6-14 0z" }), svg("circle", { cx: 8, cy: 8, r: 2 })],
};

const STATES = {
  idle: ["ring", "off"], screening: ["ring", "soon"], waiting: ["hourglass", "wait"], matched: ["link", "soon"],
  connecting: ["link", "soon"], validating: ["link", "soon"], playing: ["play", "good"], paused: ["bars", "pause"],
  away: ["triangle", "bad"], watching: ["eye", "soon"], finished: ["tick", "off"], ended: ["square", "off"],
  excluded: ["cross", "off"], stalled: ["bars", "warn"], between: ["ring", "soon"],
  problem: ["triangle", "bad"], warning: ["triangle", "warn"], info: ["dot", "off"],
  sent: ["hourglass", "wait"], done: ["tick", "good"], failed: ["cross", "bad"], unanswered: ["triangle", "warn"],
  refused: ["cross", "bad"], unknown: ["triangle", "off"],
  viewer: ["eye", "off"], operator: ["play", "soon"], admin: ["dot", "good"],
};

export const toneOf = (state) => (STATES[state] ?? ["dot", "off"])[1];

export function icon(state) {
  const [shape, tone] = STATES[state] ?? ["dot", "off"];
  return svg(`svg.icon.tone-${tone}`, { viewBox: "0 0 16 16", "aria-hidden": "true" }, SHAPES[shape]());
}
