// Reads one address again and again while the page is seen. An unchanged answer costs no drawing: its ETag comes back as 304.
import { answered, ended } from "./requests.js";

/** `show(body)` gets what is new, `fail(error)` why nothing came; `now()` reads at once. */
export function poll(address, show, fail, everyMs = 5000) {
  let tag = "";
  let last = "";
  let turn = 0;
  let timer;

  async function read() {
    const mine = ++turn;
    clearTimeout(timer);
    const asked = address();
    try {
      const known = asked === last && tag ? { "If-None-Match": tag } : {};
      const answer = await fetch(asked, { headers: { Accept: "application/json", ...known }, cache: "no-store", signal: AbortSignal.timeout(20000) });
      if (mine !== turn) return;
      if (answer.status !== 304) {
        ended(answer);
        const body = await answered(answer);
        if (mine !== turn) return;
        [tag, last] = [answer.headers.get("ETag") ?? "", asked];
        show(body);
      }
      fail(null);
    } catch (error) {
      if (mine !== turn) return;
      tag = "";
      fail(error);
    }
    if (mine === turn && !document.hidden) timer = setTimeout(read, everyMs);
  }

  document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : read()));
  read();
  return { now: read };
}

/** The state of the page in its address: shareable, and kept when the language changes. */
export const state = {
  get: (name) => new URLSearchParams(location.search).get(name) ?? "",
  set(changes) {
    const there = new URLSearchParams(location.search);
    for (const [name, value] of Object.entries(changes)) value ? there.set(name, value) : there.delete(name);
    const query = there.toString();
    history.replaceState(null, "", query ? `?${query}` : location.pathname);
  },
};

/** The keyboard goes on at an element, where it was lost with a button that rested or was drawn anew; nobody's focus is taken. */
export function refocus(id) {
  if (!document.activeElement || document.activeElement === document.body) document.getElementById(id)?.focus({ preventScroll: true });
}

/** Draw anew without taking the keyboard away: what had the focus gets it again by its id. */
export function keeping(draw) {
  const id = document.activeElement?.id;
  draw();
  if (id && document.activeElement?.id !== id) document.getElementById(id)?.focus({ preventScroll: true });
}
