// Dialogs: one at a time, closed by Escape, answered by a promise.

import { el } from "./dom.js";

/**
 * Ask for something. `fields`: [{name, label, kind, value, ...}]; resolves to the fields' values, or null.
 * `danger` makes the button that goes on look like what it is.
 */
export function ask({ title, text = "", fields = [], go = "OK", danger = false }) {
  const inputs = fields.map(input);
  const form = el("form", { method: "dialog" },
    el("h2", {}, title), text ? el("p", {}, text) : null,
    fields.map((field, index) => el("label", {}, field.label, inputs[index])),
    el("div.buttons", {}, el(`button.${danger ? "danger" : "primary"}`, { value: "go" }, go),
      el("button", { value: "", formnovalidate: true }, "Cancel")));
  const dialog = el("dialog", { "aria-label": title }, form);
  document.body.append(dialog);
  dialog.showModal();
  (inputs[0] ?? form.querySelector("button")).focus();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      const values = Object.fromEntries(fields.map((field, index) => [field.name, inputs[index].value]));
      resolve(dialog.returnValue === "go" ? values : null);
    });
  });
}

function input({ name, kind = "text", value = "", least, most, optional = false, choices = [], complete }) {
  const common = { name, required: !optional };
  const bounds = kind === "number" ? { min: least, max: most, step: "any" } : { minlength: least, maxlength: most };
  const made = kind === "area" ? el("textarea", { ...common, rows: 3, maxlength: most })
    : kind === "select" ? el("select", common, choices.map((choice) => el("option", {}, choice)))
      : el("input", { ...common, type: kind, autocomplete: complete, ...bounds });
  made.value = value;
  return made;
}

/** A message at the foot of the page, for a few seconds. */
export function toast(text, tone = "info") {
  const node = el(`p.toast.${tone}`, {}, text);
  const all = document.getElementById("toasts");
  all.append(node);
  while (all.childElementCount > 3) all.firstElementChild.remove();
  setTimeout(() => node.remove(), ["refused", "failed", "unanswered"].includes(tone) ? 9000 : 3000);
}

export function shortcuts(list) {
  const dialog = el("dialog", { "aria-label": "Keys" }, el("form", { method: "dialog" }, el("h2", {}, "Keys"),
    el("dl.keys", {}, list.map(([key, what]) => [el("dt", {}, el("kbd", {}, key)), el("dd", {}, what)])),
    el("div.buttons", {}, el("button", {}, "Close"))));
  document.body.append(dialog);
  dialog.addEventListener("close", () => dialog.remove());
  dialog.showModal();
}
