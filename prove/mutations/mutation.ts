/** One planted bug. */
export interface Mutation {
  /** What the bug is, as one says it: `a flush does not sync the folder`. */
  readonly bug: string;
  readonly file: string;
  /** Stands in the file exactly once. */
  readonly find: string;
  readonly replace: string;
  /** What would come of it. */
  readonly why: string;
  /** Test files that must fail. */
  readonly caughtBy: readonly string[];
}
