// Parts that several views share.

import { el } from "./dom.js";
import { alsoKnown, clock, icon, nameOf, seatsOf } from "./format.js";
import { isFree, matchOf, participant, state } from "./state.js";

export const badge = (name) => el("span.state", {}, icon(name), name);

/** A button that does something, named by `data-do`; disabled, with the reason, for who may not act. */
export function button(label, what, values = {}, { kind = "", off = "" } = {}) {
  const why = state.me.may_act ? off : "Your role may look, not act.";
  const data = Object.fromEntries(Object.entries(values).map(([name, value]) => [`data-${name}`, value]));
  return el(`button${kind ? `.${kind}` : ""}`, {
    type: "button", "data-do": what, ...data, disabled: why !== "", title: why || null, key: `${what} ${label}`,
  }, label);
}

export function named(who) {
  const also = alsoKnown(who);
  return el("span.named", {}, nameOf(who), also ? el("small", {}, ` ${also}`) : null);
}

/** The first alerts in full, and the others folded away: they must not push away what else is to be seen. */
export function alertList(alerts, { links = true } = {}) {
  const most = window.innerWidth < 700 ? 3 : 5;
  const item = (alert) => el(`li.${alert.severity}`, { key: alert.id },
    icon(alert.severity), el("span", {}, alert.text), el("small", {}, `since ${clock(alert.since)}`),
    links && alert.match_id ? el("a", { href: `#match/${alert.match_id}` }, "Show the match") : null);
  const more = alerts.slice(most);
  return el("section.alerts", { key: "alerts", "aria-label": "Alerts" }, el("ul", {}, alerts.slice(0, most).map(item)),
    more.length ? el("details", {}, el("summary", {}, `${more.length} more`), el("ul", {}, more.map(item))) : null);
}

export function eventList(events, most = 200) {
  if (!events.length) return el("p.empty", {}, "Nothing has happened yet.");
  return el("ol.events", {}, events.slice(-most).reverse().map((event) => el(`li.${event.severity}`,
    { key: `${event.at} ${event.kind} ${event.participant_id} ${event.match_id}` },
    el("time", {}, clock(event.at)), icon(event.severity), el("span", {}, el("b", {}, event.kind), ` ${event.text}`),
    event.match_id ? el("a", { href: `#match/${event.match_id}` }, shortId(event.match_id)) : null)));
}

export const shortId = (id) => id.split("-")[0];

/** What was asked of the room, and what became of it; refusals too, which only this page knows. */
export function actionList(most = 40) {
  const known = new Set(state.room.actions.map((action) => action.id));
  const own = state.asked.filter((each) => !each.answeredBy || !known.has(each.answeredBy));
  const rows = [...state.room.actions, ...own].sort((one, other) => other.at - one.at).slice(0, most);
  if (!rows.length) return el("p.empty", {}, "Nothing was asked for yet.");
  return el("table.rows", {}, head("When", "What", "For", "By", "State", "Answer"),
    el("tbody", {}, rows.map((action) => el("tr", { key: action.id },
      cell("When", clock(action.at)), cell("What", action.kind), cell("For", targetName(action.target)),
      cell("By", action.by), cell("State", badge(action.state)), cell("Answer", action.detail || "")))));
}

function targetName(target) {
  const [match, who] = [matchOf(target), participant(target)];
  return match ? el("a", { href: `#match/${match.id}` }, seatsOf(match)) : who ? nameOf(who) : target || "everyone";
}

export const head = (...names) =>
  el("thead", {}, el("tr", {}, names.map((name) => el("th", { scope: "col" }, name))));

/** A cell that says its column's name on a phone, where rows are stacked. */
export const cell = (name, ...content) => el("td", { "data-name": name }, ...content);

/** What can be done with those who are chosen, at the foot of the page. */
export function chosenBar() {
  const chosen = state.chosen.map(participant).filter(Boolean);
  if (!chosen.length) return null;
  const busy = chosen.filter((who) => !isFree(who));
  const seats = state.room.settings.seats;
  const off = busy.length ? `${busy.map(nameOf).join(", ")}: neither waiting nor idle` : "";
  const short = !off && seats && chosen.length !== seats ? `A match has ${seats} seats, ${chosen.length} chosen` : "";
  const one = chosen.length === 1 ? chosen[0] : null;
  return el("section.chosen", { "aria-label": "Chosen participants", key: "chosen" },
    el("p", {}, el("b", {}, `${chosen.length} chosen: `), chosen.map(nameOf).join(" + "),
      off || short ? el("small", {}, ` ${off || short}.`) : null),
    el("div.buttons", {},
      button("Pair", "pair", {}, { kind: "primary", off: off || short }),
      button("Message", "tell-chosen"),
      one && isFree(one) ? button("Add a bot as partner", "add-bot", { participant: one.id }) : null,
      button("Remove", "remove-chosen", {}, { kind: "danger" }),
      one?.match_id ? el("a.button", { href: `#match/${one.match_id}` }, "Show its match") : null,
      el("button", { type: "button", "data-do": "choose-none" }, "Clear")));
}
