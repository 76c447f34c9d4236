// Line charts as SVG. Lines differ in colour and in dashes; gaps in the data are gaps in the line.

import { el, svg } from "./dom.js";
import { clock, NONE } from "./format.js";

function ticks(low, high) {
  const span = high - low || 1;
  const rough = span / 3;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough);
  const found = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step / 1e6; value += step) found.push(value);
  return { found, digits: Math.max(0, -Math.floor(Math.log10(step))) };
}

function path(values, x, y) {
  let drawn = "";
  let pen = false;
  values.forEach((value, index) => {
    if (value === null || value === undefined) {
      pen = false;
      return;
    }
    drawn += `${pen ? "L" : "M"}${x(index).toFixed(1)} ${y(value).toFixed(1)}`;
    pen = true;
  });
  return drawn;
}

function bounds(lines, limit, least) {
  const all = lines.flatMap((line) => line.values.filter((value) => value !== null && value !== undefined));
  const low = Math.min(0, ...all);
  const high = Math.max(least, ...all, limit && all.some((value) => value > limit * 0.6) ? limit * 1.05 : least);
  return [low, high * 1.04];
}

/**
 * A chart with a legend that gives the newest value of each line.
 * `lines`: [{name, values}], one value for each of `at` (seconds since 1970); `marks`: [{at, text}].
 */
export function chart({ title, unit = "", at, lines, digits = 0, limit = null, least = 1, marks = [] }) {
  const [width, height] = [window.innerWidth < 700 ? 350 : 560, 150];
  const [left, right, top, bottom] = [40, 8, 8, 20];
  const [low, high] = bounds(lines, limit, least);
  const [first, last] = [at[0] ?? 0, at.at(-1) ?? 0];
  const across = (moment) => left + ((moment - first) / Math.max(last - first, 20)) * (width - left - right);
  const up = (value) => height - bottom - ((value - low) / (high - low)) * (height - top - bottom);
  const scale = ticks(low, high);
  const drawn = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${title} over time` },
    scale.found.map((value) => [
      svg("line.grid", { x1: left, x2: width - right, y1: up(value), y2: up(value) }),
      svg("text.axis.y", { x: left - 6, y: up(value) + 4 }, value.toFixed(scale.digits).replace("-", "−")),
    ]),
    svg("text.axis", { x: left, y: height - 4 }, at.length ? clock(first) : ""),
    svg("text.axis.end", { x: width - right, y: height - 4 }, at.length > 1 ? clock(last) : ""),
    limit !== null && limit > low && limit < high
      ? svg("line.limit", { x1: left, x2: width - right, y1: up(limit), y2: up(limit) }) : null,
    marks.filter((mark) => mark.at >= first && mark.at <= last).map((mark) =>
      svg("line.mark", { x1: across(mark.at), x2: across(mark.at), y1: top, y2: height - bottom },
        svg("title", {}, `${clock(mark.at)} ${mark.text}`))),
    lines.map((line, index) => svg(`path.line.line-${index % 8}`, {
      d: path(line.values, (each) => across(at[each]), up),
    })),
  );
  return el("figure.chart", { key: title },
    el("figcaption", {}, el("b", {}, title), unit ? ` ${unit}` : "",
      el("span.legend", {}, lines.map((line, index) => el("span", { key: line.name },
        svg("svg.key", { viewBox: "0 0 22 8", "aria-hidden": "true" }, svg(`path.line.line-${index % 8}`, { d: "M0 4H22" })),
        line.name, " ", el("b", {}, newest(line.values, digits)))))),
    drawn);
}

function newest(values, digits) {
  const value = values.at(-1);
  return value === null || value === undefined ? NONE : value.toFixed(digits).replace(/^-(?=0\.?0*$)/, "").replace("-", "−");
}

/** What happened when, from a match's beginning to its end: small strokes for what is normal, triangles for what is not. */
export function timeline({ from, until, now, events }) {
  const [width, height] = [window.innerWidth < 700 ? 350 : 840, 44];
  const [first, last] = [Math.min(from, ...events.map((event) => event.at)), Math.max(until, from + 20)];
  const across = (at) => 10 + ((at - first) / (last - first)) * (width - 20);
  return svg("svg.timeline", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "Events over time" },
    svg("line.grid", { x1: 10, x2: width - 10, y1: 16, y2: 16 }),
    svg("line.past", { x1: 10, x2: across(Math.min(now, last)), y1: 16, y2: 16 }),
    events.map((event) => {
      const x = across(event.at);
      const shape = event.severity === "info" ? `M${x} 9V23` : `M${x} 6l8 16h-16z`;
      return svg(`path.${event.severity}`, { d: shape }, svg("title", {}, `${clock(event.at)} ${event.kind} ${event.text}`));
    }),
    svg("text.axis", { x: 10, y: 40 }, clock(first)), svg("text.axis.end", { x: width - 10, y: 40 }, clock(last)));
}

/** A line without axes, for a row of a table. */
export function sparkline(values, least) {
  const shown = values.slice(-60);
  const high = Math.max(least, ...shown.filter((value) => value !== null));
  const drawn = path(shown, (index) => 1 + (index / 59) * 78, (value) => 19 - (value / high) * 17);
  return svg("svg.spark", { viewBox: "0 0 80 20", "aria-hidden": "true" }, svg("path.line.line-0", { d: drawn }));
}
