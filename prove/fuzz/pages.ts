/** Fuzzed: stored pages, their frames, and the files that hold keys. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { PipelineError } from "../../src/errors.ts";
import { identityToRecipient, parseIdentityFile, sealAge } from "../../src/workers/age.ts";
import { decodeFrame, encodeFrame, type Codec } from "../../src/workers/frame.ts";
import { encodeGzip } from "../../src/workers/gzip.ts";
import type { FrameIdentity } from "../../src/workers/identity.ts";
import { openPage } from "../../src/workers/open.ts";
import { encodeZstd } from "../../src/workers/zstd.ts";
import { type Chance, mutate, wordsOf } from "./chance.ts";
import type { FuzzClass } from "./fuzz-class.ts";

const codecs: readonly Codec[] = ["zstd", "gzip", "none"];
const maxBytes = 2 ** 20;
const contents = ["", '{"id":1}\n', '{"note":"again and again"}\n'.repeat(200)].map((text) =>
  Buffer.from(text),
);

const identityOf = (content: Uint8Array): FrameIdentity => ({
  run: "20260102T030405678Z-1f2e3d4c",
  page: 3,
  records: 1,
  total: 4,
  span: "whole",
  bytes: content.length,
  chain: createHash("sha256").update(content).digest("hex"),
  final: false,
});

const identityWords = [
  ...'{}[],:"\\ '.split(""),
  ...wordsOf('"bytes":·"bytes":9007199254740991·"span":"last"·true·null·"__proto__":{}·\\u0000'),
  Buffer.from([0xff, 0xfe]),
  Buffer.from([0x53, 0x2a, 0x4d, 0x18]),
  Buffer.from([0x28, 0xb5, 0x2f, 0xfd]),
  Buffer.from([0x1f, 0x8b, 8, 4]),
  Buffer.alloc(16),
];

const isFrame = { whole: contents.flatMap(framesOf), words: identityWords };

function framesOf(content: Buffer): Buffer[] {
  return codecs.map((codec) => Buffer.from(encodeFrame(content, identityOf(content), codec, 1)));
}

/** A frame whose compression is in order, and whose identity is not. */
function frameOfOddIdentity(chance: Chance, codec: Codec): Buffer {
  const content = chance.pick(contents);
  const { run: _, ...rest } = identityOf(content);
  const json = JSON.stringify({ spillway: 1, run: "r", ...rest });
  const identity = mutate(chance, { whole: [Buffer.from(json)], words: identityWords });
  if (codec === "none") return content;
  const encode = codec === "zstd" ? encodeZstd : encodeGzip;
  return Buffer.from(encode(content, identity.subarray(0, 60_000), 1));
}

export function frames(): FuzzClass {
  return {
    seeds: isFrame,
    make: (chance) =>
      chance.once(3) ? frameOfOddIdentity(chance, chance.pick(["zstd", "gzip"])) : undefined,
    run(bytes, chance) {
      const guess = bytes[0] === 0x1f ? "gzip" : "zstd";
      const codec = chance.once(20) ? chance.pick(codecs) : guess;
      const { identity, content } = decodeFrame(bytes, codec, maxBytes);
      assert.ok(content.length <= maxBytes);
      if (identity) assert.equal(content.length, identity.bytes);
    },
  };
}

const ageWords = [
  ...wordsOf("age-encryption.org/v1\n·-> X25519 ·-> scrypt ·-> ·--- ·---·\n· ·=·-> a b c\n\n"),
  "A".repeat(64),
  "-> X25519 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n",
  " 16\n",
  " 99\n",
  "\0",
  ...wordsOf("-> scrypt AAAAAAAAAAAAAAAAAAAAAA 10\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n"),
];

const vectors = join(import.meta.dirname, "../..", "test/fixtures/format-1");
const key = readFileSync(join(vectors, "key.txt"), "latin1");
const identity = /AGE-SECRET-KEY-1\w+/.exec(key)![0];
const passphrase = "short";

/** Pages of the format's vectors: the same bytes at every replay. */
function storedPages(folder: string): Buffer[] {
  const names = readdirSync(join(vectors, folder)).filter((name) => name.endsWith(".age"));
  return names.map((name) => readFileSync(join(vectors, folder, name)));
}

const open = async (bytes: Uint8Array, compress: Codec) =>
  openPage(Uint8Array.from(bytes), {
    compress,
    encrypt: "age",
    identities: { identities: [identity], passphrase },
    maxBytes,
  });

/** Sealed pages: whatever is not what was sealed is refused. Half of the cases seal a frame that is out of order. */
export async function sealed(): Promise<FuzzClass> {
  const folders = ["zstd-age", "gzip-age", "none-age", "json-zstd-age", "empty-zstd-age"];
  const whole = folders.flatMap(storedPages);
  const known: Uint8Array[] = [];
  for (const page of whole) known.push((await open(page, "none")).content);
  const recipient = await identityToRecipient(identity);
  return {
    seeds: { whole, words: ageWords },
    async run(bytes, chance) {
      if (chance.once(2)) {
        const frame = chance.once(2) ? frameOfOddIdentity(chance, "zstd") : mutate(chance, isFrame);
        const { sealed } = await sealAge(frame, { to: [recipient] });
        await open(sealed, chance.pick(["zstd", "gzip"]));
        return;
      }
      // A page opens as one that was sealed, or not at all.
      const { content } = await open(bytes, "none").catch(refused);
      assert.ok(known.some((one) => Buffer.compare(one, content) === 0));
    },
  };
}

function refused(error: unknown): never {
  if (error instanceof PipelineError) assert.doesNotMatch(error.message, /AGE-SECRET|short/);
  throw error;
}

/** Files of identities, as people keep them; now and then with a passphrase, which takes its time. */
export async function identities(): Promise<FuzzClass> {
  const [encrypted] = storedPages("zstd-passphrase");
  const armor = encrypted!.toString("base64").replace(/.{64}/g, "$&\n");
  return {
    seeds: {
      whole: [
        Buffer.from(`# created\n# public key: age1\n${identity}\n`),
        encrypted!,
        Buffer.from(
          `-----BEGIN AGE ENCRYPTED FILE-----\n${armor}\n-----END AGE ENCRYPTED FILE-----\n`,
        ),
      ],
      words: [...ageWords, identity, "AGE-SECRET-KEY-PQ-1", "\r\n", "\ufeff"],
    },
    async run(bytes, chance) {
      const file = chance.once(2) ? bytes : bytes.toString("utf8");
      const keys = await parseIdentityFile(file, chance.once(300) ? passphrase : undefined);
      assert.ok(keys.length > 0);
    },
  };
}
