// Accounts: who may log in to this console, and as what. For admins.

import { el } from "./dom.js";
import { day, icon } from "./format.js";
import { cell, head } from "./parts.js";
import { state } from "./state.js";

const MAY = { viewer: "looks", operator: "looks and acts", admin: "also decides about accounts, and reads the audit log" };

export function accounts() {
  const title = el("h2", { key: "h" }, "Accounts");
  if (!state.me.may_audit) return [title, el("p.empty", { key: "none" }, "Accounts are for the role admin.")];
  if (!state.accounts) return [title, el("p.empty", { key: "none" }, "Loading …")];
  const admins = state.accounts.filter((each) => each.role === "admin").length;
  return [
    title,
    el("p.hint", { key: "hint" }, "Who may log in to this console. A new password, or the end of an account, logs it out everywhere. "
      + "Each change is in the audit log."),
    el("div.buttons", { key: "add" }, button("Add an account", "account-add", {}, { kind: "primary" })),
    el("table.rows.accounts", { key: "all" }, head("Name", "Role", "May", "Made", "Changed", ""),
      el("tbody", {}, state.accounts.map((account) => row(account, account.role === "admin" && admins === 1)))),
  ];
}

function row(account, isLast) {
  const name = { name: account.name };
  const off = isLast ? "It is the last admin. Make another one first." : "";
  return el("tr", { key: account.name },
    cell("Name", el("b", {}, account.name), account.name === state.me.account ? el("small", {}, " you") : null),
    cell("Role", el("span.state", {}, icon(account.role), account.role)), cell("May", MAY[account.role] ?? ""),
    cell("Made", day(account.created_at)), cell("Changed", day(account.changed_at)),
    el("td.buttons", {}, button("Role", "account-role", { ...name, role: account.role }, { off }),
      button("Password", "account-password", name), button("Remove", "account-remove", name, { kind: "danger", off })));
}

function button(label, what, values = {}, { kind = "", off = "" } = {}) {
  const data = Object.fromEntries(Object.entries(values).map(([name, value]) => [`data-${name}`, value]));
  return el(`button${kind ? `.${kind}` : ""}`, { type: "button", "data-do": what, ...data, disabled: off !== "", title: off || null,
    "aria-label": values.name ? `${label} of ${values.name}` : null, key: `${what} ${values.name ?? ""}` }, label);
}
