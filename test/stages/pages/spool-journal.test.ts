import assert from "node:assert/strict";
import { open, readFile, type FileHandle } from "node:fs/promises";
import { encodeLine, makeCheckpoint } from "../../../src/stages/pages/checkpoint.ts";
import { createJournal, replayDigests } from "../../../src/stages/pages/spool-journal.ts";
import { realDisk } from "../../../src/stages/world.ts";
import { makeSealed, spoolKey as key } from "../../fixtures/pages.ts";
import { useFolder } from "../../fixtures/pipelines.ts";

const refuse = (code: string) => () => Promise.reject(Object.assign(new Error("no"), { code }));

describe("spool-journal", () => {
  const folder = useFolder();
  let path: string;
  let file: FileHandle;
  beforeEach(async () => {
    path = folder.next();
    file = await open(path, "a", 0o600);
  });
  afterEach(() => file.close());

  it("adds lines and knows how many bytes of them are durable", async () => {
    const journal = createJournal(file, 0);
    await journal.append("one\n");
    await journal.append("zwölf\n");
    assert.equal(await readFile(path, "utf8"), "one\nzwölf\n");
    assert.equal(journal.bytes, 11);
  });

  it("cuts a line off again that did not fit, and may be tried again", async () => {
    const { write } = file;
    const journal = createJournal(file, 0);
    await journal.append("one\n");
    file.write = (async (bytes: Uint8Array, at: number) => {
      if (at > 0) return refuse("ENOSPC")();
      return (write as (part: Uint8Array) => Promise<object>).call(file, bytes.subarray(0, 2));
    }) as unknown as FileHandle["write"];
    await assert.rejects(journal.append("two\n"), { code: "ENOSPC" });
    assert.equal(await readFile(path, "utf8"), "one\n");
    file.write = write;
    await journal.append("two\n");
    assert.equal(await readFile(path, "utf8"), "one\ntwo\n");
  });

  for (const code of ["EIO", "ENOSPC"]) {
    it(`stops for good when a sync fails with ${code}, and leaves no line to believe`, async () => {
      const journal = createJournal(file, 0);
      await journal.append("one\n");
      const { datasync } = file;
      file.datasync = refuse(code);
      await assert.rejects(journal.append("two\n"), { code: "spool-failed", exitCode: 75 });
      file.datasync = datasync;
      await assert.rejects(journal.append("two\n"), { code: "internal" });
      assert.equal(await readFile(path, "utf8"), "one\n");
    });
  }

  it("has the line of a page that is acknowledged while its file is looked for", async () => {
    const checkpoints = (await makeSealed(2)).map((page) => makeCheckpoint(key, page));
    const journal = createJournal(file, 0);
    let acked = 0;
    const acknowledge = async (page: number) => {
      await journal.append(encodeLine(key, [checkpoints[page]!]));
      acked += 1;
      return undefined;
    };
    const of = (readPage: (page: number) => Promise<undefined>) =>
      Array.fromAsync(
        replayDigests(
          { first: 0, end: 2 },
          { disk: realDisk, journalPath: path, key, journal, acknowledged: () => acked, readPage },
        ),
      );
    const found = await of(acknowledge);
    assert.deepEqual(found, checkpoints);
    acked = 0;
    await assert.rejects(
      of(async () => undefined),
      { code: "internal", message: /page 0 is acknowledged before its file is gone/ },
    );
  });
});
