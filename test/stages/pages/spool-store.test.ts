import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { constants } from "node:fs";
import {
  chmod,
  mkdir,
  readFile,
  readdir,
  readlink,
  rename,
  stat,
  symlink,
  unlink,
  writeFile,
} from "node:fs/promises";
import { basename, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { PipelineError } from "../../../src/errors.ts";
import type { SealedPage } from "../../../src/stages/nouns.ts";
import { toDurablePage } from "../../../src/stages/pages/checkpoint.ts";
import type { Spool } from "../../../src/stages/pages/spool-store.ts";
import { realDisk, realWorld, type Disk } from "../../../src/stages/world.ts";
import { contentOf, makeSealed, never, openTestSpool } from "../../fixtures/pages.ts";
import { writeDown } from "../../fixtures/written-disk.ts";
import { mountSmallDisk } from "../../fixtures/small-disk.ts";
import { useFolder } from "../../fixtures/pipelines.ts";
import { needTools } from "../../fixtures/stock-tools.ts";

const storeAll = async (spool: Spool, pages: readonly SealedPage[]) => {
  const durable = [];
  for (const page of pages) durable.push(await spool.store(page, never).durable);
  return durable;
};

describe("spool-store", () => {
  const folder = useFolder();
  let pages: SealedPage[];
  before(async () => {
    pages = await makeSealed(4);
  });

  it("stores, reads back, acknowledges and frees pages, in order", async () => {
    const path = folder.next();
    const spool = await openTestSpool(path);
    const durable = await storeAll(spool, pages);
    // A file takes whole blocks of the disk, however small the page.
    const used = pages.length * 4096;
    assert.deepEqual([spool.durable, spool.acknowledged, spool.usedBytes], [4, 0, used]);
    assert.equal(spool.flushes, 4);
    for (const page of durable) {
      assert.equal(Buffer.from(await spool.read(page)).toString(), contentOf(page.page));
      assert.deepEqual(await spool.acknowledge(page, never), page);
    }
    assert.deepEqual([spool.acknowledged, spool.usedBytes, spool.peakBytes], [4, 0, used]);
    assert.deepEqual(await readdir(join(path, "pages")), []);
    const journal = await Array.fromAsync(spool.checkpoints());
    assert.deepEqual(journal.map(toDurablePage), durable);
    assert.deepEqual(spool.facts, pages[3]!.facts);
    await spool.close();
  });

  it("leaves no journal open where it could not be made durable", async () => {
    const path = folder.next();
    const name = basename(path);
    let opened = 0;
    const disk = writeDown({ failsSync: (synced) => synced === name && opened > 0 });
    const open: Disk["open"] = (file, flags, mode) => {
      if (file.endsWith("acks.ndjson") && (flags & constants.O_APPEND) !== 0) opened += 1;
      return disk.open(file, flags, mode);
    };
    const world = { ...realWorld, disk: { ...disk, open } };
    await assert.rejects(openTestSpool(path, { world }), { code: "spool-failed" });
    assert.equal(opened, 1);
    const links = await readdir("/proc/self/fd");
    const held = await Promise.all(
      links.map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => "")),
    );
    assert.deepEqual(
      held.filter((file) => file.startsWith(path)),
      [],
    );
  });

  it("asserts the order of pages and of acknowledgements", async () => {
    const spool = await openTestSpool(folder.next());
    await assert.rejects(spool.store(pages[1]!, never).durable, { code: "internal" });
    const [, second] = await storeAll(spool, pages);
    await assert.rejects(spool.acknowledge(second!, never), { code: "internal" });
    await spool.close();
  });

  it("lets nobody but the owner in, whatever the umask", async () => {
    const umask = process.umask(0);
    try {
      const path = folder.next();
      const spool = await openTestSpool(path);
      await spool.acknowledge((await storeAll(spool, pages))[0]!, never);
      await writeFile(join(path, "pages", "foreign"), "");
      await spool.close();
      await (await openTestSpool(path)).close();
      for (const name of await readdir(path, { recursive: true })) {
        if (name.endsWith("foreign")) continue;
        const { mode } = await stat(join(path, name));
        assert.equal(mode & 0o077, 0, `${name} has mode ${mode.toString(8)}`);
      }
    } finally {
      process.umask(umask);
    }
  });

  it("never gives bytes that are not the ones it stored", async () => {
    const path = folder.next();
    const spool = await openTestSpool(path);
    const [page] = await storeAll(spool, pages);
    const file = join(path, "pages", page!.name);
    const bytes = await readFile(file);
    bytes[3]! ^= 1;
    await writeFile(file, bytes);
    await assert.rejects(spool.read(page!), { code: "integrity-failed" });
    await writeFile(file, bytes.subarray(0, 10));
    await assert.rejects(spool.read(page!), { code: "integrity-failed" });
    await spool.close();
  });

  it("does not follow a symbolic link in the place of a page", async () => {
    const path = folder.next();
    const spool = await openTestSpool(path);
    const [page] = await storeAll(spool, pages);
    const file = join(path, "pages", page!.name);
    await rename(file, `${file}.moved`);
    await symlink(`${file}.moved`, file);
    await assert.rejects(spool.read(page!));
    await spool.close();
  });

  it("does not follow a symbolic link in the place of the journal", async () => {
    const path = folder.next();
    await (await openTestSpool(path)).close();
    const file = join(path, "acks.ndjson");
    await rename(file, `${file}.moved`);
    await symlink(`${file}.moved`, file);
    await assert.rejects(openTestSpool(path), { code: "spool-failed", message: /ELOOP/ });
  });

  it("waits for room under its cap, and goes on when an acknowledgement makes some", async () => {
    const spool = await openTestSpool(folder.next(), { maxBytes: 4096 });
    const first = await spool.store(pages[0]!, never).durable;
    let stored = false;
    const waiting = spool.store(pages[1]!, never).durable.then(() => (stored = true));
    await sleep(50);
    assert.equal(stored, false);
    await spool.acknowledge(first, never);
    await waiting;
    assert.equal(spool.durable, 2);
    await spool.close();
  });

  it("stores a page larger than its cap when it is alone", async () => {
    const spool = await openTestSpool(folder.next(), { maxBytes: 1 });
    await spool.acknowledge(await spool.store(pages[0]!, never).durable, never);
    await spool.store(pages[1]!, never).durable;
    await spool.close();
  });

  it("stops with exit 75 when no room comes before the deadline", async () => {
    const spool = await openTestSpool(folder.next(), { maxBytes: 1, fullTimeoutMillis: 20 });
    await spool.store(pages[0]!, never).durable;
    await assert.rejects(spool.store(pages[1]!, never).durable, {
      code: "spool-full",
      exitCode: 75,
      message: /full at 1 B/,
    });
    await spool.close();
  });

  it("stops waiting at once when the signal fires, with its reason", async () => {
    const spool = await openTestSpool(folder.next(), { maxBytes: 1 });
    await spool.store(pages[0]!, never).durable;
    const stop = new AbortController();
    const reason = new Error("the run is stopped");
    setTimeout(() => stop.abort(reason), 20);
    const started = performance.now();
    await assert.rejects(spool.store(pages[1]!, stop.signal).durable, reason);
    assert.ok(performance.now() - started < 1000);
    await spool.close();
  });

  it("tells a disk that refuses as such, leaves nothing half, and keeps what was durable", async () => {
    const path = folder.next();
    const spool = await openTestSpool(path);
    await spool.store(pages[0]!, never).durable;
    await rename(join(path, "incoming"), join(path, "gone"));
    await assert.rejects(spool.store(pages[1]!, never).durable, {
      code: "spool-failed",
      exitCode: 75,
    });
    await spool.close();
    const again = await openTestSpool(path);
    assert.equal(again.durable, 1);
    await again.close();
  });

  it("tells a note that cannot be read from one that was never left", async () => {
    const path = folder.next();
    const spool = await openTestSpool(path);
    assert.equal(await spool.readNote(), undefined);
    await spool.writeNote("up to here");
    await spool.writeNote("up to there");
    assert.equal(await spool.readNote(), "up to there");
    await unlink(join(path, "note"));
    await mkdir(join(path, "note"));
    await assert.rejects(spool.readNote(), { code: "spool-failed", message: /EISDIR/ });
    await spool.close();
  });

  it("tells a page that cannot be removed as a refusal of the disk", async () => {
    const path = folder.next();
    const spool = await openTestSpool(path);
    const page = await spool.store(pages[0]!, never).durable;
    const file = join(path, "pages", page.name);
    const acknowledged = spool.acknowledge(page, never);
    // The line is written while the file goes away.
    await unlink(file);
    await assert.rejects(acknowledged, (error) => {
      assert.ok(error instanceof PipelineError);
      return ["spool-failed", "integrity-failed"].includes(error.code);
    });
    await spool.close();
  });

  it("closes its journal where the folder of it cannot be made durable", async () => {
    const path = folder.next();
    let open = 0;
    const disk: Disk = {
      ...realDisk,
      async open(...how) {
        const file = await realDisk.open(...how);
        open += 1;
        return {
          read: (...args) => file.read(...args),
          write: (...args) => file.write(...args),
          truncate: (bytes) => file.truncate(bytes),
          stat: () => file.stat(),
          datasync: () => file.datasync(),
          sync: () =>
            how[0] === path
              ? Promise.reject(Object.assign(new Error("refused"), { code: "EIO" }))
              : file.sync(),
          close: () => file.close().then(() => void (open -= 1)),
        };
      },
    };
    await assert.rejects(openTestSpool(path, { world: { ...realWorld, disk } }), {
      code: "spool-failed",
    });
    assert.equal(open, 0);
  });

  it("waits for a store under way when it is closed, and begins none after", async () => {
    const path = folder.next();
    const spool = await openTestSpool(path);
    const storing = spool.store(pages[0]!, never).durable;
    const begun = async () =>
      (await readdir(join(path, "incoming"))).length + (await readdir(join(path, "pages"))).length;
    while ((await begun()) === 0) await sleep(0);
    await spool.close();
    assert.equal(spool.durable, 1);
    await storing;
    await assert.rejects(spool.store(pages[1]!, never).durable, { code: "stopped", exitCode: 75 });
    await spool.close();
  });

  it("waits while the disk is full, then goes on or stops with exit 75", async function () {
    const path = folder.next();
    const unmount = await mountSmallDisk(this, path);
    try {
      await chmod(path, 0o700);
      const spool = await openTestSpool(path, { fullTimeoutMillis: 2000 });
      const ballast = join(path, "ballast");
      await writeFile(ballast, Buffer.alloc(100_000)).catch(() => {});
      const waiting = spool.store(pages[0]!, never).durable;
      await sleep(100);
      assert.deepEqual(await readdir(join(path, "incoming")), [], "nothing half is left");
      await writeFile(ballast, "");
      await spool.acknowledge(await waiting, never);
      await writeFile(ballast, Buffer.alloc(100_000)).catch(() => {});
      await assert.rejects(spool.store(pages[1]!, never).durable, {
        code: "disk-full",
        exitCode: 75,
      });
      await spool.close();
    } finally {
      unmount();
    }
  });

  it("has written, synced, named and synced the name before it says durable", async function () {
    needTools(this, "strace");
    const calls = trace(fileURLToPath(new URL("trace-spool.ts", import.meta.url)), folder.next());
    if (calls === undefined) {
      this.test!.title += " (tracing needs more rights)";
      this.skip();
    }
    const order = (...steps: readonly RegExp[]) => {
      let from = 0;
      for (const step of steps) {
        const at = calls.findIndex((call, i) => i >= from && step.test(call));
        assert.ok(at >= 0, `${step} is missing after call ${from}:\n${calls.join("\n")}`);
        from = at + 1;
      }
    };
    order(/openat\(.*acks\.ndjson/, /fsync\(.*\/spool>/, /SAYS open/);
    order(
      /openat\(.*incoming\/00000000.*O_EXCL.*O_NOFOLLOW.*0600/,
      /write\(.*incoming\/00000000/,
      /fsync\(.*incoming\/00000000/,
      /rename\(.*incoming\/00000000.*pages\/00000000/,
      /fsync\(.*\/pages>/,
      /SAYS durable/,
      /write\(.*acks\.ndjson/,
      /fdatasync\(.*acks\.ndjson/,
      /unlink\(.*pages\/00000000/,
      /SAYS acknowledged/,
    );
    const unlinks = calls.filter((call) => /unlink.*pages\/00000000/.test(call));
    assert.equal(unlinks.length, 1, "a page is removed once, after its acknowledgement is durable");
  });
});

/** System calls on files, in order, of a program; undefined where nobody may trace. */
function trace(program: string, path: string): string[] | undefined {
  const log = `${path}.trace`;
  const what = "trace=openat,write,pwrite64,writev,fsync,fdatasync,rename,unlink";
  try {
    execFileSync("strace", ["-f", "-y", "-o", log, "-e", what, process.execPath, program, path], {
      stdio: "ignore",
    });
  } catch {
    return undefined;
  }
  const text = execFileSync("cat", [log]).toString();
  return joinResumed(text.split("\n")).filter((call) => call.includes(path) || /SAYS/.test(call));
}

/** A call that another thread interrupts is printed in two halves; it counts where it returned. */
function joinResumed(lines: readonly string[]): string[] {
  const begun = new Map<string, string>();
  return lines.flatMap((line) => {
    const thread = /^\d+/.exec(line)?.[0] ?? "";
    if (line.includes("<unfinished ...>")) {
      begun.set(thread, line);
      return [];
    }
    return line.includes("resumed>") ? [`${begun.get(thread) ?? ""} ${line}`] : [line];
  });
}
