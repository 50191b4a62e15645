/** The name that was probably meant. */

const maxLength = 64;

/**
 * The candidate nearest to `name`: one it begins or that begins it, or at most two typing mistakes away
 * (insert, delete, replace, swap neighbours: the optimal string alignment distance), one for short names.
 */
export function suggest(name: string, candidates: Iterable<string>): string | undefined {
  if (name.length > maxLength) return undefined;
  const typed = name.toLowerCase();
  const allowed = typed.length >= 6 ? 2 : 1;
  let best: { candidate: string; distance: number } | undefined;
  for (const candidate of candidates) {
    const known = candidate.toLowerCase();
    const isPrefix = typed.length > 1 && known.startsWith(typed);
    const distance = isPrefix ? allowed : measureDistance(typed, known);
    if (distance <= allowed && distance < (best?.distance ?? Infinity))
      best = { candidate, distance };
  }
  return best?.candidate ?? longestStart(typed, candidates);
}

/** `; did you mean "size"?`, or nothing. */
export function suggestion(name: string, candidates: Iterable<string>): string {
  const found = suggest(name, candidates);
  return found === undefined ? "" : `; did you mean ${JSON.stringify(found)}?`;
}

/** `maxBytesPerPage` begins with `maxBytes`. */
function longestStart(typed: string, candidates: Iterable<string>): string | undefined {
  return [...candidates]
    .filter((candidate) => candidate.length >= 3 && typed.startsWith(candidate.toLowerCase()))
    .toSorted((a, b) => b.length - a.length)[0];
}

/** Typing mistakes between two short texts. */
function measureDistance(a: string, b: string): number {
  let before: number[] = [];
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const replaced = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      let least = Math.min(replaced, row[j]! + 1, next[j - 1]! + 1);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        least = Math.min(least, before[j - 2]! + 1);
      next.push(least);
    }
    before = row;
    row = next;
  }
  return row[b.length]!;
}
