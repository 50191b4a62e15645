/** Who takes part in `bench/fhir`, and in what. */
import type { Contender } from "./contest.ts";

export interface FhirContender extends Contender {
  /** How many resources the last run gave; absent where nobody looks at them. */
  readonly given?: () => number;
}

/** How resources are read. */
export interface Reading {
  readonly name: string;
  readonly mode: "search" | "bulk";
  readonly count: number;
}
