/**
 * what    stores each durable page at the destination, and records durably that it is there
 * takes   durable · gives receipts
 * holds   pages read back from the spool: of those under way as many as fit two that do not compress
 * order   kept, though several are under way at once
 * ends    with its input
 * fails   destination-unreachable, destination-failed (spool kept, try again) · destination-refused · foreign-object
 */
import * as v from "valibot";
import { count, duration, secret, text } from "../atoms.ts";
import { mapOrdered } from "../map-ordered.ts";
import type { DurablePage } from "../nouns.ts";
import { defineStage, type StageContext } from "../stage.ts";
import type { DestinationOptions } from "../destinations/destination.ts";
import { sealedMost } from "./chunk.ts";
import { createUploadMemory, type UploadMemory } from "./upload-memory.ts";

/** Pages that are stored and wait for their acknowledgement at most. */
const acksAhead = 64;

const config = v.strictObject({
  to: v.pipe(
    text,
    v.description(
      "destination URL: `s3://bucket/prefix`, `azblob://account/container/prefix`, `https://host/folder/`, `sftp://user@host/folder`, `file:///folder` or a path, `tar:///file.tar`, `postgres://host/database`, `sqlite:path`",
    ),
  ),
  concurrency: v.pipe(
    v.optional(v.pipe(count(1), v.maxValue(64, "expected at most 64")), 4),
    v.description(
      "most pages uploaded at the same time; fewer where they do not compress, so that memory stays bounded",
    ),
    v.metadata({ unit: "pages" }),
  ),
  timeout: v.pipe(
    v.optional(duration, "60s"),
    v.description("how long one request may take before it is tried again"),
    v.metadata({ unit: "milliseconds" }),
  ),
  table: v.pipe(
    v.optional(text),
    v.description(
      "PostgreSQL and SQLite: the table that takes the rows; of PostgreSQL as SQL names it",
    ),
  ),
  key: v.pipe(
    v.optional(v.array(text, "expected a list of column names")),
    v.description(
      "PostgreSQL and SQLite: columns of a unique index; a row with the same key is replaced. Rows are appended when absent",
    ),
  ),
  endpoint: v.pipe(
    v.optional(text),
    v.description(
      "S3 and Azure: endpoint URL; AWS_ENDPOINT_URL or AZURE_STORAGE_SERVICE_ENDPOINT when absent, then the cloud itself",
    ),
  ),
  region: v.pipe(v.optional(text), v.description("S3: region; AWS_REGION when absent")),
  pathStyle: v.pipe(
    v.optional(v.boolean("expected true or false")),
    v.description("S3: `endpoint/bucket/key` addresses; true when an endpoint is given"),
  ),
  accessKeyId: v.pipe(v.optional(secret), v.description("S3: AWS_ACCESS_KEY_ID when absent")),
  secretAccessKey: v.pipe(
    v.optional(secret),
    v.description("S3: AWS_SECRET_ACCESS_KEY when absent; by reference only"),
  ),
  sessionToken: v.pipe(
    v.optional(secret),
    v.description("S3: AWS_SESSION_TOKEN when absent; by reference only"),
  ),
  accountKey: v.pipe(
    v.optional(secret),
    v.description("Azure: the account's key; AZURE_STORAGE_KEY when absent; by reference only"),
  ),
  sas: v.pipe(
    v.optional(secret),
    v.description(
      "Azure: a shared access signature in its place; AZURE_STORAGE_SAS_TOKEN when absent; by reference only",
    ),
  ),
  authorization: v.pipe(
    v.optional(secret),
    v.description(
      "https: value of the `Authorization` header, such as `Bearer …`; SPILLWAY_HTTPS_AUTHORIZATION when absent; by reference only",
    ),
  ),
  query: v.pipe(
    v.optional(secret),
    v.description(
      "https: query of every request, as presigned URLs have it; SPILLWAY_HTTPS_QUERY when absent; by reference only",
    ),
  ),
  hostKey: v.pipe(
    v.optional(text),
    v.description(
      "sftp: the server's key, as `ssh-keygen -l` shows it (`SHA256:…`); what `~/.ssh/known_hosts` holds when absent",
    ),
  ),
  privateKey: v.pipe(
    v.optional(secret),
    v.description(
      "sftp: a private key, such as `${file:~/.ssh/id_ed25519}`; SPILLWAY_SFTP_KEY when absent; by reference only",
    ),
  ),
  passphrase: v.pipe(
    v.optional(secret),
    v.description("sftp: of the private key, where it is locked; by reference only"),
  ),
  password: v.pipe(
    v.optional(secret),
    v.description("sftp: in place of a key; SPILLWAY_SFTP_PASSWORD when absent; by reference only"),
  ),
});

