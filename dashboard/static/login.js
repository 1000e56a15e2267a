// The login works without this: it shows what was typed, takes blanks off a pasted token, and lets the button rest while it asks.

const field = document.getElementById("token");
const show = document.getElementById("show");
const words = [show.textContent, show.dataset.hide];

show.hidden = false;
show.addEventListener("click", () => {
  const hidden = field.type === "password";
  field.type = hidden ? "text" : "password";
  show.textContent = words[hidden ? 1 : 0];
  show.setAttribute("aria-pressed", String(hidden));
  field.focus();
});
field.form.addEventListener("submit", () => {
  field.value = field.value.trim();
  field.type = "password"; // so that no browser keeps it among the words of a text field
  field.form.querySelector("[type=submit]").disabled = true;
});
// Back from the page behind the login: the button works again.
addEventListener("pageshow", () => (field.form.querySelector("[type=submit]").disabled = false));
