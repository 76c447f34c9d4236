// The one WebSocket to the server: rooms come in, actions go out, and each action's answer comes back.

const LOGGED_OUT = 4401;
const WHY = { 4429: "Too many consoles are open.", 4408: "This page took too long to take what was sent." };

export class Feed {
  /** `on` has: room(message), hello(message), link(up, why). */
  constructor(on) {
    this.on = on;
    this.waiting = new Map();
    this.next = 1;
    this.tries = 0;
    this.socket = null;
  }

  connect() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/console/feed`);
    this.socket = socket;
    socket.onmessage = (event) => this.take(JSON.parse(event.data));
    socket.onclose = (event) => this.ended(event);
  }

  take(message) {
    if (message.type === "hello") {
      this.tries = 0;
      this.on.hello(message);
      this.on.link(true, "");
    } else if (message.type === "room") {
      this.on.room(message);
    } else if (message.type === "answer") {
      const answer = this.waiting.get(message.id);
      this.waiting.delete(message.id);
      if (answer) answer({ ok: message.ok, message: message.message });
    }
  }

  ended(event) {
    if (event.code === LOGGED_OUT) {
      location.assign("/console/login");
      return;
    }
    for (const answer of this.waiting.values()) {
      answer({ ok: false, message: "The connection was lost before the server answered. Look whether it was done." });
    }
    this.waiting.clear();
    this.on.link(false, WHY[event.code] ?? "");
    const pause = Math.min(5000, 300 * 2 ** this.tries) * (0.75 + Math.random() / 2);
    this.tries += 1;
    setTimeout(() => this.connect(), pause);
  }

  /** Ask for an action; resolves to {ok, message}: the action's id, or why it was refused. */
  ask(action) {
    if (this.socket?.readyState !== WebSocket.OPEN) {
      return Promise.resolve({ ok: false, message: "There is no connection to the server. Nothing was sent." });
    }
    const id = this.next++;
    this.socket.send(JSON.stringify({ id, action }));
    return new Promise((resolve) => this.waiting.set(id, resolve));
  }
}
