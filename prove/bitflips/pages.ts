/**
 * Damage to one page where no digest of the manifest stands before it: encryption, or the frame and the identity in it,
 * must notice by themselves. What still opens must be the same page, to the last bit.
 */
import { isDeepStrictEqual } from "node:util";
import { PipelineError } from "../../src/errors.ts";
import type { PageEntry } from "../../src/pipeline/manifest.ts";
import { createPageCheck } from "../../src/readback/page-check.ts";
import { nextChain } from "../../src/stages/pages/chunk.ts";
import { openAge, sealAge } from "../../src/workers/age.ts";
import { encodeFrame, type Codec } from "../../src/workers/frame.ts";
import { openPage, type OpenHow } from "../../src/workers/open.ts";
import { hash } from "node:crypto";
import { createKey } from "../../test/fixtures/keys.ts";
import { sampleHead } from "../../test/fixtures/manifest.ts";
import { damagesOf, type Sample, type Tally } from "./damage.ts";

const content = Buffer.from(
  Array.from({ length: 12 }, (_, id) => `{"id":${id},"text":"row"}\n`).join(""),
);
const identity = {
  run: sampleHead.run,
  page: 0,
  records: 12,
  total: 12,
  span: "whole",
  bytes: content.length,
  chain: Buffer.from(nextChain(new Uint8Array(32), hash("sha256", content, "buffer"))).toString(
    "hex",
  ),
  final: true,
} as const;
const entry: PageEntry = { name: "00000000.ndjson", records: 12, bytes: 0, sha256: "" };
const tail = {
  totals: { pages: 1, records: 12, bytes: 0, plainBytes: content.length },
  rejected: {},
  resumedFrom: null,
};

/** Every combination of layers that says anything of itself. */
export async function provePages(sample: Sample): Promise<Tally> {
  const key = await createKey();
  const failures: string[] = [];
  let trials = 0;
  for (const compress of ["zstd", "gzip", "none"] satisfies Codec[]) {
    const frame = Buffer.from(encodeFrame(content, identity, compress, 1));
    const sealed = Buffer.from((await sealAge(frame, { to: [key.recipient] })).sealed);
    const identities = { identities: [key.identity] };
    const how = { compress, identities, maxBytes: 2 ** 20 };
    const layers: readonly [Buffer, OpenHow][] = [
      [sealed, { ...how, encrypt: "age" }],
      // Neither frame nor age: then the manifest's digest is all there is.
      ...(compress === "none" ? [] : [[frame, { ...how, encrypt: "none" }] as [Buffer, OpenHow]]),
    ];
    for (const [bytes, how] of layers) {
      if (!(await isSame(bytes, how)))
        failures.push(`${compress}, ${how.encrypt}: the page as it was made`);
      for (const { name, apply } of damagesOf(bytes.length, sample)) {
        trials += 1;
        const taken = await outcomeOf(Buffer.from(apply(bytes)), how);
        if (taken !== undefined) failures.push(`${compress}, ${how.encrypt}: ${name}: ${taken}`);
      }
    }
  }
  const tags = await proveTags();
  return { trials: trials + tags.trials, failures: [...failures, ...tags.failures] };
}

/** @returns what went unnoticed; undefined for a refusal, and for damage that changes nothing */
async function outcomeOf(bytes: Buffer, how: OpenHow): Promise<string | undefined> {
  try {
    return (await isSame(bytes, how)) ? undefined : "opens to something else";
  } catch (error) {
    if (!(error instanceof PipelineError)) return `an unexpected error: ${String(error)}`;
    return ["integrity-failed", "key-wrong"].includes(error.code) ? undefined : error.code;
  }
}

/** @throws PipelineError where the page, or what it says of itself, is refused */
async function isSame(bytes: Buffer, how: OpenHow): Promise<boolean> {
  const opened = await openPage(Uint8Array.from(bytes), how);
  const head = {
    ...sampleHead,
    layers: { ...sampleHead.layers, compress: how.compress, encrypt: how.encrypt },
  };
  const check = createPageCheck(head, tail);
  const [problem] = [...check.next(entry, opened), ...check.end()];
  if (problem !== undefined) throw new PipelineError("integrity-failed", problem);
  const right = how.compress === "none" ? undefined : identity;
  return Buffer.compare(opened.content, content) === 0 && isDeepStrictEqual(opened.identity, right);
}

/** An age file whose last tag is cut short, left out, or of another part. */
async function proveTags(): Promise<Tally> {
  const key = await createKey();
  const two = Buffer.from(
    (await sealAge(Buffer.alloc(100_000, 7), { to: [key.recipient] })).sealed,
  );
  const tagBytes = 16;
  const files: [string, Buffer][] = Array.from({ length: tagBytes }, (_, left) => [
    `a tag of ${left} bytes`,
    two.subarray(0, two.length - tagBytes + left),
  ]);
  const bodyAt = two.length - 100_000 - 2 * tagBytes;
  const first = two.subarray(bodyAt + 65_536, bodyAt + 65_536 + tagBytes);
  files.push(["the tag of another part", Buffer.concat([two.subarray(0, -tagBytes), first])]);
  files.push([
    "a tag of zeros",
    Buffer.concat([two.subarray(0, -tagBytes), Buffer.alloc(tagBytes)]),
  ]);
  const failures: string[] = [];
  for (const [name, file] of files) {
    const outcome = await openAge(Uint8Array.from(file), { identities: [key.identity] }).then(
      () => "opens",
      (error: { code: string }) => error.code,
    );
    if (outcome !== "integrity-failed") failures.push(`${name}: ${outcome}`);
  }
  return { trials: files.length, failures };
}
