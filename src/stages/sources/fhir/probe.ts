/** The count of a `fhir` source, and what a look before its run finds: the server is asked, and no resource is read. */
import { PipelineError } from "../../../errors.ts";
import { doubt, fault, good, type Finding } from "../../finding.ts";
import type { SourceCount } from "../count.ts";
import type { FhirConfig } from "../fhir.ts";
import { countSearches } from "./count.ts";
import { parseSearch } from "./search.ts";
import { openServer, type ServerOptions } from "./server.ts";

/** @throws PipelineError `source-refused` where the server does not count */
export async function countFhir(
  config: Pick<FhirConfig, "search" | "post"> & ServerOptions,
  signal: AbortSignal,
): Promise<SourceCount> {
  const server = openServer(config);
  try {
    const searches = config.search.map((text, at) => parseSearch(text, `search ${at + 1}`));
    const { total } = await countSearches(server, searches, config.post, signal);
    if (total !== undefined) return { rows: total, exact: true };
    throw new PipelineError(
      "source-refused",
      "the server gives no total for `_summary=count`; only an export can tell how many there are",
    );
  } finally {
    server.close();
  }
}

/** Longest wait for one answer of a look. */
const lookMillis = 5000;

export async function* probeFhir(
  config: ServerOptions & Partial<FhirConfig>,
  signal: AbortSignal,
): AsyncGenerator<Finding> {
  const options = { ...config, timeout: Math.min(config.timeout, lookMillis) };
  const server = openServer(options);
  try {
    const url = new URL(`${server.base}/metadata`);
    (await server.ask({ url }, signal)).drop();
    yield good("server", "a FHIR server answers; the login works");
    const { search, post, totals } = config;
    if (search === undefined || post === undefined) return;
    if (totals === "none") {
      yield uncounted("`totals: none`: the server is not asked");
      return;
    }
    const { rows } = await countFhir({ ...options, search, post }, signal);
    yield good("search", `${rows} resources, as the server counts them`);
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof PipelineError)) throw error;
    const isUncounted = error.message.includes("_summary=count");
    yield isUncounted ? uncounted("the server gives no totals") : fault("server", error);
  } finally {
    server.close();
  }
}

const uncounted = (found: string): Finding =>
  doubt("search", found, "progress has no percentage, and nothing proves that none is missing");
