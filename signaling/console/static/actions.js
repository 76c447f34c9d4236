// What buttons and keys do. Each action is sent once, and its answer is shown; the dangerous ones ask first.

import { ask, toast } from "./dialogs.js";
import { nameOf, seatsOf } from "./format.js";
import { isFree, matchOf, participant, state } from "./state.js";

const MOST_ASKED = 40;

/** The bot that was added last; at first the one that the default environment has. */
function lastBot() {
  const added = state.room.actions.filter((action) => action.kind === "add-bot" && action.state === "done");
  return added.at(-1)?.target.match(/\(([^()]+)\)$/)?.[1] ?? "greedy";
}

/** Return the table of what can be done. `feed` takes actions; `draw` shows what changed on this page. */
export function doings(feed, draw) {
  let count = 0;
  async function send(action, target) {
    const entry = { id: `here ${++count}`, kind: action.kind, by: state.me.account, target, state: "sent", detail: "", at: state.room.at };
    state.asked = [...state.asked, entry].slice(-MOST_ASKED);
    draw();
    const answer = await feed.ask(action);
    if (answer.ok) entry.answeredBy = answer.message;
    else Object.assign(entry, { state: "refused", detail: answer.message });
    toast(answer.ok ? `Sent: ${action.kind} for ${label(target)}.` : `Not done: ${answer.message}`, answer.ok ? "sent" : "refused");
    draw();
    return answer.ok;
  }

  /** Say what became of what this page asked for, as soon as the room knows. */
  function follow() {
    for (const entry of state.asked.filter((each) => each.answeredBy && !each.told)) {
      const found = state.room.actions.find((action) => action.id === entry.answeredBy);
      if (!found || found.state === "sent") continue;
      entry.told = true;
      const word = found.state[0].toUpperCase() + found.state.slice(1);
      toast(`${word}: ${entry.kind} for ${label(entry.target)}.${found.detail ? ` ${found.detail}` : ""}`, found.state);
    }
  }

  const label = (target) => {
    const [match, who] = [matchOf(target), participant(target)];
    return match ? seatsOf(match) : who ? nameOf(who) : target || "everyone";
  };
  const chosen = () => state.chosen.map(participant).filter(Boolean);
  const message = (whom) => ask({
    title: `Message to ${whom}`, text: "It stays on the screen until an empty one takes it back.", go: "Send",
    fields: [{ name: "text", label: "Message", kind: "area", most: 1000, optional: true }],
  });

  return {
    follow,
    choose({ id }) {
      state.chosen = state.chosen.includes(id) ? state.chosen.filter((each) => each !== id) : [...state.chosen, id];
      draw();
    },
    "choose-none"() {
      state.chosen = [];
      draw();
    },
    async pair() {
      const who = chosen();
      if (!who.length || !who.every(isFree)) return toast("Choose participants who wait or are idle first.", "refused");
      if (await send({ kind: "pair", participants: who.map((each) => each.id) }, who.map(nameOf).join(" + "))) {
        state.chosen = [];
        draw();
      }
    },
    async "start-all"() {
      const waiting = state.room.participants.filter((who) => who.state === "waiting").length;
      const go = await ask({ title: "Start everyone who waits?", go: "Start all",
        text: `${waiting} are waiting. They are matched at once, whatever the matcher would still wait for.` });
      if (go) await send({ kind: "start-all" }, "");
    },
    "probe-room": () => send({ kind: "probe-room" }, ""),
    hold: () => send({ kind: "hold" }, ""),
    release: () => send({ kind: "release" }, ""),
    move: ({ id, position }) => send({ kind: "move", participant: id, position: Number(position) }, id),
    pause: ({ match }) => send({ kind: "pause", match }, match),
    resume: ({ match }) => send({ kind: "resume", match }, match),
    async extend({ match }) {
      const found = await ask({ title: `Extend ${label(match)}`, go: "Extend",
        fields: [{ name: "seconds", label: "By how many seconds", kind: "number", value: "60", least: 1, most: 86400 }] });
      if (found) await send({ kind: "extend", match, seconds: Number(found.seconds) }, match);
    },
    async end({ match }) {
      const go = await ask({ title: `End ${label(match)}?`, go: "End the match", danger: true,
        text: "It ends at a frame that its clients agree on. Everybody keeps what was recorded. This cannot be taken back." });
      if (go) await send({ kind: "end", match }, match);
    },
    async "tell-all"() {
      const found = await message("everyone");
      if (found) await send({ kind: "tell", text: found.text }, "");
    },
    async "tell-match"({ match }) {
      const found = await message(label(match));
      if (found) await send({ kind: "tell", text: found.text, match }, match);
    },
    async "tell-chosen"() {
      const who = chosen();
      const found = who.length ? await message(who.map(nameOf).join(", ")) : null;
      if (found) for (const each of who) await send({ kind: "tell", text: found.text, participant: each.id }, each.id);
    },
    async "remove-chosen"() {
      const who = chosen();
      if (!who.length) return;
      const found = await ask({ title: `Remove ${who.map(nameOf).join(", ")}?`, go: "Remove", danger: true,
        text: "They take no further part, and see this message. Partners are told, and keep their data.",
        fields: [{ name: "text", label: "Message", kind: "area", most: 1000, optional: true,
          value: "Thank you for taking part. Please ask the experimenter how to go on." }] });
      if (!found) return;
      for (const each of who) await send({ kind: "remove", participant: each.id, text: found.text }, each.id);
      state.chosen = [];
      draw();
    },
    async "add-bot"({ participant: partner }) {
      const found = await ask({ title: partner ? `A bot as partner of ${label(partner)}` : "Add a bot", go: "Add",
        text: `It runs on the server's computer.${partner ? "" : " It waits like everyone."} \`tandem envs\` lists the bots of each environment.`, fields: [{ name: "bot", label: "Which bot", value: lastBot(), most: 64 }] });
      if (found) await send({ kind: "add-bot", bot: found.bot, ...(partner ? { participant: partner } : {}) }, partner ?? "");
    },
  };
}
