// What a script adds to the evidence page: what people do about the alert, and its course as it goes on. All else is there without it.
import { doing, tell } from "./forms.js";
import { shortcut } from "./keys.js";
import { Live } from "./live.js";
import { acknowledge, read, send } from "./requests.js";
import { Status } from "./status.js";
import { foreign, make, put, say, timeOf, word } from "./words.js";

const part = (id) => document.getElementById(id);
const alert = part("alert");
const { episode, subject } = alert.dataset;
const address = `/api/v1/alerts/${encodeURIComponent(episode)}`;
const status = new Status();
const mayAct = alert.dataset.mayAct === "yes";
const says = part("acknowledged");
let known = null;

// -- the course ----------------------------------------------------------------------------------------------------

const stamp = (at) => make("time", { datetime: new Date(at).toISOString(), title: new Date(at).toISOString() }, timeOf(at));

async function refresh() {
  known = await read(`${address}/course?lang=${document.documentElement.lang.slice(0, 2)}`);
  part("state-mark").dataset.state = known.state;
  put(part("state"), word("state", known.state));
  part("news").hidden = known.event === alert.dataset.event;
  if (says.dataset.kind !== "wrong" || known.ack) tell(says, seen());
  part("acknowledge").hidden = !mayAct || Boolean(known.ack);
  part("unacknowledge").hidden = !mayAct || !known.ack;
  part("silences").replaceChildren(...known.silences.map(silenced));
  const shown = JSON.stringify(known.steps);
  if (part("steps").dataset.shown !== shown) part("steps").replaceChildren(...known.steps.map(step));
  part("steps").dataset.shown = shown;
  const { right, not_a_surge: wrong } = known.verdict;
  if (right || wrong) tell(part("ask-says"), say("ask.counts", { right, wrong }));
  return known;
}

/** Who has seen it, and who looks into it. */
function seen() {
  const { ack } = known;
  if (!ack) return "";
  const by = ack.by ? say("alert.acknowledged_by", { by: ack.by }) : say("alert.acknowledged");
  return ack.assigned ? [by, say("act.assigned", { name: ack.assigned })].join(say("step.and")) : by;
}

function step(one) {
  const line = make("span", {}, one.link ? make("a", { href: `/alerts/${encodeURIComponent(one.link)}` }, foreign(one.says)) : foreign(one.says));
  if (one.until) line.append(" ", stamp(one.until));
  if (one.who) line.append(" ", make("span", { class: "soft" }, say("alert.by", { who: one.who })));
  if (one.text) line.append(make("bdi", { class: "words" }, one.text));
  return make("li", {}, stamp(one.at), make("span", { class: "mark", "data-state": one.state, "aria-hidden": "true" }), line);
}

function silenced(one) {
  const line = make("li", {}, `${say("act.silenced")} `, stamp(one.until));
  if (one.by) line.append(" ", make("span", { class: "soft" }, say("alert.by", { who: one.by })));
  if (one.reason) line.append(make("span", { class: "soft" }, say("step.and"), foreign(one.reason)));
  if (!mayAct) return line;
  const end = make("button", { type: "button", class: "link" }, say("act.end_silence"));
  end.addEventListener("click", () =>
    doing(end, says, async () => {
      await send("DELETE", `/api/v1/silences/${encodeURIComponent(one.id)}`);
      await refresh();
      part("silence").focus();
      return say("act.silence_ended");
    }),
  );
  line.append(" ", end);
  return line;
}

let waiting = 0;
function hear(event, data) {
  if (event === "tick" && status.health(data)) live.restart();
  if (event !== "alert" || data.episode !== episode) return;
  waiting ||= setTimeout(() => {
    waiting = 0;
    refresh().catch(() => {});
  }, 200);
}

async function snapshot() {
  status.health(await read("/api/v1/health"));
  return (await refresh()).cursor;
}

const live = new Live({ topics: () => ["alerts"], snapshot, hear, state: (state) => status.connection(state) });

// -- what people do ------------------------------------------------------------------------------------------------

const named = part("your-name")?.querySelector("input");
const kept = (value) => {
  try {
    return value === undefined ? (localStorage.getItem("name") ?? "") : localStorage.setItem("name", value);
  } catch {
    return "";
  }
};
if (named) {
  named.value = kept();
  named.addEventListener("change", () => kept(named.value.trim()));
}
const by = () => named?.value.trim() ?? "";

/** What was written is known to this process within a second; the stream shows it to the others. */
async function until(holds) {
  for (let tries = 0; tries < 20; tries += 1) {
    if (holds(await refresh())) return seen();
    await new Promise((done) => setTimeout(done, 500));
  }
  return say("act.waiting");
}

