// How a page talks to its server: JSON in, JSON out, and a refusal as an Error in the server's own words. All pages read and write by this.

/** Its JSON, null where it has none. Throws an Error with the problem's title and remedy. */
export async function answered(answer) {
  const body = await answer.json().catch(() => null);
  if (answer.ok) return body;
  throw new Error([body?.title ?? `${answer.status}`, body?.remedy].filter(Boolean).join(" "));
}

/** What lies at an address; `options` as fetch has them. When the session has ended, the page leads to the login. */
export async function read(address, options = {}) {
  const answer = await fetch(address, { headers: { Accept: "application/json" }, ...options });
  ended(answer);
  return answered(answer);
}

/** What a write is answered with. When the session has ended, this is said: the page stays, and with it what was written. */
export async function send(method, address, body = {}) {
  const headers = { "Content-Type": "application/json", Accept: "application/json" };
  return answered(await fetch(address, { method, headers, body: JSON.stringify(body) }));
}

/** Somebody has seen an episode; `more`: who, a note, who looks into it. Resolves once the broker has it. */
export const acknowledge = (episode, more = {}) => send("POST", `/api/v1/alerts/${encodeURIComponent(episode)}/ack`, more);

/** Leads to the login where an answer says that nobody is known. */
export function ended(answer) {
  if (answer.status === 401) location.assign(`/login?here=1&next=${encodeURIComponent(location.pathname + location.search)}`);
}
