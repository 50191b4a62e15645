/**
 * What every destination promises, as one suite: a destination's own test calls it and adds only what is special.
 */
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { readdir } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import type { Destination, StoredObject } from "../../src/stages/destinations/destination.ts";
import { type ErrorCode, PipelineError } from "../../src/errors.ts";
import { gather } from "../../src/stages/durable-file.ts";

const never = new AbortController().signal;

/** An object of the given bytes, its digest made here. */
export function objectOf(name: string, content: string | Uint8Array) {
  const bytes = typeof content === "string" ? Buffer.from(content) : content;
  return { name, bytes, sha256: createHash("sha256").update(bytes).digest() };
}

/** The same object as somebody gives it who does not hold it: in pieces that lie in the same memory, one after another. */
function streamed(
  { bytes, ...object }: ReturnType<typeof objectOf>,
  pieceBytes: number,
): StoredObject {
  return {
    ...object,
    bytes: {
      length: bytes.length,
      async *read() {
        const piece = new Uint8Array(pieceBytes);
        for (let at = 0; at < bytes.length; at += pieceBytes) {
          piece.set(bytes.subarray(at, at + pieceBytes));
          await sleep(0);
          yield piece.subarray(0, bytes.length - at);
        }
      },
    },
  };
}

/** The same object as a damaged disk gives it: it ends in an error. */
function broken(object: StoredObject): StoredObject {
  const { length } = object.bytes;
  async function* read() {
    yield new Uint8Array(length / 2);
    await sleep(1);
    throw new PipelineError("integrity-failed", "the disk gave other bytes");
  }
  return { ...object, bytes: { length, read } };
}

/** A page as it lies uncompressed and unencrypted, a record a line. */
export const pageOfLines = (number: number, ...lines: readonly string[]): StoredObject =>
  objectOf(
    `p/r/${String(number).padStart(8, "0")}.ndjson`,
    lines.map((line) => `${line}\n`).join(""),
  );

export const pageOfRows = (number: number, ...rows: readonly object[]): StoredObject =>
  pageOfLines(number, ...rows.map((row) => JSON.stringify(row)));

export const readAll = (destination: Destination, name: string, signal = never): Promise<Buffer> =>
  gather(destination.get(name, signal));

export async function listAll(destination: Destination, folder = "", signal = never) {
  return Array.fromAsync(destination.list(folder, signal));
}

/** Expects a `PipelineError` with that code and gives it back. */
export async function expectError(code: ErrorCode, work: Promise<unknown>): Promise<PipelineError> {
  const error = await work.then(
    () => assert.fail(`expected ${code}, but it succeeded`),
    (error: unknown) => error,
  );
  assert.ok(error instanceof PipelineError, `expected ${code}, got ${String(error)}`);
  assert.equal(error.code, code, error.message);
  return error;
}

/**
 * A destination whose pages become rows, under the suite: there what the suite calls a page has another name, so that its
 * bytes are kept.
 */
export function withoutPages(destination: Destination): Destination {
  const there = (name: string) => name.replace(/(\d{8})\.ndjson$/, "$1-ndjson");
  return {
    ...destination,
    put: (object, signal) => destination.put({ ...object, name: there(object.name) }, signal),
    get: (name, signal) => destination.get(there(name), signal),
    async *list(folder, signal) {
      for await (const one of destination.list(folder, signal))
        yield { ...one, name: one.name.replace(/-ndjson$/, ".ndjson") };
    },
  };
}

