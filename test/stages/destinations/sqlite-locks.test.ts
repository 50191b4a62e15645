/** A SQLite file that others hold, and a disk that is full. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import type { Destination } from "../../../src/stages/destinations/destination.ts";
import { openDestination, probeDestination } from "../../../src/stages/destinations/schemes.ts";
import { expectError, pageOfRows as page } from "../../contract/destination-contract.ts";
import { useFolder } from "../../fixtures/pipelines.ts";
import { mountDisk, skipUnmounted } from "../../fixtures/small-disk.ts";
import { askFile, changeFile } from "../../fixtures/sqlite-file.ts";

const never = new AbortController().signal;

describe("destination sqlite, in a file that is held", () => {
  const folder = useFolder();
  const options = { timeoutMillis: 5000, rows: { table: "plain", key: [] } };
  let path: string;
  let opened: Destination[] = [];

  const change = (...statements: readonly string[]) => changeFile(path, ...statements);
  const ask = (query: string) => askFile(path, query);
  const open = async () => {
    const destination = await openDestination(`sqlite:${path}`, options);
    opened.push(destination);
    return destination;
  };

  beforeEach(async () => {
    const place = folder.next();
    await mkdir(place, { recursive: true });
    path = `${place}/held.db`;
    change("create table plain (id integer, text text)");
  });
  afterEach(async () => {
    await Promise.all(opened.map((one) => one.close()));
    opened = [];
  });

  /** Another thread with a lock of its own on the file; it lets go when told. */
  const lockElsewhere = async (statements: string) => {
    const worker = new Worker(
      `const { DatabaseSync } = require("node:sqlite"); const { parentPort } = require("node:worker_threads");
       const database = new DatabaseSync(${JSON.stringify(path)});
       database.exec(${JSON.stringify(statements)});
       parentPort.on("message", () => { database.close(); process.exit(); });
       parentPort.postMessage("locked");`,
      { eval: true },
    );
    await once(worker, "message");
    return async () => {
      // A thread has no origin.
      // oxlint-disable-next-line unicorn/require-post-message-target-origin
      worker.postMessage("go");
      await once(worker, "exit");
    };
  };

  for (const [who, statements] of [
    ["writer", "begin immediate; insert into plain values (9, 'theirs')"],
    ["reader", "begin; select * from plain; pragma schema_version"],
  ] as const) {
    it(`waits for another ${who} without standing still, until its deadline`, async () => {
      change("insert into plain values (0, 'first')");
      const destination = await open();
      const release = await lockElsewhere(statements);
      let ticks = 0;
      const ticking = setInterval(() => (ticks += 1), 5);
      const put = destination.put(page(0, { id: 1 }), never);
      await sleep(200);
      clearInterval(ticking);
      assert(ticks > 2, `${ticks} ticks`);
      await release();
      await put;
      assert.deepEqual(ask("select id from plain"), [{ id: 0 }, { id: 1 }]);
    });
  }

  it("stops waiting for a lock when it is told to, and leaves nothing behind", async () => {
    change("insert into plain values (0, 'first')");
    const release = await lockElsewhere("begin; select * from plain; pragma schema_version");
    const destination = await open();
    const stop = new AbortController();
    const put = destination.put(page(0, { id: 1 }), stop.signal);
    await sleep(50);
    const reason = new Error("stop now");
    stop.abort(reason);
    await assert.rejects(put, (error) => error === reason);
    await release();
    assert.equal(ask("select id from plain").length, 1);
  });

  it("says that the disk is full, and goes on when there is room", async function () {
    const disk = await mountDisk(`${dirname(path)}/disk`, "size=128k");
    if (!disk) skipUnmounted(this);
    path = `${dirname(path)}/disk/small.db`;
    try {
      change("create table plain (id integer, text text)");
      const destination = await open();
      const large = Array.from({ length: 400 }, (_, id) => ({ id, text: "x".repeat(500) }));
      await destination.put(page(0, { id: 0 }), never);
      const error = await expectError(
        "destination-failed",
        destination.put(page(1, ...large), never),
      );
      assert.match(error.message, /no space left at the destination/);
      assert.equal(ask("select * from plain").length, 1);
      disk.resize("size=1m");
      await destination.put(page(1, ...large), never);
      assert.equal(ask("select * from plain").length, 401);
    } finally {
      await Promise.all(opened.map((one) => one.close()));
      disk.unmount();
    }
  });

  it("is told by doctor, in time", async () => {
    const release = await lockElsewhere("begin immediate");
    const asked = { ...options, timeoutMillis: 100, folder: "p", signal: never };
    const found = await Array.fromAsync(probeDestination(`sqlite:${path}`, asked));
    await release();
    assert.deepEqual(
      found.map(({ level, check }) => [level, check]),
      [
        ["ok", "table"],
        ["fail", "table"],
      ],
    );
    assert.match(found[1]!.found, /locked by another process/);
  });
});
