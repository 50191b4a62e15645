/**
 * Compiled, never run: well-wired pipelines compile, mis-wired ones do not. Each `@ts-expect-error` is a test; the
 * compiler complains where the line below it is right after all.
 */
import { Transform } from "node:stream";
import chain from "stream-chain";
import * as v from "valibot";
import {
  chunk,
  compress,
  defineStage,
  definePipeline,
  encrypt,
  filter,
  map,
  ndjson,
  postgres,
  postgresCopy,
  run,
  select,
  serialize,
  spool,
  upload,
  type Row,
  type RunSummary,
} from "../../src/index.ts";

const source = postgres({ url: "postgres://localhost/x", query: "select 1" });
const copied = postgresCopy({ url: "postgres://localhost/x", query: "select 1", format: "csv" });
const ser = serialize("ndjson");
const cut = chunk("1MiB");
const frame = compress("zstd");
const seal = encrypt("none");
const keep = spool("./spool");
const send = upload("./out");
const ends = [ser, cut, frame, seal, keep, send] as const;

/** A stage of one's own between any two others. */
const renamed = defineStage({
  name: "renamed",
  summary: "Passes rows on.",
  config: v.strictObject({ to: v.string() }),
  takes: "rows",
  gives: "rows",
  holds: () => 0,
  open: (_config, _ctx, input) => input,
});

const named = renamed({ to: "b" });
const double = (row: Row) => ({ ...row, twice: true });

// Well wired.
export const wellWired = [
  definePipeline({ name: "a", stages: [source, ...ends] }),
  definePipeline({ name: "a", memory: "64MiB", stages: [ndjson("in.ndjson"), ...ends] }),
  definePipeline({ name: "a", stages: [source, select(["a"]), ...ends] }),
  definePipeline({ name: "a", stages: [source, filter({ column: "a", not: null }), ...ends] }),
  definePipeline({ name: "a", stages: [source, map({ module: "./map.ts" }), ...ends] }),
  definePipeline({ name: "a", stages: [copied, cut, frame, seal, keep, send] }),
  definePipeline({ name: "a", stages: [source, named, ...ends] }),
  definePipeline({ name: "a", stages: [source, double, ...ends] }),
  definePipeline({ name: "a", stages: [source, async (row: Row) => row, ...ends] }),
  definePipeline({
    name: "a",
    stages: [
      source,
      function* (row: Row) {
        yield row;
      },
      new Transform({ objectMode: true }),
      chain([double]),
      ...ends,
    ],
  }),
];

// The result is typed.
export const summary: Promise<RunSummary> = run(wellWired[0]!, {});

// Mis-wired: nothing at all, no source, two sources, a row function before the source.
// @ts-expect-error there is no stage
definePipeline({ name: "a", stages: [] });
// @ts-expect-error the first stage must be a source
definePipeline({ name: "a", stages: [...ends] });
// @ts-expect-error a source can only be first
definePipeline({ name: "a", stages: [source, source, ...ends] });
// @ts-expect-error a function works on rows, which come from a source
definePipeline({ name: "a", stages: [double, source, ...ends] });

// Mis-wired: a stage is missing between two.
// @ts-expect-error serialize is missing
definePipeline({ name: "a", stages: [source, cut, frame, seal, keep, send] });
// @ts-expect-error chunk is missing
definePipeline({ name: "a", stages: [source, ser, frame, seal, keep, send] });
// @ts-expect-error compress is missing
definePipeline({ name: "a", stages: [source, ser, cut, seal, keep, send] });
// @ts-expect-error encrypt is missing: plaintext is never an accident
definePipeline({ name: "a", stages: [source, ser, cut, frame, keep, send] });
// @ts-expect-error spool is missing
definePipeline({ name: "a", stages: [source, ser, cut, frame, seal, send] });

// Mis-wired: the end is missing or is not the end.
// @ts-expect-error upload must be last
definePipeline({ name: "a", stages: [source, ser, cut, frame, seal, keep] });
// @ts-expect-error nothing comes behind upload
definePipeline({ name: "a", stages: [source, ...ends, double] });
// @ts-expect-error a copy gives records, which nothing serializes again
definePipeline({ name: "a", stages: [copied, ...ends] });
// @ts-expect-error a copy gives no rows to work on
definePipeline({ name: "a", stages: [copied, double, cut, frame, seal, keep, send] });
// @ts-expect-error rows are records already
definePipeline({ name: "a", stages: [source, ser, double, cut, frame, seal, keep, send] });
// @ts-expect-error a stage for rows does not take sealed pages
definePipeline({ name: "a", stages: [source, ser, cut, frame, seal, named, keep, send] });

// Wrong in itself.
// @ts-expect-error a pipeline has a name
definePipeline({ stages: [source, ...ends] });
// @ts-expect-error a number is no stage
definePipeline({ name: "a", stages: [source, 7, ...ends] });
// @ts-expect-error there is no such option
definePipeline({ name: "a", memroy: "64MiB", stages: [source, ...ends] });
// @ts-expect-error a stage's config is checked too
compress({ codec: "brotli" });
// @ts-expect-error COPY has three formats
postgresCopy({ url: "postgres://localhost/x", query: "select 1", format: "json" });
// @ts-expect-error there is no such key
chunk({ sise: "1MiB" });
