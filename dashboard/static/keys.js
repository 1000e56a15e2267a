// Keys without a modifier, for all pages: `shortcut("j", act)`, `shortcut("g o", act)`. They rest while somebody types or a dialog is
// open, and where the reader switched them off (WCAG 2.1.4).

const acts = new Map();
const SECOND_MS = 1500;
let first = "";
let forget = 0;

export function shortcut(keys, act) {
  acts.set(keys, act);
}

// Before all others: the second of "g s" is no "s", and a letter that is switched off is one for every listener.
document.addEventListener("keydown", hear, { capture: true });

function hear(event) {
  const typing = event.target.closest?.("input, textarea, select, [contenteditable]");
  if (event.altKey || event.ctrlKey || event.metaKey || typing || event.key.length !== 1 || event.key === " " || document.querySelector("dialog[open]")) return;
  if (document.documentElement.dataset.shortcuts === "off") return event.stopImmediatePropagation();
  const second = first;
  first = "";
  clearTimeout(forget);
  if (!second && event.key === "g") {
    first = "g";
    forget = setTimeout(() => (first = ""), SECOND_MS);
    return event.stopImmediatePropagation();
  }
  const act = acts.get(second ? `${second} ${event.key}` : event.key);
  if (second || act) event.stopImmediatePropagation();
  if (!act) return;
  event.preventDefault();
  act();
}
