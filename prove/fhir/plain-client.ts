/** What a FHIR server says of single resources when it is simply asked: the oracle for what searches and exports give. */
import { seededRandom } from "../seeded.ts";

export interface PlainClient {
  /** Stores a resource under its own id. */
  put(key: string, text: string): Promise<void>;
  /** A resource as the server writes it. */
  read(key: string): Promise<string>;
}

const media = "application/fhir+json";
const mostMillis = 60_000;

export function createPlainClient(base: string, token: string | undefined): PlainClient {
  const ask = async (method: string, key: string, body?: string): Promise<string> => {
    const answer = await fetch(`${base.replace(/\/$/, "")}/${key}`, {
      method,
      headers: {
        accept: media,
        ...(body !== undefined && { "content-type": media }),
        ...(token !== undefined && { authorization: `Bearer ${token}` }),
      },
      signal: AbortSignal.timeout(mostMillis),
      ...(body !== undefined && { body }),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${key}: the server answered ${answer.status}`);
    return text;
  };
  return {
    put: async (key, text) => void (await ask("PUT", key, text)),
    read: (key) => ask("GET", key),
  };
}

const names = ["Zoë", 'Grüße \\"quoted\\"', "日本語", "😀 and tab\\t", "back\\\\slash", "\\u00e9"];
const decimals = ["1.00", "0.10", "72", "-0.0001", "12345678901234567890.12345", "100"];

/** Patients and observations of them, by `type/id`: digits that a double would lose, letters that could be written otherwise. */
export function makeResources(count: number, seed: number): Map<string, string> {
  const random = seededRandom(seed);
  const pick = (some: readonly string[]) => some[Math.floor(random() * some.length)];
  const resources = new Map<string, string>();
  for (let at = 0; at < count; at += 1) {
    const isPatient = at % 5 === 0;
    const [type, id] = [isPatient ? "Patient" : "Observation", `spillway-proof-${at}`];
    const patient = `spillway-proof-${at - (at % 5)}`;
    const rest = isPatient
      ? `"active":true,"name":[{"family":"${pick(names)}"}]`
      : `"status":"final","code":{"text":"${pick(names)}"},"subject":{"reference":"Patient/${patient}"},` +
        `"valueQuantity":{"value":${pick(decimals)},"unit":"mm[Hg]"}`;
    resources.set(`${type}/${id}`, `{"resourceType":"${type}","id":"${id}",${rest}}`);
  }
  return resources;
}

/** A resource whatever order and spaces it is written in, each number as it is written, without what a server adds. */
export function meaningOf(text: string): string {
  const parsed = JSON.parse(text, (_key, part: unknown, context?: { source?: string }) =>
    typeof part === "number" ? { digits: context?.source } : part,
  ) as object;
  const own = Object.entries(parsed).filter(([name]) => name !== "meta" && name !== "text");
  return JSON.stringify(Object.fromEntries(own), (_key, part: unknown) => {
    if (typeof part !== "object" || part === null || Array.isArray(part)) return part;
    return Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)));
  });
}
