/**
 * What an OperationOutcome says, without its texts: those may quote health data. Its codes are words of closed value
 * sets (http://hl7.org/fhir/R4/valueset-issue-type.html), so they may be told.
 */
import { parseJson } from "./parse-json.ts";

export interface Outcome {
  /** The worst of its issues. */
  readonly severity: "fatal" | "error" | "warning" | "information" | "success";
  /** For messages: `error: processing, timeout`. */
  readonly told: string;
}

/** The last one came with R5. */
const severities = ["fatal", "error", "warning", "information", "success"] as const;
const mostCodes = 3;

/** @param resource a parsed resource of any type; undefined when it is no OperationOutcome */
export function readOutcome(resource: unknown): Outcome | undefined {
  const { resourceType, issue } = (resource ?? {}) as { resourceType?: unknown; issue?: unknown };
  if (resourceType !== "OperationOutcome") return undefined;
  const issues = (Array.isArray(issue) ? issue : []) as { severity?: unknown; code?: unknown }[];
  const severity =
    severities.find((one) => issues.some((issue) => issue?.severity === one)) ?? "error";
  const codes = issues
    .filter((issue) => issue?.severity === severity)
    .map(({ code }) =>
      typeof code === "string" && /^[a-z-]{1,40}$/.test(code) ? code : "unknown",
    );
  const told = [...new Set(codes)].slice(0, mostCodes).join(", ");
  return { severity, told: `${severity}: ${told || "unknown"}` };
}

/** The same of a body that may be anything. */
export function parseOutcome(text: string): Outcome | undefined {
  return readOutcome(parseJson(text));
}
