/** What both readers must judge alike where JSON, the curve or zstd leave room for two opinions. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { verifyExport } from "../../src/readback/verify.ts";
import { forgeManifest, type Forgery } from "../fixtures/forge.ts";
import {
  makeExport,
  ndjsonPages,
  type MakeOptions,
  type PlainPage,
} from "../fixtures/make-export.ts";
import { useFolder } from "../fixtures/pipelines.ts";
import { needTools } from "../fixtures/stock-tools.ts";

const reader = join(import.meta.dirname, "../../examples/read-export.py");

interface Corner {
  readonly forge?: Forgery;
  readonly pages?: readonly PlainPage[];
  readonly options?: Partial<MakeOptions>;
  readonly isRight: boolean;
}

const json = (content: string, records: number): Partial<Corner> => ({
  pages: [{ content, records }],
  options: { extension: "json" },
});
const proof = (told: Record<string, unknown>): Forgery => ({
  head: (head) => ({ ...head, consistency: { class: "stream", proof: told } }) as never,
});
const rejected = (told: Record<string, number>): Forgery => ({ tail: () => ({ rejected: told }) });

const corners: Record<string, Corner> = {
  "a reason called as JavaScript's constructor": {
    forge: rejected({ constructor: 1 }),
    isRight: true,
  },
  "a fact called as JavaScript's prototype": { forge: proof({ prototype: "x" }), isRight: true },
  "a fact called __proto__": {
    forge: { text: (text) => text.replace('"proof":{', '"proof":{"__proto__":1') },
    isRight: false,
  },
  "a fact that is half a number": { forge: proof({ half: 0.5 }), isRight: false },
  "a fact of 1 - 2^53": { forge: proof({ bytes: -(2 ** 53 - 1) }), isRight: true },
  "a fact of 2^60, of which JSON says but the first digits": {
    forge: proof({ nanos: 2 ** 60 }),
    isRight: true,
  },
  "a fact that no double is": {
    forge: { text: (text) => text.replace('"proof":{', '"proof":{"n":9007199254740993,') },
    isRight: false,
  },
  "a fact with an exponent": { forge: proof({ large: 1e21 }), isRight: false },
  "no facts but a list": { forge: proof([] as never), isRight: false },
  "an object in an array of its own": { ...json('[\n[{"id":1}]\n]\n', 1), isRight: false },
  "an array for a record": { ...json("[\n[]\n]\n", 1), isRight: false },
  "an array beside the records": { ...json('[\n[1],\n{"id":1}\n]\n', 1), isRight: true },
};

describe("both readers judge alike", () => {
  const scratch = useFolder();
  const { privateKey } = generateKeyPairSync("ed25519");
  before(function () {
    needTools(this, "python3", "zstd", "openssl");
  });

  /** What each says of an export that lies there: whether it is right. */
  async function judge(folder: string): Promise<[ours: boolean, theirs: boolean]> {
    const { status } = spawnSync("python3", [reader, "verify", folder]);
    const { ok } = await verifyExport(folder, { level: "full" });
    return [ok, status === 0];
  }

  for (const [name, { forge, pages, options, isRight }] of Object.entries(corners)) {
    it(name, async () => {
      const made = await makeExport(scratch.next(), pages ?? ndjsonPages(3, 1), {
        key: privateKey,
        ...options,
      });
      if (forge) await forgeManifest(made.folder, privateKey, forge);
      assert.deepEqual(await judge(made.folder), [isRight, isRight]);
    });
  }

  for (const [log, isRight] of [
    [27, true],
    [28, false],
  ] as const) {
    it(`a zstd window of 2^${log} bytes, though the page is small`, async () => {
      const made = await makeExport(scratch.next(), ndjsonPages(3, 3), { key: privateKey });
      const path = join(made.folder, made.names[0]!);
      const page = await readFile(path);
      const frame = 8 + page.readUInt32LE(4);
      // The frame is one segment with its size in a byte; the same is said with a window, and its size in four.
      assert.equal(page[frame + 4], 0b0010_0100);
      const header = Buffer.of(0b1000_0100, (log - 10) << 3, page[frame + 5]!, 0, 0, 0);
      const parts = [page.subarray(0, frame + 4), header, page.subarray(frame + 6)];
      await writeFile(path, Buffer.concat(parts));
      await forgeManifest(made.folder, privateKey);
      assert.deepEqual(await judge(made.folder), [isRight, isRight]);
    });
  }

  it("a signer spelled in another base64 than the one there is", async () => {
    const made = await makeExport(scratch.next(), ndjsonPages(3, 1), { key: privateKey });
    const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const last = made.signer.at(-2)!;
    const other = `${made.signer.slice(0, -2)}${digits[digits.indexOf(last) + 1]}=`;
    const text = (manifest: string) => manifest.replace(made.signer, other);
    await forgeManifest(made.folder, privateKey, { text });
    assert.deepEqual(await judge(made.folder), [false, false]);
  });

  it("a signer whose key is of small order, by which one signature fits many manifests", async () => {
    const made = await makeExport(scratch.next(), ndjsonPages(3, 1), { key: privateKey });
    const point = Buffer.alloc(32);
    point[0] = 1;
    const path = join(made.folder, "manifest.json");
    const text = await readFile(path, "utf8");
    await writeFile(path, text.replace(made.signer, `ed25519:${point.toString("base64")}`));
    await writeFile(`${path}.sig`, Buffer.concat([point, Buffer.alloc(32)]));
    assert.deepEqual(await judge(made.folder), [false, false]);
  });
});
