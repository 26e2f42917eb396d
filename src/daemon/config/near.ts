/** Finds the known name that was probably meant by an unknown one. */

/** With more slips than these, it is another word. */
const MOST_SLIPS = 2;

export function nearest(name: string, known: readonly string[]): string | undefined {
  let best: string | undefined;
  let fewest = Math.min(MOST_SLIPS, Math.ceil(name.length / 3)) + 1;
  for (const candidate of known) {
    const distance = slips(squash(name), squash(candidate));
    if (distance < fewest) {
      best = candidate;
      fewest = distance;
    }
  }
  return best;
}

/** `flow_timeout`, `flow-timeout` and `flowtimeout` all mean flowTimeout. */
function squash(name: string): string {
  return name.replaceAll(/[-_]/g, '').toLowerCase();
}

/** How many characters to insert, delete, replace or swap with a neighbour (optimal string alignment). */
function slips(from: string, to: string): number {
  // Such a difference in length takes more slips already. This also bounds the table below.
  if (Math.abs(from.length - to.length) > MOST_SLIPS) return MOST_SLIPS + 1;
  const rows: number[][] = [Array.from({ length: to.length + 1 }, (_, j) => j)];
  for (let i = 1; i <= from.length; i++) {
    const row = [i];
    for (let j = 1; j <= to.length; j++) {
      const same = from[i - 1] === to[j - 1];
      row[j] = Math.min(rows[i - 1][j] + 1, row[j - 1] + 1, rows[i - 1][j - 1] + (same ? 0 : 1));
      const swapped = i > 1 && j > 1 && from[i - 1] === to[j - 2] && from[i - 2] === to[j - 1];
      if (swapped) row[j] = Math.min(row[j], rows[i - 2][j - 2] + 1);
    }
    rows.push(row);
  }
  return rows[from.length][to.length];
}