async function taken(more = {}) {
  const made = await acknowledge(episode, { by: by(), ...more });
  return until((now) => now.ack && now.ack.at >= made.at);
}

const feedback = (body) => send("POST", "/api/v1/feedback", { by: by(), ...body });

/** A dialog of the page: `prepare` fills its form, `work` does what it asks for, and its failure is said in it. */
function dialogue(id, prepare, work) {
  const dialog = part(id);
  const form = dialog.querySelector("form");
  const place = form.querySelector(".said");
  form.querySelector("[data-close]").addEventListener("click", () => dialog.close());
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (await doing(event.submitter ?? form.querySelector(".act"), place, () => work(form))) dialog.close();
  });
  return (given) => {
    form.reset();
    tell(place, "");
    prepare?.(form, given);
    dialog.showModal();
  };
}

const assign = dialogue(
  "assign-dialog",
  (form) => (form.elements.assigned.value = known?.ack?.assigned || by()),
  (form) => taken({ assigned: form.elements.assigned.value.trim(), note: form.elements.note.value.trim() }),
);

const silence = dialogue("silence-dialog", null, async (form) => {
  const { span, reason } = form.elements;
  const time = span.value === "tomorrow" ? { until: tomorrow() } : { for: span.value };
  await send("POST", "/api/v1/silences", { subjects: [subject], reason: reason.value.trim(), by: by(), ...time });
  await refresh();
});

function tomorrow() {
  const at = new Date();
  at.setDate(at.getDate() + 1);
  at.setHours(8, 0, 0, 0);
  return at.toISOString();
}

let judged = null;
const judge = dialogue(
  "label-dialog",
  (form, paper) => {
    judged = paper;
    put(part("label-text"), (paper.querySelector("mark") ?? paper.querySelector(".quote, h3"))?.textContent ?? "");
    const companies = [...paper.querySelectorAll("[data-company]")].map((one) => new Option(one.dataset.name, one.dataset.company));
    form.elements.company.replaceChildren(...companies, new Option(say("label.whole"), ""));
  },
  async (form) => {
    const { company, label } = form.elements;
    await feedback({ kind: "wrong_label", episode, document: judged.dataset.document, company: company.value, label: label.value });
    const name = company.selectedOptions[0].textContent;
    tell(judged.querySelector(".votes"), say("label.kept", { label: word("polarity", label.value), name }));
    await refresh();
  },
);

const comment = part("comment");
comment.addEventListener("submit", (event) => {
  event.preventDefault();
  const { text } = comment.elements;
  doing(event.submitter ?? comment.querySelector("button"), part("comment-says"), async () => {
    await feedback({ kind: "comment", episode, text: text.value });
    text.value = "";
    await refresh();
    return say("act.sent");
  });
});

for (const button of document.querySelectorAll("[data-verdict]")) {
  button.addEventListener("click", () =>
    doing(button, part("ask-says"), async () => {
      await feedback({ kind: button.dataset.verdict, episode });
      for (const one of document.querySelectorAll("[data-verdict]")) one.setAttribute("aria-pressed", one === button);
      await refresh();
      const { right, not_a_surge: wrong } = known.verdict;
      return `${say("ask.kept")} ${say("ask.counts", { right, wrong })}`;
    }),
  );
}

const see = () => {
  const button = part("acknowledge");
  if (!button.hidden && !button.disabled) doing(button, says, () => taken());
};
const talk = () => {
  comment.scrollIntoView({ block: "center" });
  comment.elements.text.focus({ preventScroll: true });
};

if (mayAct) {
  for (const id of ["assign", "silence", "to-comment", "comment", "ask", "your-name"]) part(id)?.removeAttribute("hidden");
  for (const button of document.querySelectorAll(".wrong-label")) {
    button.hidden = false;
    button.addEventListener("click", () => judge(button.closest("li")));
  }
  part("acknowledge").hidden = alert.dataset.acknowledged === "yes";
  part("acknowledge").addEventListener("click", see);
  part("assign").addEventListener("click", () => assign());
  part("silence").addEventListener("click", () => silence());
  part("to-comment").addEventListener("click", talk);
  part("unacknowledge").addEventListener("click", () =>
    doing(part("unacknowledge"), says, async () => {
      await send("DELETE", `${address}/ack`);
      const says = await until((now) => !now.ack);
      part("acknowledge").focus();
      return says;
    }),
  );
  shortcut("a", see);
  shortcut("s", silence);
  shortcut("c", talk);
}