export type UploadConfig = v.InferOutput<typeof config>;

export const upload = defineStage({
  name: "upload",
  summary:
    "Stores each page at the destination with one checked PUT, and remembers durably that it is there.",
  config,
  shorthand: "to",
  takes: "durable",
  gives: "receipts",
  holds: ({ concurrency, to }, pageBytes) => memoryBytes(concurrency, pageBytes) + clientBytes(to),
  async *open({ concurrency: most }, ctx, input) {
    const { signal } = ctx;
    const concurrency = ctx.destination.sequential ? 1 : most;
    const memory = createUploadMemory();
    const stored = mapOrdered(input, { width: concurrency, signal }, (page, wanted) =>
      store(page, { ctx, memory, concurrency }, wanted),
    );
    // Uploads go on while acknowledgements wait for each other: these are grouped, and hold no bytes.
    yield* mapOrdered(stored, { width: acksAhead, signal }, (page) =>
      ctx.spool.acknowledge(page, signal),
    );
  },
});

/** Uploads that wait for the network need no more memory for being many: they share what two large ones take. */
const memoryBytes = (concurrency: number, pageBytes: number) =>
  Math.min(concurrency, 2) * sealedMost(pageBytes);

/**
 * What some destinations weigh more than S3: SSH is a library of its own, what web servers took is read back, and for
 * SQLite the values of a page are made here, while nothing else runs.
 */
const clientBytes = (to: string): number => {
  if (/^sqlite:/i.test(to)) return 12 * 2 ** 20;
  return /^(?:sftp|https?):/i.test(to) ? 5 * 2 ** 20 : 0;
};

interface Storing {
  readonly ctx: StageContext;
  readonly memory: UploadMemory;
  readonly concurrency: number;
}

async function store(
  page: DurablePage,
  { ctx, memory, concurrency }: Storing,
  signal: AbortSignal,
): Promise<DurablePage> {
  const room = await memory.take(page.sealedBytes, memoryBytes(concurrency, page.bytes), signal);
  await ctx.destination.put(
    {
      name: `${ctx.run.pipeline}/${ctx.run.id}/${page.name}`,
      bytes: await ctx.spool.read(page, room),
      sha256: page.sealedDigest,
      ...(page.traceparent !== undefined && { traceparent: page.traceparent }),
    },
    signal,
  );
  // After a failure somebody may still be sending from it: then it is not used again.
  memory.give(room);
  return page;
}

/** What of the upload's config the destination needs. */
export function destinationOptions(config: UploadConfig): DestinationOptions {
  const { timeout, table, key = [], endpoint } = config;
  const { region, pathStyle, accessKeyId, secretAccessKey, sessionToken } = config;
  const { accountKey, sas, authorization, query } = config;
  const { hostKey, privateKey, passphrase, password } = config;
  return {
    timeoutMillis: timeout,
    s3: given({ endpoint, region, pathStyle, accessKeyId, secretAccessKey, sessionToken }),
    azblob: given({ endpoint, accountKey, sas }),
    https: given({ authorization, query }),
    sftp: given({ hostKey, privateKey, passphrase, password }),
    ...(table !== undefined && { rows: { table, key } }),
  };
}

type Given<Fields> = { readonly [Name in keyof Fields]?: Exclude<Fields[Name], undefined> };

const given = <Fields extends object>(fields: Fields): Given<Fields> =>
  Object.fromEntries(
    Object.entries(fields).filter(([, value]) => value !== undefined),
  ) as Given<Fields>;
