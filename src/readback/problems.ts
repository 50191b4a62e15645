/** Problems found while verifying: by object, a bounded list, and the rest counted. */
import { PipelineError } from "../errors.ts";

export interface Problem {
  /** The object's name in the run's folder. */
  readonly object: string;
  readonly problem: string;
}

export interface Problems {
  readonly list: readonly Problem[];
  /** How many were found beyond the list. */
  readonly more: number;
  add(object: string, problem: string): void;
  /** Whether the list has a problem of the object already. */
  has(object: string): boolean;
  /** Runs `work` and turns damage and absence into a problem of `object`; any other error passes. */
  catching<Result>(object: string, work: () => Promise<Result>): Promise<Result | undefined>;
}

const mostProblems = 1000;

export function createProblems(): Problems {
  const list: Problem[] = [];
  const objects = new Set<string>();
  let more = 0;
  const add = (object: string, problem: string) => {
    if (list.length === mostProblems) {
      more += 1;
      return;
    }
    list.push({ object, problem });
    objects.add(object);
  };
  return {
    list,
    get more() {
      return more;
    },
    add,
    has: (object) => objects.has(object),
    async catching(object, work) {
      try {
        return await work();
      } catch (error) {
        if (!(error instanceof PipelineError)) throw error;
        if (error.code === "not-found") add(object, "is missing");
        else if (error.code === "integrity-failed") add(object, withoutName(error.message, object));
        else throw error;
        return undefined;
      }
    },
  };
}

/** Messages of single reads begin with the object's name, which the report already has. */
const withoutName = (message: string, object: string) =>
  message.startsWith(`${object} `) ? message.slice(object.length + 1) : message;
