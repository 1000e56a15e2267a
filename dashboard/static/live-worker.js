// One stream for all tabs of this browser: HTTP/1.1 allows six connections a host, so a stream a tab would block the seventh.
// Tabs say {topics, since}; every frame goes to every tab as {event, data}, with {state} when the connection changes.

const tabs = new Map();
let source = null;
let open = "";
let seen = "";
let again = 0;

const tell = (message) => tabs.forEach((_, port) => port.postMessage(message));
const number = (cursor) => Number(cursor.slice(cursor.lastIndexOf("-") + 1));

function listen(since) {
  clearTimeout(again);
  source?.close();
  const topics = [...new Set([...tabs.values()].flat())].slice(-20).sort();
  open = topics.join(",");
  source = new EventSource(`/live?topics=${encodeURIComponent(open)}&since=${encodeURIComponent(since)}`);
  source.onopen = () => tell({ state: "open" });
  source.onerror = () => {
    tell({ state: "reconnecting" });
    // A refusal (503, a proxy's page) ends an EventSource for good: try again ourselves, not all at once.
    if (source.readyState === EventSource.CLOSED) again = setTimeout(() => listen(seen), 5000 + Math.random() * 10000);
  };
  for (const event of ["rows", "series", "alert", "tick", "reset"]) {
    source.addEventListener(event, (frame) => {
      seen = frame.lastEventId || seen;
      tell({ event, data: JSON.parse(frame.data) });
    });
  }
}

onconnect = ({ ports: [port] }) => {
  port.onmessage = ({ data }) => {
    if (data.bye) {
      tabs.delete(port);
      if (tabs.size === 0) {
        source?.close();
        source = null;
      }
      return;
    }
    tabs.set(port, data.topics);
    const covered = source && source.readyState === EventSource.OPEN && data.topics.every((topic) => open.split(",").includes(topic));
    // Frames repeat safely, so an older cursor than ours only means to hear some again; a newer one means nothing is missing.
    if (covered && seen.split("-")[0] === data.since.split("-")[0] && number(data.since) >= number(seen)) port.postMessage({ state: "open" });
    else listen(data.since);
  };
};
