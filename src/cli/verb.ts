/** The contract of a verb: what its help says, and one function. Only `program.ts` knows how arguments are read. */
import type { PipelineError } from "../errors.ts";

export interface VerbOption {
  /** Short and long form and the value's name: `-i, --identity <file>`. */
  readonly flags: string;
  readonly description: string;
  readonly choices?: readonly string[];
  /** May be given several times; read with `texts`. */
  readonly repeats?: true;
  /** The value is a whole number from 0. */
  readonly counts?: true;
}

export interface Verb {
  readonly name: string;
  /** One sentence without a full stop, for the list of commands. */
  readonly summary: string;
  /** The positional argument, such as `<file>` or `[dir]`. */
  readonly argument?: readonly [form: string, description: string];
  readonly options?: readonly VerbOption[];
  /** Command lines for the help, the most usual one first. */
  readonly examples: readonly string[];
  /** What does not fit a list of options: variables it reads, notes on secrets. */
  readonly notes?: readonly string[];
  /**
   * Does the work. What it gives back is printed once, at the end.
   * @throws PipelineError, whose exit code becomes the command's
   */
  run(call: Call): Promise<Report>;
}

/** One call of a verb. Options are asked for by their long name. */
export interface Call {
  /** The positional argument; empty when it was optional and not given. */
  readonly argument: string;
  /** All of them, where the form is `<name...>`. */
  readonly operands: readonly string[];
  text(option: string): string | undefined;
  texts(option: string): readonly string[];
  flag(option: string): boolean;
  count(option: string): number | undefined;
  /** Standard output is for one JSON document. */
  readonly json: boolean;
  /** Nothing but data and errors is printed. */
  readonly quiet: boolean;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** What a verb has to say at its end. */
export interface Report {
  /** For `--json`; undefined when standard output already has what was asked for. */
  readonly document: unknown;
  /** For people; made only when it is printed. */
  readonly text: (paint: Paint) => string;
  /** True when the text is what was asked for, and not only a report on it: `--quiet` does not hide it. */
  readonly isData?: true;
  /** Why the verb failed all the same, where it has more to say than an error can. */
  readonly failure?: PipelineError;
  /** Of a verb that did not fail; 0 when absent. */
  readonly exitCode?: number;
  /** True when work was left where it hangs: the process ends without waiting for it. */
  readonly leavesWork?: true;
}

/** Colours for one stream; they give the text back unchanged where colours are not wanted. */
export interface Paint {
  readonly width: number;
  bold(text: string): string;
  dim(text: string): string;
  red(text: string): string;
  green(text: string): string;
  yellow(text: string): string;
  cyan(text: string): string;
}

/** Standard output has been written to already. */
export const alreadyWritten: Report = { document: undefined, text: () => "" };
