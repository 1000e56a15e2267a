// The commands of the first steps, to be copied. On a plain-http name a browser has no clipboard: then the text is marked.
import { put } from "./words.js";

const says = document.getElementById("copied");

for (const button of document.querySelectorAll("[data-copy]")) {
  button.hidden = false;
  button.addEventListener("click", () => copy(button.previousElementSibling));
}

async function copy(command) {
  try {
    await navigator.clipboard.writeText(command.textContent);
    put(says, says.dataset.done);
  } catch {
    const marked = document.createRange();
    marked.selectNodeContents(command);
    getSelection().removeAllRanges();
    getSelection().addRange(marked);
    command.focus();
    put(says, says.dataset.marked);
  }
}
