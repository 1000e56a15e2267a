// What pages share that write: work whose refusal is said in words beside its button, and a question before what cannot be undone.
import { make, put, say } from "./words.js";

/** Do `work` while its button rests; what it resolves to, or why it failed, is said in `place` (a role="status" element). */
export async function doing(button, place, work) {
  button.disabled = true;
  tell(place, say("form.doing"));
  try {
    tell(place, (await work()) ?? "");
    return true;
  } catch (error) {
    tell(place, error.message, "wrong");
    return false;
  } finally {
    button.disabled = false;
  }
}

export function tell(place, text, kind = "") {
  place.dataset.kind = kind;
  put(place, text);
}

/** Asks with the words of the page; resolves to true where the person goes on. */
export function sure(question, act) {
  const no = make("button", { type: "submit", value: "no", class: "quiet" }, say("form.cancel"));
  const yes = make("button", { type: "submit", value: "yes", class: "quiet danger" }, act);
  const form = make("form", { method: "dialog" }, make("p", { class: "lead" }, question), make("p", { class: "ends" }, no, yes));
  const dialog = make("dialog", { "aria-label": question }, form);
  document.body.append(dialog);
  dialog.showModal();
  no.focus();
  return new Promise((done) =>
    dialog.addEventListener("close", () => {
      dialog.remove();
      done(dialog.returnValue === "yes");
    }),
  );
}
