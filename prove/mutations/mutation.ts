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

/** What came of one. */
export interface Planted {
  readonly mutation: Mutation;
  /** The first test that failed; undefined for a survivor. */
  readonly caught: string | undefined;
}
