// When a session has ended, a page that only reads leads to the login and back; one that writes says so, and keeps what was written.

/** Leads to the login where an answer says that nobody is known. */
export function ended(answer) {
  if (answer.status === 401) location.assign(`/login?here=1&next=${encodeURIComponent(location.pathname + location.search)}`);
}
