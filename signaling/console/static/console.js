// The console: takes what the feed brings, shows the view that the address names, and hands on what people do.

import { accountDoings } from "./accounts.js";
import { doings } from "./actions.js";
import { shortcuts, toast } from "./dialogs.js";
import { el, show } from "./dom.js";
import { Feed } from "./feed.js";
import { fetchAccounts, fetchAudit, fetchMatches, fetchOlderMatches } from "./fetching.js";
import { icon } from "./format.js";
import { chosenBar } from "./parts.js";
import { state } from "./state.js";
import { accounts } from "./view_accounts.js";
import { actions } from "./view_actions.js";
import { data } from "./view_data.js";
import { match } from "./view_match.js";
import { matches } from "./view_matches.js";
import { overview } from "./view_overview.js";
import { stations } from "./view_stations.js";
import { waiting } from "./view_waiting.js";

const VIEWS = { overview, stations, matches, match, waiting, actions, data, accounts };
const TABS = ["overview", "stations", "matches", "waiting", "actions", "data"];
const WITHIN = { match: "matches", accounts: "data" }; // views without a tab of their own
const STALE_MS = 4000;
const FETCH_EVERY_MS = 5000;

const part = (id) => document.getElementById(id);
const title = (name) => name[0].toUpperCase() + name.slice(1);

let due = false;
/** Draw before the next frame is shown; many changes at once are drawn once. */
function draw() {
  if (due) return;
  due = true;
  requestAnimationFrame(() => {
    due = false;
    drawNow();
  });
}

function drawNow() {
  const { room, me, link, alerts } = state;
  const problems = alerts.some((alert) => alert.severity === "problem");
  document.title = `${alerts.length ? `(${alerts.length}) ` : ""}${title(state.view)}: Tandem console`;
  show(part("head"),
    el("h1", {}, "Tandem", el("span", { title: room?.settings.env ?? "" }, room?.title || (room?.settings.env ?? ""))),
    room?.paused ? el("span.held", { key: "held", title: "Matching is on hold" }, icon("paused"), el("span.words", {}, "on hold")) : null,
    alerts.length ? el(`a.count.${problems ? "problem" : "warning"}`, { href: "#overview", key: "alerts" },
      icon(problems ? "problem" : "warning"), `${alerts.length} ${alerts.length === 1 ? "alert" : "alerts"}`) : null,
    el(`span.link.${link.up ? "up" : "down"}`, { key: "link" }, icon(link.up ? "done" : "failed"),
      el("span.words", {}, link.up ? "live" : "no connection")),
    el(me.may_audit ? "a.me" : "span.me", { key: "me", href: me.may_audit ? "#accounts" : null, title: me.may_audit ? "Accounts (7)" : null },
      me.account, me.role ? el("small", {}, ` ${me.role}`) : null),
    el("button", { type: "button", "data-do": "keys", title: "Keys (?)", "aria-label": "Keys", key: "keys" }, "?"),
    el("form", { method: "post", action: "/console/logout", key: "out" }, el("button", {}, "Log out")));
  show(part("nav"), TABS.map((name, index) => el("a", {
    key: name, href: `#${name}`, title: `Key ${index + 1}`,
    "aria-current": name === (WITHIN[state.view] ?? state.view) ? "page" : null,
  }, title(name))));
  drawBanner();
  if (!room) return;
  state.chosen = state.chosen.filter((id) => room.participants.some((who) => who.id === id));
  show(part("main"), VIEWS[state.view]());
  show(part("bar"), ["stations", "waiting"].includes(state.view) ? chosenBar() : null);
}

function drawBanner() {
  const age = Math.round((Date.now() - state.heardAt) / 1000);
  const old = state.room && state.link.up && Date.now() - state.heardAt > STALE_MS;
  const lost = !state.link.up && state.room;
  const text = lost ? `No connection to the server for ${age} s. ${state.link.why} Matches go on without it. Trying again …`
    : old ? `The server has sent nothing for ${age} s. What is shown is old.` : "";
  show(part("banner"), text ? el("p", {}, icon("problem"), text) : null);
  document.body.classList.toggle("stale", Boolean(lost || old));
}

const feed = new Feed({
  hello(message) {
    state.me = message;
    fetchShown();
    draw();
  },
  room(message) {
    state.room = message.room;
    state.alerts = message.alerts;
    state.heardAt = Date.now();
    state.history.add(message.room);
    table.follow();
    draw();
  },
  link(up, why) {
    state.link = { up, why };
    draw();
  },
});

const table = { ...doings(feed, draw), ...accountDoings(draw), older: () => fetchOlderMatches().then(draw) };
const KEYS = [
  ...TABS.map((name, index) => [String(index + 1), title(name), () => location.assign(`#${name}`)]),
  ["7", "Accounts, for admins", () => location.assign("#accounts")],
  ["p", "Pair those who are chosen", () => table.pair()],
  ["m", "Message to those who are chosen, or to everyone", () => table[state.chosen.length ? "tell-chosen" : "tell-all"]()],
  ["s", "Start all who wait", () => table["start-all"]()],
  ["h", "Hold matching, or release it", () => table[state.room.paused ? "release" : "hold"]()],
  ["Esc", "Choose nobody; close a dialog", () => table["choose-none"]()],
  ["?", "These keys", () => table.keys()],
];
const FREE_KEYS = new Set([...TABS.map((_, index) => String(index + 1)), "7", "?", "Esc"]);
table.keys = () => shortcuts([...KEYS.map(([key, what]) => [key, what]),
  ["Tab", "To the next button or link; Enter or space uses it"]]);

function onKey(event) {
  const typing = event.target.closest?.("input:not([type=checkbox]), textarea, select, dialog");
  if (typing || event.ctrlKey || event.metaKey || event.altKey || !state.room) return;
  const pressed = event.key === "Escape" ? "Esc" : event.key;
  const found = KEYS.find(([key]) => key === pressed);
  if (!found || event.repeat) return;
  event.preventDefault();
  if (!FREE_KEYS.has(pressed) && !state.me.may_act) toast("Your role may look, not act.", "refused");
  else found[2]();
}

function onClick(event) {
  const button = event.target.closest("[data-do]");
  if (button) table[button.dataset.do]?.({ ...button.dataset });
  else if (!event.target.closest("a, button, input")) {
    const row = event.target.closest("[data-href]");
    if (row && !String(getSelection())) location.assign(row.dataset.href);
  }
}

function onAddress() {
  const [view, argument = ""] = location.hash.slice(1).split("/");
  const moved = state.view !== view;
  state.view = Object.hasOwn(VIEWS, view) ? view : "overview";
  state.argument = argument;
  if (moved) window.scrollTo(0, 0);
  fetchShown();
  draw();
}

const FETCHES = { data: [fetchAudit, fetchMatches], accounts: [fetchAccounts] };
async function fetchShown() {
  if (document.hidden || !state.me.account) return;
  await Promise.all((FETCHES[state.view] ?? []).map((each) => each()));
  draw();
}

addEventListener("hashchange", onAddress);
addEventListener("resize", draw);
document.addEventListener("click", onClick);
document.addEventListener("keydown", onKey);
setInterval(fetchShown, FETCH_EVERY_MS);
setInterval(drawBanner, 1000);
onAddress();
feed.connect();
