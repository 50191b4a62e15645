import assert from "node:assert/strict";
import { createHash, generateKeyPairSync } from "node:crypto";
import {
  copyFile,
  mkdir,
  readFile,
  readdir,
  rename,
  rm,
  truncate,
  writeFile,
} from "node:fs/promises";
import { join } from "node:path";
import { commitRun, type CommitInit } from "../../src/pipeline/commit.ts";
import { publicText, readSignedManifest } from "../../src/pipeline/manifest-signature.ts";
import type { Plan } from "../../src/pipeline/plan-types.ts";
import { openRunFolder } from "../../src/pipeline/run-folder.ts";
import type { Destination, StoredObject } from "../../src/stages/destinations/destination.ts";
import { openDestination } from "../../src/stages/destinations/schemes.ts";
import { PipelineError } from "../../src/errors.ts";
import { wholeOf } from "../../src/stages/durable-file.ts";
import { openSpool } from "../../src/stages/pages/spool-store.ts";
import { realWorld, type Disk } from "../../src/stages/world.ts";
import { makeSealed, never } from "../fixtures/pages.ts";
import { useFolder } from "../fixtures/pipelines.ts";

const { privateKey } = generateKeyPairSync("ed25519");
const key = { privateKey, publicText: publicText(privateKey), publicPem: "", made: false };
const plan = { keepsRows: true, layers: { compress: "zstd", encrypt: "age" } } as Plan;

const object256 = ({ sha256 }: StoredObject) => Buffer.from(sha256).toString("hex");

