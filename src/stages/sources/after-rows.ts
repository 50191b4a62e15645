/** How far a query had come, for the sentence that says how it ended: ` after 7 rows`; nothing where no rows were flowing. */
export const afterRows = (rows: number | undefined): string =>
  rows === undefined ? "" : ` after ${rows} ${rows === 1 ? "row" : "rows"}`;
