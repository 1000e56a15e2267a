// The list stays as it is while somebody reads it; when an alert changes, it says so and offers the newest.
import { Live } from "./live.js";
import { read } from "./requests.js";
import { Status } from "./status.js";

const status = new Status();

async function snapshot() {
  const health = await read("/api/v1/health");
  status.health(health);
  return health.cursor;
}

function hear(event, data) {
  if (event === "tick" && status.health(data)) live.restart();
  if (event === "alert") document.getElementById("news").hidden = false;
}

const live = new Live({ topics: () => ["alerts"], snapshot, hear, state: (state) => status.connection(state) });
