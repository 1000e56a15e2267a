// What was refused: by reason with what to do, the newest, one with its bytes, and sending them again. Kafka is read for it, so this is
// read when the page opens, when more has been refused, and when somebody asks.
import { ask } from "./ask.js";
import { cell, coded } from "./coded.js";
import { doing, tell } from "./forms.js";
import { state } from "./poll.js";
import { read, send } from "./requests.js";
import { count, foreign, make, put, say, timeOf, word } from "./words.js";

const part = (id) => document.getElementById(id);
const PAGE = 8;
let refused = null;
let next = "";

const mended = (reason, remedy) => (word("mend", reason) === reason ? remedy : word("mend", reason));

addEventListener("refused", ({ detail }) => {
  if (refused !== null && detail > refused) show(true);
  refused = detail;
});
part("letters-read").addEventListener("click", (event) => doing(event.target, part("letters-said"), () => show(true)));
part("letters-all").addEventListener("click", () => {
  state.set({ reason: "" });
  show();
  part("letters-read").focus();
});
part("letters-more").addEventListener("click", (event) => doing(event.target, part("letters-said"), async () => {
  const body = await read(address(next));
  part("letters-list").append(...body.items.map(line));
  more(body);
}));
tell(part("letters-said"), say("form.doing"));
show().catch((error) => tell(part("letters-said"), say("letters.unread", { why: error.message }), "wrong"));
if (state.get("letter")) open(state.get("letter"));

function address(cursor = "", anew = false) {
  return `/api/v1/dead-letters?${new URLSearchParams({ reason: state.get("reason"), limit: PAGE, cursor, anew: anew ? 1 : 0 })}`;
}

async function show(anew = false) {
  const body = await read(address("", anew));
  tell(part("letters-said"), "");
  part("letters-read-so-far").replaceChildren(body.reasons.length ? coded(say("letters.looked_at", { count: count(body.read) })) : "");
  part("reasons").replaceChildren(...body.reasons.map(reason));
  part("letters-list").replaceChildren(...body.items.map(line));
  part("reasons-table").hidden = part("letters-newest").hidden = body.reasons.length === 0;
  part("letters-empty").hidden = body.reasons.length > 0;
  const chosen = state.get("reason");
  put(part("letters-chosen"), chosen ? say("letters.newest_of", { reason: word("letter", chosen) }) : say("letters.newest"));
  part("letters-all").hidden = !chosen;
  more(body);
}

function more(body) {
  next = body.next;
  part("letters-more").hidden = !next;
}

function reason(one) {
  const name = make("button", { type: "button", class: "link", id: `reason-${one.reason}` }, word("letter", one.reason));
  name.addEventListener("click", async () => {
    state.set({ reason: one.reason });
    await show();
    part("letters-chosen").scrollIntoView({ block: "nearest" });
  });
  const again = make("button", { type: "button", class: "quiet small", id: `again-${one.reason}`, disabled: one.waiting ? null : "" }, say("letters.send_again"));
  again.addEventListener("click", () => replay({ reason: one.reason }, say("letters.sure_reason", { count: one.waiting, reason: word("letter", one.reason) }), mended(one.reason, one.remedy), again.id));
  return make("tr", { role: "row" }, cell("", { class: "across" }, name, make("p", { class: "soft" }, coded(mended(one.reason, one.remedy)))), cell(say("letters.count"), { class: "figure" }, count(one.count)), cell(say("letters.waiting"), { class: "figure" }, count(one.waiting)), cell(say("letters.newest"), {}, timeOf(one.at)), cell("", { class: "figure across" }, again));
}

function line(one) {
  const open_ = make("button", { type: "button", class: "name", id: `letter-${one.place}` }, foreign(one.message || one.reason));
  open_.addEventListener("click", () => open(one.place, open_.id));
  return make("li", {},
    open_,
    make("p", { class: "meta" }, make("time", { datetime: new Date(one.at).toISOString() }, timeOf(one.at)), make("span", {}, word("letter", one.reason)), make("code", { translate: "no" }, foreign(one.place)), one.replayed_at ? make("span", {}, say("letters.sent_at", { time: timeOf(one.replayed_at) })) : null),
    one.beginning ? make("p", { class: "beginning", translate: "no" }, foreign(one.beginning)) : null,
  );
}

