import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { appendFile, mkdtemp, rename, rm, truncate, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { ErrorCode } from "../../../src/errors.ts";
import type { RowBatch } from "../../../src/stages/nouns.ts";
import { formatNanos, type Input, readInput } from "../../../src/stages/sources/input-file.ts";
import { collect, testContext } from "../../contract/stage-contract.ts";
import { refuses } from "../../fixtures/sources.ts";

const content = Buffer.alloc(1_000_000, "spillway");

/** One row a chunk: how many bytes it has. */
async function* measure({ bytes }: Input): AsyncGenerator<RowBatch> {
  for await (const chunk of bytes) {
    yield { shape: "documents", columns: [], rows: [{ bytes: chunk.length }], bytes: 100 };
  }
}

describe("an input file", () => {
  let folder: string;
  let path: string;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "spillway-input-"));
    path = join(folder, "in.bin");
    await writeFile(path, content);
  });
  afterEach(() => rm(folder, { recursive: true }));

  const read = (at = path) => readInput(at, "digest", testContext(), measure);

  /** Reads the first chunk, lets `change` happen to the file, and reads on. */
  async function readWhile(change: () => Promise<unknown>): Promise<void> {
    const rows = read();
    await rows.next();
    await change();
    await collect(rows);
  }

  it("ends with size, time and SHA-256 of what was read", async () => {
    await utimes(path, 1_700_000_000, 1_700_000_000.5);
    const end = (await collect(read())).at(-1)?.end;
    assert.deepEqual(end, {
      rows: 16,
      queryDigest: "digest",
      consistency: {
        class: "unchanged-file",
        proof: {
          size: content.length,
          mtime: "2023-11-14T22:13:20.500000000Z",
          sha256: createHash("sha256").update(content).digest("hex"),
        },
      },
    });
  });

  const changes: Record<string, [() => Promise<unknown>, RegExp]> = {
    "is appended to": [() => appendFile(path, "more"), /grew|written to/],
    "is cut short": [() => truncate(path, 500_000), /became shorter|written to/],
    "is written over in place": [() => writeFile(path, content, { flag: "r+" }), /written to/],
    "is removed": [() => rm(path), /written to|removed/],
    "is replaced by another": [
      async () => {
        await writeFile(`${path}.new`, content);
        await rename(`${path}.new`, path);
      },
      /written to|replaced/,
    ],
  };
  for (const [what, [change, message]] of Object.entries(changes)) {
    it(`fails when it ${what} while it is read`, () =>
      refuses(readWhile(change), message, "source-changed"));
  }

  it("blames the change and not what it did to the data", async () => {
    const rows = readInput(path, "digest", testContext(), async function* (input) {
      yield* measure(input);
      const { PipelineError } = await import("../../../src/errors.ts");
      throw new PipelineError("source-bad-data", "half a record");
    });
    await rows.next();
    await writeFile(path, content, { flag: "r+" });
    await refuses(collect(rows), /written to/, "source-changed");
  });

  it("is refused when it is missing, a folder, a FIFO nobody writes to, or not readable", async () => {
    const fifo = join(folder, "fifo");
    execFileSync("mkfifo", [fifo]);
    const cases: [string, ErrorCode][] = [
      [join(folder, "nope"), "input-missing"],
      [join(path, "below"), "input-missing"],
      [folder, "source-refused"],
      [fifo, "source-refused"],
      ["/dev/zero", "source-refused"],
    ];
    for (const [at, code] of cases) {
      await refuses(collect(read(at)), /expected|not a regular file|cannot be opened/, code);
    }
  });

  it("prints times in nanoseconds", () => {
    assert.equal(formatNanos(1_700_000_000_000_000_001n), "2023-11-14T22:13:20.000000001Z");
  });
});

describe("stdin as input", () => {
  const program = fileURLToPath(new URL("../../fixtures/read-stdin.ts", import.meta.url));

  async function pipe(input: string, ...args: string[]): Promise<string> {
    const child = spawn(process.execPath, [program, ...args], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    let output = "";
    child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
    child.stdin.on("error", () => {});
    child.stdin.write(input);
    if (args.length === 0) child.stdin.end();
    await once(child, "close");
    return output;
  }

  it("is a stream: what arrived is hashed, nothing more is claimed", async () => {
    const input = '{"a":1}\n{"a":2}\n';
    const end = JSON.parse(await pipe(input)) as Record<string, unknown>;
    assert.equal(end["rows"], 2);
    assert.deepEqual(end["consistency"], {
      class: "stream",
      proof: { size: input.length, sha256: createHash("sha256").update(input).digest("hex") },
    });
  });

  it("is left within a second of an abort though nobody closes it", async () => {
    const started = performance.now();
    assert.equal(await pipe('{"a":1}\n', "abort"), "stopped by the test");
    assert.ok(performance.now() - started < 5000);
  });
});
