/** What a page is, apart from its bytes. */

/** Whether a page holds whole records or a fragment of one that is larger than a page. */
export type Span = "whole" | "first" | "middle" | "last";

/** The same whatever process makes the page again from the same rows. */
export interface PageIdentity {
  /** Counts from 0. */
  readonly page: number;
  /** Records that end in this page. */
  readonly records: number;
  /** Records that end in this page or before. */
  readonly total: number;
  readonly span: Span;
  /** Bytes of serialized records in the page. */
  readonly bytes: number;
  /** Hex; SHA-256(previous page's chain ‖ SHA-256(this page's bytes)); the first page's previous is 32 zero bytes. */
  readonly chain: string;
  /** True on the last page of the run. */
  readonly final: boolean;
}

/** What the frame carries beside the records, so that a page proves its place alone. */
export interface FrameIdentity extends PageIdentity {
  readonly run: string;
}
