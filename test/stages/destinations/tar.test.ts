import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import {
  appendFile,
  link,
  mkdtemp,
  open as openHandle,
  readFile,
  readdir,
  rm,
  stat,
  truncate,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { openDestination } from "../../../src/stages/destinations/schemes.ts";
import {
  destinationContract,
  expectError,
  listAll,
  objectOf,
  readAll,
} from "../../contract/destination-contract.ts";

const run = promisify(execFile);
const never = new AbortController().signal;

describe("destination tar", () => {
  let base: string;
  const path = (name: string) => join(base, "out", name);
  const open = () => openDestination(`tar://${path("bundle.tar")}`, { timeoutMillis: 5000 });
  const reset = () => rm(join(base, "out"), { recursive: true, force: true });

  before(async () => {
    base = await mkdtemp(join(tmpdir(), "spillway-tar-"));
  });
  after(() => rm(base, { recursive: true }));

  destinationContract(open, reset);

  const putAll = async (objects: Record<string, string | Uint8Array>) => {
    const destination = await open();
    for (const [name, bytes] of Object.entries(objects)) {
      await destination.put(objectOf(name, bytes), never);
    }
    return destination;
  };
  const finished = async (objects: Record<string, string | Uint8Array>) => {
    const destination = await putAll(objects);
    await destination.finish(never);
    await destination.close();
  };

  it("makes an archive that GNU tar lists and extracts", async () => {
    const page = randomBytes(100_000);
    const wide = `größe/${"日".repeat(60)}/page`;
    await finished({ "p/r/00000000.x": page, "p/r/SHA256SUMS": "", [wide]: "w" });
    const listed = await run("tar", ["tf", path("bundle.tar")], { env: { LC_ALL: "C.UTF-8" } });
    assert.equal(listed.stdout.split("\n").length, 4);
    assert.equal(listed.stderr, "");
    await run("tar", ["xf", path("bundle.tar"), "-C", join(base, "out")]);
    assert.ok((await readFile(path("p/r/00000000.x"))).equals(page));
    assert.equal(await readFile(path(wide), "utf8"), "w");
  });

  it("reads an archive that GNU tar made", async () => {
    await finished({ "p/r/page": "content", [`p/${"long".repeat(40)}/x`]: "y" });
    await run("tar", ["xf", path("bundle.tar"), "-C", join(base, "out")]);
    await rm(path("bundle.tar"));
    await run("tar", ["cf", path("bundle.tar"), "-C", join(base, "out"), "p"]);
    const destination = await open();
    assert.deepEqual(await listAll(destination), [
      { name: `p/${"long".repeat(40)}/x`, bytes: 1 },
      { name: "p/r/page", bytes: 7 },
    ]);
    assert.equal((await readAll(destination, "p/r/page")).toString(), "content");
  });

  it("makes the same bytes of the same objects, for its owner alone", async () => {
    await finished({ "p/r/a": "a", "p/r/b": "b" });
    const first = await readFile(path("bundle.tar"));
    await reset();
    await finished({ "p/r/a": "a", "p/r/b": "b" });
    assert.ok((await readFile(path("bundle.tar"))).equals(first));
    assert.equal((await stat(path("bundle.tar"))).mode & 0o777, 0o600);
    assert.deepEqual(await readdir(join(base, "out")), ["bundle.tar"]);
  });

  it("keeps whole entries and cuts the torn end, wherever a crash cut it", async () => {
    await (await putAll({ "p/r/a": "a".repeat(700) })).close();
    const whole = (await stat(path("bundle.tar.partial"))).size;
    await (await putAll({ "p/r/b": "b".repeat(1500) })).close();
    const size = (await stat(path("bundle.tar.partial"))).size;
    for (let cut = size - 1; cut >= whole; cut -= 97) {
      await truncate(path("bundle.tar.partial"), cut);
      const reader = await open();
      assert.deepEqual(await listAll(reader), [{ name: "p/r/a", bytes: 700 }]);
      assert.equal((await stat(path("bundle.tar.partial"))).size, cut, "reading changes nothing");
      const writer = await putAll({ "p/r/b": "b".repeat(1500) });
      await writer.close();
      assert.equal((await stat(path("bundle.tar.partial"))).size, size);
      assert.equal((await readAll(await open(), "p/r/b")).toString(), "b".repeat(1500));
    }
  });

  it("leaves nothing beside it of a crash that came while it looked whether it can get its name", async () => {
    await (await putAll({ "p/r/a": "a" })).close();
    await link(path("bundle.tar.partial"), path("bundle.tar.partial.link"));
    await finished({ "p/r/a": "a", "p/r/b": "b" });
    assert.deepEqual(await readdir(join(base, "out")), ["bundle.tar"]);
  });

  it("does not keep a last entry whose bytes never reached the disk", async () => {
    await (await putAll({ "p/r/a": "a", "p/r/b": "b".repeat(600) })).close();
    const file = await openHandle(path("bundle.tar.partial"), "r+");
    await file.write(Buffer.alloc(600), 0, 600, 1024 + 512);
    await file.close();
    assert.deepEqual(await listAll(await open()), [{ name: "p/r/a", bytes: 1 }]);
    await finished({ "p/r/b": "b".repeat(600) });
    assert.equal((await readAll(await open(), "p/r/b")).toString(), "b".repeat(600));
  });

  it("refuses to go on with a header that was changed", async () => {
    await (await putAll({ "p/r/a": "a", "p/r/b": "b" })).close();
    const file = await openHandle(path("bundle.tar.partial"), "r+");
    await file.write("X", 1024 + 3);
    await file.close();
    await expectError("integrity-failed", listAll(await open()));
    await expectError("integrity-failed", (await open()).put(objectOf("p/r/c", "c"), never));
  });

  it("survives a crash at every point of finishing", async () => {
    const objects = { "p/r/a": "a", "p/r/manifest.json": "{}" };
    await finished(objects);
    const bytes = await readFile(path("bundle.tar"));
    const states = [
      () => writeFile(path("bundle.tar.partial"), bytes.subarray(0, -1024)),
      () => writeFile(path("bundle.tar.partial"), bytes.subarray(0, -512)),
      () => writeFile(path("bundle.tar.partial"), bytes),
      async () => {
        await writeFile(path("bundle.tar.partial"), bytes);
        await link(path("bundle.tar.partial"), path("bundle.tar"));
      },
    ];
    for (const crashed of states) {
      await rm(path("bundle.tar"), { force: true });
      await crashed();
      await finished(objects);
      assert.ok((await readFile(path("bundle.tar"))).equals(bytes));
      assert.deepEqual(await readdir(join(base, "out")), ["bundle.tar"]);
    }
  });

  it("never overwrites a finished bundle", async () => {
    await finished({ "p/r1/page": "old" });
    const next = await open();
    await expectError("foreign-object", next.put(objectOf("p/r2/page", "new"), never));
    await next.close();
    await rm(path("bundle.tar"));
    const late = await putAll({ "p/r2/page": "new" });
    await writeFile(path("bundle.tar"), "somebody else's");
    await expectError("foreign-object", late.finish(never));
    await late.close();
    assert.equal(await readFile(path("bundle.tar"), "utf8"), "somebody else's");
  });

  it("notices a second writer", async () => {
    const destination = await putAll({ "p/r/a": "a" });
    await appendFile(path("bundle.tar.partial"), "foreign");
    await expectError("destination-failed", destination.put(objectOf("p/r/b", "b"), never));
    await destination.close();
  });

  it("says that an entry ends early when a finished bundle was cut", async () => {
    await finished({ "p/r/a": "a".repeat(5000) });
    await truncate(path("bundle.tar"), 2000);
    await expectError("destination-failed", readAll(await open(), "p/r/a"));
  });
});
