// What a script adds to the evidence page: the acknowledge button. All else is there without it.
import { acknowledge, read } from "./live.js";
import { put, say } from "./words.js";

const alert = document.getElementById("alert");
const button = document.getElementById("acknowledge");
const says = document.getElementById("acknowledged");
const episode = alert.dataset.episode;

button.hidden = alert.dataset.acknowledged === "yes";
button.addEventListener("click", see);
document.addEventListener("keydown", (event) => {
  if (event.key === "a" && !event.altKey && !event.ctrlKey && !event.metaKey && !button.hidden) see();
});

async function see() {
  if (button.disabled) return;
  button.disabled = true;
  put(says, say("inbox.pending"));
  try {
    await acknowledge(episode);
    for (let tries = 0; tries < 20; tries += 1) {
      await new Promise((done) => setTimeout(done, 500));
      const { ack } = await read(`/api/v1/alerts/${encodeURIComponent(episode)}`);
      if (!ack) continue;
      button.hidden = true;
      put(says, ack.by ? say("alert.acknowledged_by", { by: ack.by }) : say("alert.acknowledged"));
      return;
    }
  } catch (error) {
    button.disabled = false;
    put(says, say("inbox.ack_failed", { why: error.message }));
  }
}
