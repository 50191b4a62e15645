/**
 * What a CSV file looks like: one vocabulary for what is written, what is read, and what the manifest says.
 *
 * Names are those of PostgreSQL's COPY (DELIMITER, QUOTE, NULL, HEADER), with three that it lacks or spells otherwise:
 * `quoteAll` is FORCE_QUOTE *, `lineEnd` is the W3C's and Frictionless's lineTerminator. Without a word it is the CSV of COPY.
 */
import * as v from "valibot";

export interface CsvDialect {
  /** Between two fields; one byte. */
  readonly delimiter: string;
  /** Around fields that need it, and doubled inside; one byte. */
  readonly quote: string;
  /** Whether the first record names the columns. */
  readonly header: boolean;
  /** What stands for NULL, never in quotes; a text that is the same stands in quotes. */
  readonly null: string;
  readonly lineEnd: "lf" | "crlf";
  /** Whether every value that is not NULL stands in quotes. */
  readonly quoteAll: boolean;
  /** Whether the file begins with a UTF-8 byte order mark. */
  readonly bom: boolean;
}

/** As `COPY … (FORMAT csv, HEADER)` writes it. */
export const copyDialect: CsvDialect = {
  delimiter: ",",
  quote: '"',
  header: true,
  null: "",
  lineEnd: "lf",
  quoteAll: false,
  bom: false,
};

export const byteOrderMark = "\ufeff";

export const lineEndOf = ({ lineEnd }: CsvDialect): string => (lineEnd === "crlf" ? "\r\n" : "\n");

/** A character of a dialect, in a pattern. */
export const inPattern = (character: string): string =>
  `\\x${character.charCodeAt(0).toString(16).padStart(2, "0")}`;

/** Shorter than a UUID, which is the longest value that may have no digit. */
const longestNull = 32;

const oneCharacter = v.pipe(
  v.string("expected one character"),
  // Of a character beyond U+FFFF half could be said, and met in the middle of another one.
  v.regex(/^[^\0\r\n\ud800-\udfff]$/, "expected one character up to U+FFFF that is no line end"),
);

/** What readers and writers of CSV are told alike. */
export const csvFields = {
  delimiter: v.pipe(oneCharacter, v.description("the character between two fields")),
  quote: v.pipe(
    oneCharacter,
    v.description("the character around fields that need it, doubled where it stands inside one"),
  ),
  header: v.pipe(
    v.boolean("expected true or false"),
    v.description("whether the first record names the columns"),
  ),
  null: v.pipe(
    v.string(`expected a text, in quotes where YAML would not take it for one: "NULL"`),
    v.maxBytes(longestNull, `expected at most ${longestNull} bytes`),
    v.check(
      (text) => text.isWellFormed() && !/[\0\r\n]/.test(text),
      "expected a text without line ends",
    ),
    v.check((text) => text !== "\\.", "expected another text: `\\.` ends the data of COPY"),
    v.description("what stands for NULL, never in quotes; the same text in quotes is a text"),
  ),
};

/** Letters and digits would be quoted in every value; of others than ASCII a character is more than one byte. */
const writable = v.regex(
  /^[^A-Za-z0-9\u{80}-\u{10ffff}]$/u,
  "expected one ASCII character that is neither letter, digit nor line end",
);

/** What only writers are told. */
export const csvWriterFields = {
  ...csvFields,
  delimiter: v.pipe(csvFields.delimiter, writable),
  quote: v.pipe(csvFields.quote, writable),
  lineEnd: v.pipe(
    v.picklist(["lf", "crlf"], "expected lf or crlf"),
    v.description("what ends a record: `lf` (Unix) or `crlf` (RFC 4180, Windows)"),
  ),
  quoteAll: v.pipe(
    v.boolean("expected true or false"),
    v.description("whether every value that is not NULL stands in quotes"),
  ),
  bom: v.pipe(
    v.boolean("expected true or false"),
    v.description(
      "whether the file begins with a UTF-8 byte order mark, by which Excel knows UTF-8",
    ),
  ),
};

/** Left to be absent, so that one that is given with another format can be refused. */
const ofCsv = <Field extends v.GenericSchema>(field: Field, usual: string | boolean) =>
  v.pipe(
    v.optional(field),
    v.description(
      `\`csv\` alone: ${v.getDescription(field)}; ${usual === "" ? "nothing" : `\`${usual}\``} by default`,
    ),
  );

/** What a stage that also writes other formats is told of CSV. */
export const csvOptions = {
  delimiter: ofCsv(csvWriterFields.delimiter, copyDialect.delimiter),
  quote: ofCsv(csvWriterFields.quote, copyDialect.quote),
  header: ofCsv(csvWriterFields.header, copyDialect.header),
  null: ofCsv(csvWriterFields.null, copyDialect.null),
  lineEnd: ofCsv(csvWriterFields.lineEnd, copyDialect.lineEnd),
  quoteAll: ofCsv(csvWriterFields.quoteAll, copyDialect.quoteAll),
  bom: ofCsv(csvWriterFields.bom, copyDialect.bom),
};

/** As configured: what is not said is as COPY has it. */
export type CsvOptions = { readonly [Key in keyof CsvDialect]?: CsvDialect[Key] | undefined };

const keys = Object.keys(copyDialect) as (keyof CsvDialect)[];

export const dialectOf = (options: CsvOptions): CsvDialect =>
  Object.fromEntries(keys.map((key) => [key, options[key] ?? copyDialect[key]])) as never;

/** What has to be told of records: nothing where they are COPY's own. */
export function toldDialect(options: CsvOptions): CsvDialect | undefined {
  const dialect = dialectOf(options);
  return keys.every((key) => dialect[key] === copyDialect[key]) ? undefined : dialect;
}

interface Clash {
  readonly key: keyof CsvDialect;
  readonly message: string;
}

/** What does not go together; a reference that is not resolved yet clashes with nothing. */
function* findClashes(options: CsvOptions): Generator<Clash> {
  const { delimiter, quote, null: none } = dialectOf(options);
  if (delimiter === quote && delimiter.length === 1)
    yield {
      key: delimiter === copyDialect.delimiter ? "quote" : "delimiter",
      message: "expected two different characters as `delimiter` and `quote`",
    };
  if (delimiter.length === 1 && none.includes(delimiter))
    yield { key: "null", message: "expected a text without the `delimiter` in it" };
  if (quote.length === 1 && none.includes(quote))
    yield { key: "null", message: "expected a text without the `quote` in it" };
}

/** Refuses dialects whose files nobody could read back. */
export const refuseClashes = <Options extends CsvOptions>() =>
  v.rawCheck<Options>(({ dataset, addIssue }) => {
    if (!dataset.typed) return;
    for (const { key, message } of findClashes(dataset.value))
      addIssue(issueAt(dataset, key, message));
  });

/** Refuses what is said of CSV where another format is written. */
export const refuseUnlessCsv = <Options extends CsvOptions & { readonly format: string }>() =>
  v.rawCheck<Options>(({ dataset, addIssue }) => {
    if (!dataset.typed || dataset.value.format === "csv") return;
    for (const key of keys) {
      if (dataset.value[key] !== undefined)
        addIssue(issueAt(dataset, key, "goes with `format: csv` alone"));
    }
  });

/** An issue of one key, as `rawCheck` wants it. */
export const issueAt = ({ value }: { readonly value: object }, key: string, message: string) => {
  const input = value as Record<string, unknown>;
  const path = [
    { type: "object" as const, origin: "value" as const, input, key, value: input[key] },
  ] as [v.ObjectPathItem];
  return { message, path };
};