/** One with its bytes: as text where it is text, else as numbers. Nothing of it is ever more than text here. */
async function open(place, back = "letters-read") {
  state.set({ letter: place });
  const path = `/api/v1/dead-letters/${place.split("/").map(encodeURIComponent).join("/")}`;
  const said = make("p", { class: "said", role: "status" }, say("form.doing"));
  const close = make("button", { type: "button", class: "quiet" }, say("letters.close"));
  const again = make("button", { type: "button", class: "act" }, say("letters.send_again"));
  const inside = make("div", { class: "letter" });
  const dialog = make("dialog", { class: "wide-dialog", "aria-labelledby": "letter-title" }, make("h2", { id: "letter-title" }, say("letters.one")), inside, said, make("p", { class: "ends" }, close, again));
  close.addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => {
    dialog.remove();
    state.set({ letter: "" });
    document.getElementById(back)?.focus();
  });
  document.body.append(dialog);
  dialog.showModal();
  close.focus();
  again.hidden = true;
  try {
    const one = await read(path);
    const facts = [
      ["letters.reason", word("letter", one.reason)], ["letters.said", one.message], ["letters.mend", mended(one.reason, one.remedy)], ["letters.stage", one.stage], ["letters.place", one.place], ["letters.key", one.key || "–"],
      ["letters.sent", one.replayed_at ? say("letters.sent_at", { time: timeOf(one.replayed_at) }) : say("letters.not_sent")],
    ];
    inside.append(
      make("dl", { class: "facts" }, ...facts.map(([name, value]) => make("div", {}, make("dt", {}, say(name)), make("dd", {}, make("bdi", {}, name === "letters.mend" ? coded(value) : value))))),
      make("p", { class: "soft" }, say(one.cut ? "letters.bytes_cut" : "letters.bytes", { count: count(one.bytes) }), " ", make("a", { href: `${path}?raw=1`, download: "dead-letter.bin" }, say("letters.download"))),
      make("pre", { class: "command", translate: "no", tabindex: "0" }, foreign(one.text === null ? numbers(one.base64) : visible(one.text))),
    );
    tell(said, "");
    again.hidden = false;
    again.addEventListener("click", () => doing(again, said, async () => outcome(await send("POST", "/api/v1/dead-letters/replay", { places: [one.place], again: true }))));
  } catch (error) {
    tell(said, error.message, "wrong");
  }
}

/** Asks first: what is wrong must be mended before. */
function replay(body, question, remedy, back) {
  const fields = [{ name: "again", label: say("letters.again_too"), type: "checkbox" }];
  ask(question, `${remedy} ${say("letters.second")}`, fields, say("letters.send_again"), async (given) => {
    const said = outcome(await send("POST", "/api/v1/dead-letters/replay", { ...body, again: given.again }));
    await show(true);
    tell(part("letters-said"), said);
  }, back);
}

function outcome(done) {
  const not = done.not_sent.length ? ` ${say("letters.not", { count: done.not_sent.length, why: done.not_sent[0].why })}` : "";
  return say("letters.were_sent", { count: done.sent.length }) + not;
}

const MARKS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/g;
/** What hides in a text is shown as its number. */
const visible = (text) => text.replace(MARKS, (sign) => `⟨${sign.codePointAt(0).toString(16).padStart(4, "0")}⟩`);

/** Bytes that are no text: sixteen a line, the first kilobyte. */
function numbers(base64) {
  const raw = Uint8Array.from(atob(base64), (sign) => sign.charCodeAt(0)).slice(0, 1024);
  const lines = [];
  for (let at = 0; at < raw.length; at += 16) {
    const row = [...raw.slice(at, at + 16)];
    const hex = row.map((one) => one.toString(16).padStart(2, "0")).join(" ").padEnd(48);
    lines.push(`${at.toString(16).padStart(4, "0")}  ${hex} ${row.map((one) => (one >= 32 && one < 127 ? String.fromCharCode(one) : "·")).join("")}`);
  }
  return lines.join("\n");
}
