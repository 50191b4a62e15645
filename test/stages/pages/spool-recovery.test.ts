import assert from "node:assert/strict";
import {
  appendFile,
  mkdir,
  readFile,
  readdir,
  readlink,
  rename,
  symlink,
  truncate,
  unlink,
  writeFile,
} from "node:fs/promises";
import { join } from "node:path";
import type { Page, SealedPage } from "../../../src/stages/nouns.ts";
import { recoverPages } from "../../../src/stages/pages/spool-recovery.ts";
import { realDisk, type Disk } from "../../../src/stages/world.ts";
import { failure } from "../../fixtures/failing-files.ts";
import { makeSealed, never, openTestSpool, spoolKey } from "../../fixtures/pages.ts";
import { useFolder } from "../../fixtures/pipelines.ts";

describe("spool-recovery", () => {
  const folder = useFolder();
  let pages: SealedPage[];
  before(async () => {
    pages = await makeSealed(5);
  });

  /** A spool with `durable` pages, of which the first `acknowledged` are, as a killed process leaves it. */
  async function leave(durable: number, acknowledged: number): Promise<string> {
    const path = folder.next();
    const spool = await openTestSpool(path);
    const stored = [];
    for (const page of pages.slice(0, durable)) stored.push(await spool.store(page, never).durable);
    for (const page of stored.slice(0, acknowledged)) await spool.acknowledge(page, never);
    await spool.close();
    return path;
  }

  const nameOf = (page: number) => `0000000${page}.ndjson.zst.age`;

  const namesIn = async (path: string) => (await readdir(join(path, "pages"))).toSorted();

  /** Recovers twice, for a crash may come in between, and requires the same of both. */
  async function recover(path: string) {
    const first = await recoverPages(path, spoolKey);
    assert.deepEqual(await recoverPages(path, spoolKey), first);
    const { marks, usedBytes } = first;
    return {
      acknowledged: marks.acked,
      durable: marks.durable,
      usedBytes,
      names: await namesIn(path),
    };
  }

  const damaged = (path: string, message: RegExp) =>
    assert.rejects(recoverPages(path, spoolKey), { code: "integrity-failed", message });

  it("refuses to go on where a page is gone that an earlier flush had made durable", async () => {
    const path = folder.next();
    const many = await makeSealed(20);
    const spool = await openTestSpool(path, {
      bufferBytes: 20 * 900,
      policy: { threshold: 0.4, writer: "background" },
    });
    const durable = [];
    for (const page of many) {
      const stored = spool.store(page, never);
      durable.push(stored.durable);
      await stored.taken;
    }
    await spool.flush();
    const [, , lost] = await Promise.all(durable);
    assert.ok(spool.flushes >= 3);
    await spool.close();
    await unlink(join(path, "pages", lost!.name));
    await damaged(path, /page 2 is missing/);
  });

  it("makes the folders of a new spool", async () => {
    const path = folder.next();
    assert.deepEqual(await recover(path), { acknowledged: 0, durable: 0, usedBytes: 0, names: [] });
    assert.deepEqual((await readdir(path)).toSorted(), ["incoming", "pages"]);
  });

  it("finds what was durable and what was acknowledged", async () => {
    assert.deepEqual(await recover(await leave(4, 2)), {
      acknowledged: 2,
      durable: 4,
      usedBytes: 2 * 4096,
      names: [nameOf(2), nameOf(3)],
    });
  });

  it("knows the facts of the last page from its file or from the journal", async () => {
    for (const acknowledged of [0, 5]) {
      const { facts } = await recoverPages(await leave(5, acknowledged), spoolKey);
      assert.deepEqual(facts, pages[4]!.facts);
    }
    assert.equal((await recoverPages(await leave(4, 0), spoolKey)).facts, undefined);
  });

  it("removes pages that were not finished", async () => {
    const path = await leave(1, 0);
    await writeFile(join(path, "incoming", nameOf(1)), "half");
    assert.equal((await recover(path)).durable, 1);
    assert.deepEqual(await readdir(join(path, "incoming")), []);
  });

  it("removes pages whose acknowledgement is durable", async () => {
    const path = await leave(2, 0);
    const kept = await readFile(join(path, "pages", nameOf(0)));
    const spool = await openTestSpool(path);
    for await (const page of spool.backlog()) {
      await spool.acknowledge(page, never);
      break;
    }
    await spool.close();
    await writeFile(join(path, "pages", nameOf(0)), kept);
    assert.deepEqual((await recover(path)).names, [nameOf(1)]);
    assert.deepEqual(await readdir(join(path, "pages")), [nameOf(1)]);
  });

  it("puts a torn last page aside and goes on before it", async () => {
    const path = await leave(3, 0);
    await truncate(join(path, "pages", nameOf(2)), 40);
    assert.deepEqual((await recover(path)).names, [nameOf(0), nameOf(1)]);
    assert.deepEqual(await readdir(join(path, "quarantine")), [nameOf(2)]);
  });

  it("refuses a page in the middle that is torn, changed, missing or another", async () => {
    const torn = await leave(3, 0);
    await truncate(join(torn, "pages", nameOf(1)), 40);
    await damaged(torn, /page 1 is missing or changed/);

    const changed = await leave(3, 1);
    const file = join(changed, "pages", nameOf(1));
    const bytes = await readFile(file);
    bytes[bytes.length - 60]! ^= 1;
    await writeFile(file, bytes);
    await damaged(changed, /page 1 is missing or changed/);

    const missing = await leave(3, 0);
    await rename(join(missing, "pages", nameOf(0)), join(missing, "away"));
    await damaged(missing, /page 0 is missing or changed/);

    const swapped = await leave(3, 0);
    const at = (name: string) => join(swapped, "pages", name);
    await rename(at(nameOf(0)), at("x"));
    await rename(at(nameOf(1)), at(nameOf(0)));
    await rename(at("x"), at(nameOf(1)));
    await damaged(swapped, /page 0 is missing or changed/);
  });

  /** A spool whose five pages became durable together, without one of them. */
  async function loseFromGroup(page: number): Promise<string> {
    const path = folder.next();
    const spool = await openTestSpool(path, { policy: { threshold: 1, writer: "background" } });
    for (const page of pages) await spool.store(page, never).taken;
    await spool.flush();
    assert.equal(spool.flushes, 1);
    await spool.close();
    await rename(join(path, "pages", nameOf(page)), join(path, "lost"));
    return path;
  }

  it("goes on before a name that a power cut lost, when those after it were synced with it", async () => {
    for (const lost of [0, 2, 3]) {
      const path = await loseFromGroup(lost);
      const { durable, names } = await recover(path);
      assert.deepEqual([durable, names], [lost, [0, 1, 2].slice(0, lost).map(nameOf)]);
      assert.ok(!(await readdir(path)).includes("quarantine"), "they are its own, not foreign");
      assert.equal((await recoverPages(path, spoolKey)).facts, undefined);
    }
  });

  it("does not go on before a page of a group that is there but changed", async () => {
    const path = await loseFromGroup(2);
    await writeFile(join(path, "pages", nameOf(2)), "changed");
    await damaged(path, /page 2 is missing or changed/);
  });

  it("does not take another run's pages for its own", async () => {
    const path = await leave(2, 0);
    await assert.rejects(recoverPages(path, Buffer.alloc(32, 9)), { code: "integrity-failed" });
  });

  it("puts foreign files aside and removes none of them", async () => {
    const path = await leave(1, 0);
    await writeFile(join(path, "pages", "notes.txt"), "mine");
    await mkdir(join(path, "pages", "folder"));
    assert.deepEqual((await recover(path)).names, [nameOf(0)]);
    assert.deepEqual((await readdir(join(path, "quarantine"))).toSorted(), ["folder", "notes.txt"]);
    assert.equal(await readFile(join(path, "quarantine", "notes.txt"), "utf8"), "mine");
  });

  it("does not follow a symbolic link in the place of a page", async () => {
    const last = await leave(2, 0);
    const away = join(last, "away");
    await rename(join(last, "pages", nameOf(1)), away);
    await symlink(away, join(last, "pages", nameOf(1)));
    assert.deepEqual((await recover(last)).names, [nameOf(0)]);

    const middle = await leave(2, 0);
    await rename(join(middle, "pages", nameOf(0)), join(middle, "away"));
    await symlink(join(middle, "away"), join(middle, "pages", nameOf(0)));
    await damaged(middle, /page 0 is missing or changed/);
  });

  it("cuts a torn line off the journal, wherever it was torn", async () => {
    const whole = await readFile(join(await leave(3, 2), "acks.ndjson"));
    const second = whole.indexOf("\n") + 1;
    for (let length = second; length < whole.length; length += 37) {
      const path = await leave(3, 1);
      await writeFile(join(path, "acks.ndjson"), whole.subarray(0, length));
      assert.equal((await recover(path)).acknowledged, 1);
      assert.equal((await readFile(join(path, "acks.ndjson"))).length, second);
    }
  });

  it("cuts what is no line of its own off the end of the journal", async () => {
    const path = await leave(3, 1);
    await appendFile(join(path, "acks.ndjson"), "\0\0\0\0\n");
    assert.equal((await recover(path)).acknowledged, 1);
    // What is left of a torn line may have line ends.
    await appendFile(join(path, "acks.ndjson"), "0123\n\n\0\0\n[]");
    assert.equal((await recover(path)).acknowledged, 1);
  });

  it("refuses a journal that was changed before its end, and cuts nothing away", async () => {
    const path = await leave(4, 3);
    const journal = join(path, "acks.ndjson");
    const bytes = await readFile(journal);
    bytes[bytes.indexOf("\n") + 90]! ^= 1;
    await writeFile(journal, bytes);
    await damaged(path, /journal of acknowledgements was changed/);
    assert.equal((await readFile(journal)).length, bytes.length);
  });

  it("refuses a journal with a gap", async () => {
    const path = await leave(4, 3);
    const journal = join(path, "acks.ndjson");
    const [first, , third] = (await readFile(journal, "utf8")).split("\n");
    await writeFile(journal, `${first}\n${third}\n`);
    await damaged(path, /gap/);
  });

  it("keeps the acknowledgement of a column named with a line separator", async () => {
    const path = folder.next();
    const spool = await openTestSpool(path);
    const [page] = await makeSealed(1);
    const columns = [{ name: "\u2028", type: "text", json: "string" as const }];
    const facts = { ...page!.facts!, columns };
    await spool.acknowledge(await spool.store({ ...page!, facts }, never).durable, never);
    await spool.close();
    assert.deepEqual((await recoverPages(path, spoolKey)).facts, facts);
  });

  it("compares pages made again with acknowledged and durable ones, in page order", async () => {
    const path = await leave(3, 1);
    const spool = await openTestSpool(path);
    const verdicts = [];
    for (const page of pages) verdicts.push(await spool.replay(page));
    assert.deepEqual(verdicts, ["equal", "equal", "equal", "new", "new"]);
    await spool.close();

    const other = await openTestSpool(path);
    const changed: Page = { ...pages[1]!, chain: "00".repeat(32) };
    assert.deepEqual(
      [await other.replay(pages[0]!), await other.replay(changed)],
      ["equal", "different"],
    );
    await other.close();
  });

  it("compares pages that are acknowledged meanwhile, whose files are gone", async () => {
    for (const acknowledgedAt of [0, 1, 2, 3]) {
      const spool = await openTestSpool(await leave(5, 1));
      const waiting = await Array.fromAsync(spool.backlog());
      for (const page of pages) {
        if (page.page === acknowledgedAt)
          for (const durable of waiting.splice(0, 3)) await spool.acknowledge(durable, never);
        assert.equal(await spool.replay(page), "equal", `page ${page.page}`);
      }
      await spool.close();
    }
  });

  it("keeps no list of the pages that wait", async () => {
    const recovered = await recoverPages(await leave(5, 1), spoolKey);
    const lists = Object.values(recovered).filter((value) => Array.isArray(value));
    assert.deepEqual(lists, []);
  });

  it("compares with pages that are all acknowledged, to the last of them and no further", async () => {
    const spool = await openTestSpool(await leave(4, 4));
    for (const page of pages.slice(0, 4)) assert.equal(await spool.replay(page), "equal");
    assert.equal(await spool.replay(pages[4]!), "new");
    await spool.close();
  });

  it("believes no journal that is changed, cut or taken away while the run goes on", async () => {
    const damage: ((journal: string) => Promise<void>)[] = [
      (journal) => unlink(journal),
      (journal) => truncate(journal, 0),
      (journal) => truncate(journal, 100),
      async (journal) => writeFile(journal, `x${(await readFile(journal, "utf8")).slice(1)}`),
    ];
    for (const change of damage) {
      const path = await leave(4, 3);
      const spool = await openTestSpool(path);
      await change(join(path, "acks.ndjson"));
      await assert.rejects(spool.replay(pages[0]!), { code: "integrity-failed" });
      await spool.close();
    }
  });

  it("finds no page missing that the disk refuses to open", async () => {
    const path = await leave(3, 0);
    const refusing: Disk = {
      ...realDisk,
      open: (file, ...rest) =>
        file.endsWith(nameOf(1)) ? Promise.reject(failure("EIO")) : realDisk.open(file, ...rest),
    };
    await assert.rejects(recoverPages(path, spoolKey, refusing), { code: "EIO" });
    assert.equal((await recover(path)).durable, 3);
  });

  it("leaves alone what is laid among the pages while it goes through them", async () => {
    const path = await leave(3, 0);
    await truncate(join(path, "pages", nameOf(2)), 10);
    let looks = 0;
    const shared: Disk = {
      ...realDisk,
      async opendir(at) {
        if (at.endsWith("pages") && ++looks === 2) await writeFile(join(at, "note.txt"), "mine");
        return realDisk.opendir(at);
      },
    };
    assert.equal((await recoverPages(path, spoolKey, shared)).marks.durable, 2);
    assert.deepEqual(await namesIn(path), [nameOf(0), nameOf(1), "note.txt"]);
  });

  it("closes the journal that a comparison was reading when the run stopped", async () => {
    const path = await leave(5, 4);
    const spool = await openTestSpool(path);
    assert.equal(await spool.replay(pages[0]!), "equal");
    await spool.close();
    const open = await Promise.all(
      (await readdir("/proc/self/fd")).map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => "")),
    );
    assert.deepEqual(
      open.filter((name) => name.startsWith(path)),
      [],
    );
  });

  it("says of a damaged spool only what is known", async () => {
    const path = await leave(4, 3);
    const journal = join(path, "acks.ndjson");
    await writeFile(journal, `x${(await readFile(journal, "utf8")).slice(1)}`);
    await damaged(path, /pages of it may lie at the destination already/);
  });

  it("gives the pages that wait for their upload, and goes on behind them", async () => {
    const spool = await openTestSpool(await leave(3, 1));
    const waiting = await Array.fromAsync(spool.backlog());
    assert.deepEqual(
      waiting.map(({ name }) => name),
      [nameOf(1), nameOf(2)],
    );
    await spool.store(pages[3]!, never).durable;
    for (const page of waiting) await spool.acknowledge(page, never);
    assert.deepEqual([spool.durable, spool.acknowledged], [4, 3]);
    await spool.close();
  });
});
