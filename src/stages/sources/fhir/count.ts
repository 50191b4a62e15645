/** How many resources searches have, as their server counts them: `_summary=count`. */
import type { Search } from "./search.ts";
import { searchRequest } from "./search.ts";
import { fhirJson, type FhirServer } from "./server.ts";

export interface Counted {
  /** Undefined where the server does not say. */
  readonly total: number | undefined;
}

const mostCountBytes = 256 * 1024;
/** What is no parameter of the count, but of what comes with each page. */
const ofPages = /^_(count|sort|(rev)?include(:.*)?|summary|elements|total)$/;

export async function countSearches(
  server: FhirServer,
  searches: readonly Search[],
  post: boolean,
  signal: AbortSignal,
): Promise<Counted> {
  let total = 0;
  for (const search of searches) {
    const counted = await countSearch(server, search, post, signal);
    if (counted === undefined) return { total: undefined };
    total += counted;
  }
  return { total };
}

async function countSearch(
  server: FhirServer,
  search: Search,
  post: boolean,
  signal: AbortSignal,
): Promise<number | undefined> {
  // An operation has no count of its own.
  if (search.path.includes("$")) return undefined;
  const params = new URLSearchParams([...search.params].filter(([name]) => !ofPages.test(name)));
  params.set("_summary", "count");
  const asked = searchRequest(server.base, { ...search, params }, post);
  const { body } = await server.askJson({ ...asked, media: fhirJson }, mostCountBytes, signal);
  const { resourceType, total } = (body ?? {}) as { resourceType?: unknown; total?: unknown };
  const isCount = resourceType === "Bundle" && Number.isSafeInteger(total) && Number(total) >= 0;
  return isCount ? Number(total) : undefined;
}