/** Runs the suite; `open` gives a destination on the same fresh, empty place until `reset` is called. */
export function destinationContract(open: () => Promise<Destination>, reset: () => Promise<void>) {
  const using = async (work: (destination: Destination) => Promise<void>) => {
    const destination = await open();
    try {
      await work(destination);
    } finally {
      await destination.close();
    }
  };

  afterEach(reset);

  it("removes an object for ever, and minds none that is not there", () =>
    using(async (destination) => {
      if (!destination.remove) return;
      await destination.put(objectOf("p/r/00000000.ndjson", "first"), never);
      await destination.put(objectOf("p/r/00000001.ndjson", "second"), never);
      await destination.remove("p/r/00000000.ndjson", never);
      await expectError("not-found", readAll(destination, "p/r/00000000.ndjson"));
      await destination.remove("p/r/00000000.ndjson", never);
      assert.deepEqual(
        (await listAll(destination)).map(({ name }) => name),
        ["p/r/00000001.ndjson"],
      );
      await destination.remove("p/r/00000001.ndjson", never);
      assert.deepEqual(await listAll(destination), []);
      // The name is free again.
      await destination.put(objectOf("p/r/00000001.ndjson", "third"), never);
    }));

  it("gives back what was put, and lists it", () =>
    using(async (destination) => {
      await destination.put(objectOf("p/r/00000000.ndjson", "first"), never);
      assert.equal((await readAll(destination, "p/r/00000000.ndjson")).toString(), "first");
      assert.deepEqual(await listAll(destination), [{ name: "p/r/00000000.ndjson", bytes: 5 }]);
    }));

  it("shows objects to whoever opens it later", async () => {
    await using((destination) => destination.put(objectOf("p/r/one", "1"), never));
    await using(async (destination) => {
      assert.equal((await readAll(destination, "p/r/one")).toString(), "1");
      await destination.put(objectOf("p/r/two", "22"), never);
      assert.deepEqual(
        (await listAll(destination)).map(({ name }) => name),
        ["p/r/one", "p/r/two"],
      );
    });
  });

  it("takes the same object twice, also from another process", async () => {
    await using(async (destination) => {
      await destination.put(objectOf("p/r/same", "equal"), never);
      await destination.put(objectOf("p/r/same", "equal"), never);
    });
    await using(async (destination) => {
      await destination.put(objectOf("p/r/same", "equal"), never);
      assert.deepEqual(await listAll(destination), [{ name: "p/r/same", bytes: 5 }]);
    });
  });

  it("refuses other bytes under a taken name and keeps the first", () =>
    using(async (destination) => {
      await destination.put(objectOf("p/r/taken", "first"), never);
      for (const other of ["other", "longer than before", ""]) {
        await expectError("foreign-object", destination.put(objectOf("p/r/taken", other), never));
      }
      assert.equal((await readAll(destination, "p/r/taken")).toString(), "first");
    }));

  it("refuses names that lead elsewhere", () =>
    using(async (destination) => {
      const long = "x".repeat(256);
      for (const name of [
        "",
        "/a",
        "../a",
        "a/../b",
        "a//b",
        "a/.",
        "a\0b",
        "a/",
        long,
        "\ud800",
      ]) {
        await expectError("config-invalid", destination.put(objectOf(name, "x"), never));
        await expectError("config-invalid", readAll(destination, name));
      }
      await expectError("config-invalid", listAll(destination, "../.."));
      assert.deepEqual(await listAll(destination), []);
    }));

  it("keeps names with spaces, signs and letters of any script", () =>
    using(async (destination) => {
      const names = ["a b/+1%2F&=.x", "a b/<ü>'\"!*().x", "größe/日本語/🙂", "p/q?x#y~;,@:$"];
      for (const name of names) await destination.put(objectOf(name, name), never);
      assert.deepEqual(
        (await listAll(destination)).map(({ name }) => name),
        names,
      );
      for (const name of names) {
        assert.equal((await readAll(destination, name)).toString(), name);
        await destination.put(objectOf(name, name), never);
      }
    }));

  it("keeps an empty object", () =>
    using(async (destination) => {
      await destination.put(objectOf("p/r/empty", ""), never);
      assert.equal((await readAll(destination, "p/r/empty")).length, 0);
      assert.deepEqual(await listAll(destination), [{ name: "p/r/empty", bytes: 0 }]);
    }));

  it("keeps an object of 5 MiB that lies in shared memory", () =>
    using(async (destination) => {
      const bytes = new Uint8Array(new SharedArrayBuffer(5 * 2 ** 20 + 1));
      bytes.set(randomBytes(bytes.length));
      await destination.put(objectOf("p/r/large", bytes), never);
      assert.ok((await readAll(destination, "p/r/large")).equals(bytes));
    }));

  it("keeps an object that comes in pieces as it keeps a whole one", () =>
    using(async (destination) => {
      for (const length of [0, 1, 100_000, 2 ** 20 + 1]) {
        const object = objectOf(`p/r/pieces-${length}`, randomBytes(length));
        await destination.put(streamed(object, 65_536), never);
        assert.ok((await readAll(destination, object.name)).equals(object.bytes));
        await destination.put(object, never);
        await destination.put(streamed(object, 10_000), never);
      }
      const other = objectOf("p/r/pieces-100000", randomBytes(100_000));
      await expectError("foreign-object", destination.put(streamed(other, 65_536), never));
    }));

  it("keeps nothing of an object whose reading fails, and says why", () =>
    using(async (destination) => {
      const object = objectOf("p/r/unread", randomBytes(300_000));
      await expectError("integrity-failed", destination.put(broken(object), never));
      await expectError("not-found", readAll(destination, object.name));
      assert.deepEqual(await listAll(destination), []);
      await destination.put(object, never);
      assert.ok((await readAll(destination, object.name)).equals(object.bytes));
    }));

  it("takes puts side by side", () =>
    using(async (destination) => {
      const names = Array.from({ length: 24 }, (_, page) => `p/r${page % 3}/${page}.x`);
      await Promise.all(names.map((name) => destination.put(objectOf(name, name), never)));
      await Promise.all(
        names.map(async (name) =>
          assert.equal((await readAll(destination, name)).toString(), name),
        ),
      );
      assert.equal((await listAll(destination)).length, names.length);
    }));

  it("lets exactly one of two rivals have a name", () =>
    using(async (destination) => {
      const rivals = ["one", "two"].map((text) =>
        destination.put(objectOf("p/r/rival", text), never),
      );
      const results = await Promise.allSettled(rivals);
      assert.deepEqual(results.map(({ status }) => status).sort(), ["fulfilled", "rejected"]);
      const winner = results[0]?.status === "fulfilled" ? "one" : "two";
      assert.equal((await readAll(destination, "p/r/rival")).toString(), winner);
    }));

  it("says not-found for a name that is not there", () =>
    using(async (destination) => {
      await expectError("not-found", readAll(destination, "p/r/nothing"));
      await destination.put(objectOf("p/r/some", "x"), never);
      await expectError("not-found", readAll(destination, "p/r/nothing"));
      await expectError("not-found", readAll(destination, "p/r"));
    }));

  it("lists in name order, and only the folder that was asked for", () =>
    using(async (destination) => {
      const names = ["p/a.b", "p/a/1", "p/a/10", "p/a/2", "p/a0", "p/B", "q/1"];
      for (const name of names.toReversed()) await destination.put(objectOf(name, "x"), never);
      const listed = async (folder: string) =>
        (await listAll(destination, folder)).map(({ name }) => name);
      assert.deepEqual(await listed(""), [...names].sort());
      assert.deepEqual(await listed("p/a"), ["p/a/1", "p/a/10", "p/a/2"]);
      assert.deepEqual(await listed("p/a/"), ["p/a/1", "p/a/10", "p/a/2"]);
      assert.deepEqual(await listed("nowhere"), []);
    }));

  it("ends within a second of an abort, with the signal's reason", () =>
    using(async (destination) => {
      const bytes = randomBytes(5 * 2 ** 20);
      await destination.put(objectOf("p/r/there", bytes), never);
      const stop = new AbortController();
      const reason = new Error("stop now");
      const reading = destination.get("p/r/there", stop.signal)[Symbol.asyncIterator]();
      await reading.next();
      const writing = destination.put(objectOf("p/r/new", bytes), stop.signal);
      stop.abort(reason);
      const start = performance.now();
      const written = await writing.catch((error: unknown) => error);
      assert.ok(written === undefined || written === reason, String(written));
      const rest = (async () => {
        while (!(await reading.next()).done);
      })();
      await assert.rejects(rest, (error) => error === reason);
      await assert.rejects(listAll(destination, "", stop.signal), (error) => error === reason);
      const late = destination.put(objectOf("p/r/late", bytes), stop.signal);
      await assert.rejects(late, (error) => error === reason);
      assert.ok(performance.now() - start < 1000);
      await expectError("not-found", readAll(destination, "p/r/late"));
    }));

  it("leaves no descriptor open", async () => {
    await using((destination) => destination.put(objectOf("p/r/warm", "x"), never));
    const before = await descriptors();
    await using(async (destination) => {
      await destination.put(objectOf("p/r/x", randomBytes(2 ** 20)), never);
      await expectError("foreign-object", destination.put(objectOf("p/r/x", "y"), never));
      await expectError("not-found", readAll(destination, "p/r/y"));
      for await (const _ of destination.get("p/r/x", never)) break;
      for await (const _ of destination.list("", never)) break;
    });
    await settles(async () => (await descriptors()) <= before);
  });

  it("finishes and shows everything afterwards", async () => {
    await using(async (destination) => {
      await destination.put(objectOf("p/r/page", "page"), never);
      await destination.put(objectOf("p/r/manifest.json", "{}"), never);
      await destination.finish(never);
      await destination.finish(never);
      assert.equal((await readAll(destination, "p/r/page")).toString(), "page");
    });
    await using(async (destination) => {
      await destination.put(objectOf("p/r/manifest.json", "{}"), never);
      await destination.finish(never);
      assert.deepEqual(await listAll(destination, "p/r"), [
        { name: "p/r/manifest.json", bytes: 2 },
        { name: "p/r/page", bytes: 4 },
      ]);
    });
  });
}

async function descriptors(): Promise<number> {
  return (await readdir("/proc/self/fd")).length;
}

async function settles(holds: () => Promise<boolean>): Promise<void> {
  for (let attempt = 0; attempt < 40; attempt += 1) {
    if (await holds()) return;
    await sleep(25);
  }
  assert.fail("expected to settle within a second");
}
