// What an admin does with accounts: each change is asked for, sent, and answered in a sentence.

import { ask, toast } from "./dialogs.js";
import { changeAccount } from "./fetching.js";
import { state } from "./state.js";

const LEAST = 8; // as signaling/passwords.py; the server checks it
const ROLES = ["viewer", "operator", "admin"];
const name = { name: "name", label: "Name: letters, digits and . _ @ -", most: 64, complete: "off" };
const role = (value) => ({ name: "role", label: "Role", kind: "select", choices: ROLES, value });
const passwords = [
  { name: "password", label: `Password, at least ${LEAST} characters`, kind: "password", least: LEAST, most: 1000, complete: "new-password" },
  { name: "again", label: "Once more", kind: "password", most: 1000, complete: "new-password" },
];

/** Ask for fields among which are two passwords, which must be the same; null if it was left. */
async function askWithPassword(question) {
  const found = await ask(question);
  if (!found) return null;
  if (found.password === found.again) return found;
  toast("Not done: these were two different passwords.", "refused");
  return null;
}

/** Return the table of what can be done with accounts. `draw` shows what changed. */
export function accountDoings(draw) {
  const change = async (wanted) => {
    await changeAccount(wanted);
    draw();
  };
  const own = (account) => (account === state.me.account ? " You are logged out then." : "");
  return {
    async "account-add"() {
      const found = await askWithPassword({ title: "Add an account", go: "Add", fields: [name, role("viewer"), ...passwords],
        text: "A viewer looks; an operator also acts; an admin also decides about accounts." });
      if (found) await change({ does: "add", name: found.name, role: found.role, password: found.password });
    },
    async "account-role"({ name: account, role: now }) {
      const found = await ask({ title: `Role of ${account}`, go: "Change", fields: [role(now)] });
      if (found) await change({ does: "set", name: account, role: found.role });
    },
    async "account-password"({ name: account }) {
      const found = await askWithPassword({ title: `New password of ${account}`, go: "Change", fields: passwords,
        text: `It ends all sessions of this account.${own(account)}` });
      if (found) await change({ does: "set", name: account, password: found.password });
    },
    async "account-remove"({ name: account }) {
      const go = await ask({ title: `Remove ${account}?`, go: "Remove", danger: true,
        text: `Whoever is logged in under this name is logged out.${own(account)}` });
      if (go) await change({ does: "remove", name: account });
    },
  };
}
