/** One command of the proof of secrets, and how it is to end. */
export interface SecretCase {
  readonly name: string;
  readonly args: readonly string[];
  readonly exit: number;
  readonly env?: Readonly<Record<string, string>>;
  /** Standard output is where the rows are meant to be. */
  readonly printsRows?: true;
  /** Sent when the spool holds a page. */
  readonly signal?: NodeJS.Signals;
  readonly before?: () => void;
  readonly after?: () => void;
  /** One of the few that stand for all where time is short. */
  readonly isFew?: true;
}
