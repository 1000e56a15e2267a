// Times as a person writes them into a form, in the zone that the page tells times in: "2026-11-22T13:20" and back to milliseconds.
import { zoneName } from "./words.js";

const written = new Intl.DateTimeFormat("en-CA", { timeZone: zoneName, year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });

/** "2026-11-22T13:20" of a moment, for <input type="datetime-local">. */
export function wallTime(at) {
  const of = Object.fromEntries(written.formatToParts(at).map(({ type, value }) => [type, value]));
  return `${of.year.padStart(4, "0")}-${of.month}-${of.day}T${of.hour}:${of.minute}`;
}

/** The moment of a time in the zone, null where none is written. In the hour that a clock change repeats, one of the two. */
export function momentOf(wall) {
  const asUtc = Date.parse(`${wall}Z`);
  if (Number.isNaN(asUtc)) return null;
  let at = asUtc;
  // How far the zone is from UTC depends on the moment: the second round stands on the first one's.
  for (let round = 0; round < 2; round += 1) at = asUtc - (Date.parse(`${wallTime(at)}Z`) - Math.floor(at / 60000) * 60000);
  return at;
}
