// Columns for a stepped line: a value holds for the whole of its step, up to where the next begins or a hole does.

/** [seconds, ...columns] for uPlot. Before a hole, and at the end, the last value is set once more where its step ends; a null stays a hole. */
export function stepped(t0, step, ...columns) {
  const length = columns[0].length;
  const made = [[], ...columns.map(() => [])];
  for (let place = 0; place < length; place += 1) {
    const at = t0 / 1000 + place * step;
    made[0].push(at);
    columns.forEach((column, index) => made[index + 1].push(column[place]));
    const ends = place + 1 === length;
    if (!ends && !columns.some((column) => column[place] !== null && column[place + 1] === null)) continue;
    made[0].push(at + step - (ends ? 0 : 0.001));
    columns.forEach((column, index) => made[index + 1].push(column[place]));
  }
  return made;
}

export const newest = (values) => values.findLastIndex((value) => value !== null);
export const sum = (values) => values.reduce((total, value) => total + (value ?? 0), 0);