describe("commit", () => {
  const folder = useFolder();

  /** A run whose pages are all acknowledged; what the destination is told is written down. */
  async function ready(
    pages = 3,
    change: Partial<Destination> = {},
    dir = folder.next(),
    out = folder.next(),
  ) {
    const real = await openDestination(out, { timeoutMillis: 5000 });
    const puts: string[] = [];
    const destination: Destination = {
      ...real,
      put: async (object, signal) => {
        puts.push(object.name.split("/").at(-1)!);
        await real.put(object, signal);
      },
      ...change,
    };
    const runFolder = await openRunFolder({
      dir,
      pipeline: "observations",
      configDigest: "c".repeat(64),
      meaning: "",
      destination: out,
      restart: false,
    });
    await mkdir(join(runFolder.path, "incoming"), { recursive: true });
    const spool = await openSpool({
      folder: runFolder.path,
      maxBytes: 1 << 30,
      fullTimeoutMillis: 1000,
      key: Buffer.from(runFolder.record.key, "hex"),
      bufferBytes: 2 ** 18,
    });
    for (const page of await makeSealed(pages)) {
      const durable = await spool.store(page, never).durable;
      const name = `observations/${runFolder.record.runId}/${durable.name}`;
      const bytes = await spool.read(durable);
      await real.put({ name, bytes, sha256: durable.sealedDigest }, never);
      await spool.acknowledge(durable, never);
    }
    const init: CommitInit = { plan, folder: runFolder, spool, destination, key, signal: never };
    const at = join(out, "observations", runFolder.record.runId);
    const close = async () => {
      runFolder.release();
      await spool.close().catch(() => {});
    };
    return { init, puts, at, dir, close };
  }

  it("reads what a listing does not show yet, and takes no other bytes for it", async () => {
    const out = folder.next();
    const real = await openDestination(out, { timeoutMillis: 5000 });
    for (const hidden of [/x^/, /00000000/, /00000001/, /00000002/, /./]) {
      const lagging = async function* (name: string, signal: AbortSignal) {
        for await (const one of real.list(name, signal)) if (!hidden.test(one.name)) yield one;
      };
      const { init, close } = await ready(3, { list: lagging }, folder.next(), out);
      assert.equal((await commitRun(init)).pages, 3);
      await close();
    }
    const list = async function* () {};
    const { init, at, close } = await ready(3, { list }, folder.next(), out);
    const [page = ""] = (await readdir(at)).toSorted();
    await writeFile(join(at, page), "others");
    await assert.rejects(commitRun(init), { code: "integrity-failed" });
    await rm(join(at, page));
    await assert.rejects(commitRun(init), { code: "integrity-failed" });
    await close();
  });

  it("stores the manifest last, behind its sums and its signature", async () => {
    const { init, puts, at, close } = await ready();
    const last = await commitRun(init);
    await close();
    assert.deepEqual(puts, ["SHA256SUMS", "manifest.json.sig", "manifest.json"]);
    const bytes = await readFile(join(at, "manifest.json"));
    assert.equal(last.manifestDigest, createHash("sha256").update(bytes).digest("hex"));
    assert.deepEqual([last.rows, last.pages, last.generation], [150, 3, 1]);
    const manifest = JSON.parse(bytes.toString()) as Record<string, unknown>;
    assert.deepEqual([manifest["generation"], manifest["previous"]], [1, null]);
    assert.deepEqual(manifest["consistency"], { class: "stream", proof: {} });
    const sums = await readFile(join(at, "SHA256SUMS"), "utf8");
    assert.equal(sums.trim().split("\n").length, 3);
    const signature = await readFile(join(at, "manifest.json.sig"));
    await readSignedManifest(() => [bytes], signature, key.publicText);
  });

  it("stores what may be large in pieces, the same each time it is asked for them", async () => {
    const out = folder.next();
    const real = await openDestination(out, { timeoutMillis: 5000 });
    const stored = new Map<string, Buffer>();
    const put: Destination["put"] = async (object, signal) => {
      const { name, bytes } = object;
      assert.equal(bytes instanceof Uint8Array, name.endsWith(".sig"), "what is large is not held");
      const first = await wholeOf(bytes);
      assert.deepEqual(await wholeOf(bytes), first);
      assert.equal(createHash("sha256").update(first).digest("hex"), object256(object));
      stored.set(name.split("/").at(-1)!, Buffer.from(first));
      await real.put(object, signal);
    };
    const { init, at, close } = await ready(3, { put }, folder.next(), out);
    await commitRun(init);
    await close();
    for (const [name, bytes] of stored) assert.ok(bytes.equals(await readFile(join(at, name))));
    assert.equal(stored.size, 3);
  });

  it("stores no manifest that was changed after its signature was checked", async () => {
    const put: Destination["put"] = async ({ name }) => {
      if (name.endsWith(".sig")) await writeFile(join(init.folder.path, "manifest.json"), "{}");
      assert.ok(!name.endsWith("manifest.json"), "it is not put");
    };
    const { init, close } = await ready(1, { put });
    await assert.rejects(commitRun(init), { code: "integrity-failed", message: /was changed/ });
    await close();
  });

  it("says of each page which part of a record it holds", async () => {
    const { init, at, close } = await ready();
    const spans = ["first", "last", "whole"] as const;
    const spool = Object.create(init.spool, {
      checkpoints: {
        async *value() {
          for await (const one of init.spool.checkpoints()) yield { ...one, span: spans[one.page] };
        },
      },
    }) as typeof init.spool;
    await commitRun({ ...init, spool });
    await close();
    const { pages } = JSON.parse(await readFile(join(at, "manifest.json"), "utf8")) as {
      pages: { span?: string }[];
    };
    assert.deepEqual(
      pages.map(({ span }) => span),
      ["first", "last", undefined],
    );
  });

  it("tells the manifest before it and counts generations", async () => {
    const [dir, out] = [folder.next(), folder.next()];
    const first = await ready(1, {}, dir, out);
    const { manifestDigest } = await commitRun(first.init);
    await first.close();
    const second = await ready(1, {}, dir, out);
    await commitRun(second.init);
    await second.close();
    const manifest = JSON.parse(await readFile(join(second.at, "manifest.json"), "utf8")) as object;
    assert.deepEqual(
      [Reflect.get(manifest, "generation"), Reflect.get(manifest, "previous")],
      [2, manifestDigest],
    );
  });

  it("stores the same manifest when it is repeated, wherever it was cut off", async () => {
    for (const name of ["SHA256SUMS", "manifest.json.sig", "manifest.json"]) {
      const { init, at, close } = await ready();
      const cut: Destination = {
        ...init.destination,
        put: async (object, signal) => {
          if (object.name.endsWith(`/${name}`)) throw new Error("cut off");
          await init.destination.put(object, signal);
        },
      };
      await assert.rejects(commitRun({ ...init, destination: cut }), /cut off/);
      const draft = await readFile(join(init.folder.path, "manifest.json"));
      await new Promise((resolve) => setTimeout(resolve, 5));
      await commitRun(init);
      await close();
      assert.deepEqual(await readFile(join(at, "manifest.json")), draft);
    }
  });

  it("makes the sums again, whatever became of those in the spool", async () => {
    const { init, at, close } = await ready();
    const cut = { ...init.destination, put: () => Promise.reject(new Error("cut off")) };
    await assert.rejects(commitRun({ ...init, destination: cut }), /cut off/);
    const own = join(init.folder.path, "SHA256SUMS");
    const sums = await readFile(own, "utf8");
    await writeFile(own, sums.replace(/\d/, "x"));
    await commitRun(init);
    await close();
    assert.equal(await readFile(join(at, "SHA256SUMS"), "utf8"), sums);
  });

  it("does not store another run's manifest, however whole that is", async () => {
    const runs = [await ready(), await ready()];
    for (const { init } of runs) {
      const cut = { ...init.destination, put: () => Promise.reject(new Error("cut off")) };
      await assert.rejects(commitRun({ ...init, destination: cut }), /cut off/);
    }
    const [from, to] = runs.map(({ init }) => init.folder.path) as [string, string];
    for (const name of ["manifest.json", "manifest.json.sig"])
      await copyFile(join(from, name), join(to, name));
    const [, { init, puts }] = runs as [unknown, (typeof runs)[0]];
    await assert.rejects(commitRun(init), { code: "integrity-failed", message: /another run/ });
    assert.deepEqual(puts, []);
    for (const { close } of runs) await close();
  });

  it("commits nothing where the destination has lost a page, or part of one", async () => {
    for (const change of [(page: string) => rm(page), (page: string) => truncate(page, 10)]) {
      const { init, puts, at, close } = await ready();
      await change(join(at, "00000001.ndjson.zst.age"));
      await assert.rejects(commitRun(init), { code: "integrity-failed", message: /00000001/ });
      assert.deepEqual(puts, []);
      await close();
    }
  });

  it("lets a run begin anew whose pages are lost, once no manifest of it is there", async () => {
    const { init, dir, at, close } = await ready();
    const { destination } = init;
    const cut = { ...destination, finish: () => Promise.reject(new Error("cut off")) };
    await assert.rejects(commitRun({ ...init, destination: cut }), /cut off/);
    await rm(join(at, "00000001.ndjson.zst.age"));
    const damaged = {
      code: "integrity-failed",
      message: /has the manifest: .* is damaged; remove/,
    };
    await assert.rejects(commitRun(init), damaged);
    const restart = () =>
      openRunFolder({
        dir,
        pipeline: "observations",
        configDigest: "c".repeat(64),
        meaning: "",
        destination: destination.url,
        restart: true,
      });
    init.folder.release();
    await assert.rejects(restart(), { message: /run without --restart to finish it/ });
    await rm(at, { recursive: true });
    await assert.rejects(commitRun(init), { message: /mounted\? Then begin again with --restart/ });
    const { record, release } = await restart();
    release();
    assert.notEqual(record.runId, init.folder.record.runId);
    await close();
  });

  it("stores the same manifest where what was lost comes back, as on a disk that was not mounted", async () => {
    const { init, at, close } = await ready();
    const cut = { ...init.destination, finish: () => Promise.reject(new Error("cut off")) };
    await assert.rejects(commitRun({ ...init, destination: cut }), /cut off/);
    const stored = await readFile(join(at, "manifest.json"));
    await rename(at, `${at}.away`);
    for (let attempt = 0; attempt < 2; attempt += 1)
      await assert.rejects(commitRun(init), { code: "integrity-failed" });
    await rename(`${at}.away`, at);
    await commitRun(init);
    await close();
    assert.deepEqual(await readFile(join(at, "manifest.json")), stored);
  });

  it("makes a draft again that is damaged, or another run's", async () => {
    const [one, other] = [await ready(), await ready()];
    const cut = { ...one.init.destination, put: () => Promise.reject(new Error("cut off")) };
    await assert.rejects(commitRun({ ...one.init, destination: cut }), /cut off/);
    const from = one.init.folder.path;
    await copyFile(
      join(from, "manifest.json.sig"),
      join(other.init.folder.path, "manifest.json.sig"),
    );
    await copyFile(
      join(from, "manifest.json"),
      join(other.init.folder.path, "manifest.json.draft"),
    );
    await rename(join(from, "manifest.json"), join(from, "manifest.json.draft"));
    await truncate(join(from, "manifest.json.draft"), 100);
    for (const { init, at, close } of [one, other]) {
      await commitRun(init);
      await close();
      const bytes = await readFile(join(at, "manifest.json"));
      const signature = await readFile(join(at, "manifest.json.sig"));
      await readSignedManifest(() => [bytes], signature, key.publicText);
      assert.ok(bytes.includes(init.folder.record.runId));
    }
  });

  it("refuses a manifest of the spool whose format or signer is no longer what was signed", async () => {
    for (const stated of ["spillway/1", '"signer":"ed25519:']) {
      const { init, close } = await ready();
      const cut = { ...init.destination, put: () => Promise.reject(new Error("cut off")) };
      await assert.rejects(commitRun({ ...init, destination: cut }), /cut off/);
      const path = join(init.folder.path, "manifest.json");
      const bytes = await readFile(path);
      bytes[bytes.indexOf(stated) + stated.length - 1]! ^= 8;
      await writeFile(path, bytes);
      await assert.rejects(commitRun(init), {
        code: "integrity-failed",
        // A restart alone is refused: the manifest may be at the destination.
        message: /manifest\.json is not as it was signed, .*`ls`.* move manifest\.json away/,
      });
      await close();
    }
  });

  it("makes no other draft where the disk refuses to read the one there is", async () => {
    const { init, at, close } = await ready();
    const cut = { ...init.destination, put: () => Promise.reject(new Error("cut off")) };
    await assert.rejects(commitRun({ ...init, destination: cut }), /cut off/);
    const [made, draft] = ["manifest.json", "manifest.json.draft"].map((name) =>
      join(init.folder.path, name),
    );
    await rename(made!, draft!);
    const bytes = await readFile(draft!);
    const openRefused: Disk["open"] = async (path, ...how) => {
      if (path === draft) throw Object.assign(new Error("refused"), { code: "EIO" });
      return realWorld.disk.open(path, ...how);
    };
    const disk: Disk = { ...realWorld.disk, open: openRefused };
    await assert.rejects(commitRun({ ...init, world: { ...realWorld, disk } }), {
      code: "spool-failed",
    });
    await commitRun(init);
    await close();
    assert.ok((await readFile(join(at, "manifest.json"))).equals(bytes));
  });

  it("does not believe a destination that gives another manifest back", async () => {
    const { init, close } = await ready(1, {
      async *get() {
        yield Buffer.from("{}");
      },
    });
    await assert.rejects(commitRun(init), { code: "integrity-failed", exitCode: 6 });
    assert.equal(init.folder.last, undefined);
    await close();
  });

  it("calls no manifest another that the destination could not give back, and commits the next time", async () => {
    const lost = new PipelineError("destination-unreachable", "file: gone for a moment");
    const { init, close } = await ready();
    const get = () => {
      throw lost;
    };
    const cut = { ...init.destination, get };
    await assert.rejects(commitRun({ ...init, destination: cut }), lost);
    assert.equal((await commitRun(init)).pages, 3);
    await close();
  });

  it("commits nothing where rows and records differ in number", async () => {
    const { init, puts, close } = await ready();
    const facts = init.spool.facts!;
    const spool = Object.create(init.spool, {
      facts: { value: { ...facts, end: { ...facts.end, rows: 151 } } },
    }) as typeof init.spool;
    await assert.rejects(commitRun({ ...init, spool }), {
      code: "integrity-failed",
      message: /151 rows.*150 records/,
    });
    await commitRun({ ...init, spool, plan: { ...plan, keepsRows: false } });
    assert.equal(puts.length, 3);
    await close();
  });

  it("asserts that every durable page is acknowledged", async () => {
    const { init, close } = await ready();
    const spool = Object.create(init.spool, { durable: { value: 4 } }) as typeof init.spool;
    await assert.rejects(commitRun({ ...init, spool }), { code: "internal" });
    await close();
  });
});
