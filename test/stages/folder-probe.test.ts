import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { chmod, mkdir, mkdtemp, readdir, rm, statfs, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Finding } from "../../src/stages/finding.ts";
import { describeFileSystem, probeFolder } from "../../src/stages/folder-probe.ts";
import { probeDestination } from "../../src/stages/destinations/schemes.ts";
import { mountSmallDisk } from "../fixtures/small-disk.ts";
import { withoutRoot } from "../fixtures/without-root.ts";

const needs = { code: "spool-failed", full: "disk-full", links: true } as const;
const tmpfs = 0x01021994;

const probe = (path: string): Promise<Finding[]> => Array.fromAsync(probeFolder(path, needs));

const probeUrl = (url: string): Promise<Finding[]> => {
  const signal = new AbortController().signal;
  return Array.fromAsync(probeDestination(url, { timeoutMillis: 1000, folder: "p", signal }));
};

describe("the probe of a folder", () => {
  let folder: string;
  beforeEach(async () => (folder = await mkdtemp(join(tmpdir(), "spillway-probe-"))));
  afterEach(() => rm(folder, { recursive: true, force: true }));

  it("tries what durable files need, and leaves nothing", async () => {
    const findings = await probe(folder);
    assert.equal(findings.at(-1)?.level, "ok");
    assert.match(findings.at(-1)!.found, /fsync, rename, hard links and O_NOFOLLOW work/);
    assert.deepEqual(await readdir(folder), []);
  });

  it("judges a folder that is not there by the one above, and does not make it", async () => {
    const findings = await probe(join(folder, "a", "b"));
    assert.match(findings.at(-1)!.found, /to be made in/);
    assert.deepEqual(await readdir(folder), []);
  });

  it("says what cannot be written to, in the code of a run", async () => {
    await writeFile(join(folder, "file"), "");
    for (const path of [join(folder, "file"), join(folder, "file", "below")]) {
      const last = (await probe(path)).at(-1);
      assert.deepEqual([last?.level, last?.code], ["fail", "spool-failed"], path);
      assert.match(last!.found, /ENOTDIR/);
    }
  });

  it("does not take the folder above a link that leads nowhere for the place", async () => {
    await symlink(join(folder, "not mounted"), join(folder, "link"));
    for (const path of [join(folder, "link"), join(folder, "link", "below")]) {
      const last = (await probe(path)).at(-1);
      assert.deepEqual([last?.level, last?.code], ["fail", "spool-failed"], path);
    }
  });

  it("says so of a folder without the right to write", async function () {
    if (process.platform !== "linux") this.skip();
    const closed = join(folder, "closed");
    await mkdir(closed, { mode: 0o555 });
    await chmod(folder, 0o755);
    const last = await withoutRoot(async () => (await probe(join(closed, "spool"))).at(-1));
    assert.equal(last?.code, "spool-failed");
    assert.match(last.found, /EACCES/);
  });

  it("calls a full disk a full disk", async function () {
    const disk = join(folder, "small");
    const unmount = await mountSmallDisk(this, disk);
    try {
      await writeFile(join(disk, "all"), Buffer.alloc(70_000)).catch(() => {});
      const last = (await probe(disk)).at(-1);
      assert.equal(last?.code, "disk-full");
      assert.match(last.found, /no room/);
      assert.equal((await probeUrl(disk)).at(-1)?.code, "destination-failed");
      assert.deepEqual(await readdir(disk), ["all"]);
    } finally {
      unmount();
    }
  });

  it("removes what a look that was killed has left, and nothing else", async () => {
    const left = `.incoming-doctor-${randomUUID()}`;
    const others = [".incoming-doctor-notes", `${left}-4`, `.incoming-${randomUUID()}`, "doctor"];
    for (const name of [`${left}-1`, `${left}-2`, ...others])
      await writeFile(join(folder, name), "");
    await symlink(join(folder, "doctor"), join(folder, `${left}-3`));
    assert.equal((await probe(folder)).at(-1)?.level, "ok");
    assert.deepEqual((await readdir(folder)).toSorted(), others.toSorted());
  });

  it("works beside others that look at the same folder", async () => {
    const looks = await Promise.all(Array.from({ length: 3 }, () => probe(folder)));
    for (const findings of looks) assert.equal(findings.at(-1)?.level, "ok");
    assert.deepEqual(await readdir(folder), []);
  });

  it("warns of memory, networks and layers, by the number of the file system", async function () {
    const levels = [0xef53, tmpfs, 0x6969, 0x794c7630, 0x65735546].map(
      (type) => describeFileSystem(type).level,
    );
    assert.deepEqual(levels, ["ok", "warn", "warn", "warn", "warn"]);
    // As a signed number, as some kernels give it.
    assert.match(describeFileSystem(0xff534d42 | 0).found, /^cifs/);
    assert.match(describeFileSystem(0x1234).found, /not known here \(0x1234\)/);
    if ((await statfs("/dev/shm").catch(() => undefined))?.type !== tmpfs) this.skip();
    const [first, second] = await probe("/dev/shm");
    assert.match(first!.advice ?? "", /gone after a restart/);
    assert.equal(second?.level, "ok");
  });

  it("is what destinations that are files are asked", async () => {
    const file = await probeUrl(join(folder, "out"));
    assert.ok(file.every(({ level }) => level !== "fail"));
    const tar = `tar:${join(folder, "bundle.tar")}`;
    assert.equal((await probeUrl(tar)).at(-1)?.check, "files");
    await writeFile(join(folder, "bundle.tar"), "");
    assert.equal((await probeUrl(tar)).at(-1)?.code, "foreign-object");
    assert.deepEqual(await readdir(folder), ["bundle.tar"]);
  });
});
