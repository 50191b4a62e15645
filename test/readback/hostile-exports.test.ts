/** Exports and targets made to lead a restore elsewhere: every payload ends as a refusal or as the same rows, inside the target. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { generateKeyPairSync, type KeyObject } from "node:crypto";
import { link, mkdir, mkdtemp, readFile, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { pack, type Pack } from "tar-stream";
import { restoreExport } from "../../src/readback/restore.ts";
import { verifyExport } from "../../src/readback/verify.ts";
import { PipelineError } from "../../src/errors.ts";
import { forgeManifest, type Forgery } from "../fixtures/forge.ts";
import { makeExport, ndjsonPages, type MadeExport } from "../fixtures/make-export.ts";

const rows = ndjsonPages(30, 10)
  .map(({ content }) => String(content))
  .join("");
const canary = "what lies elsewhere";

/** Names that leave a folder, or mean another file than they seem to. */
const hostileNames = [
  "../evil",
  "../../evil",
  "/tmp/evil",
  "a/../../evil",
  "..",
  ".",
  "",
  "~/evil",
  "a\0b",
  "a\nb",
  "a\\..\\evil",
  "C:\\evil",
  "Observations",
  "obse\u0301rvations",
  "ob\u202eservations",
  "-rf",
  "*",
  "$(touch evil)",
  "x".repeat(5000),
];

describe("an export made to harm", () => {
  let root: string;
  let key: KeyObject;
  let made: MadeExport;
  let target: string;
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), "spillway-hostile-"));
    key = generateKeyPairSync("ed25519").privateKey;
    made = await makeExport(join(root, "out"), ndjsonPages(30, 10), { key });
    target = join(root, "target");
    await writeFile(join(root, "elsewhere"), canary);
  });
  afterEach(() => rm(root, { recursive: true }));

  /** A whole export with another manifest, signed by its own signer. */
  const forge = async (forgery: Forgery) => {
    await rm(made.folder, { recursive: true });
    made = await makeExport(join(root, "out"), ndjsonPages(30, 10), { key });
    await forgeManifest(made.folder, key, forgery);
  };
  const restore = async (url = made.folder) => {
    const { file } = await restoreExport(url, { to: target });
    return readFile(file!, "utf8");
  };
  const refused = async (work: Promise<unknown>, codes: RegExp) => {
    const error: unknown = await work.then(
      () => undefined,
      (reason: unknown) => reason,
    );
    assert.ok(error instanceof PipelineError, String(error));
    assert.match(error.code, codes);
  };
  /** Nothing but what the test put there. */
  const untouched = async (inTarget: readonly string[] = []) => {
    const others = ["elsewhere", "out", ...(inTarget.length > 0 ? ["target"] : [])];
    const found = (await readdir(root)).filter((name) => !name.startsWith("bundle"));
    assert.deepEqual(
      found.filter((name) => name !== "target" || inTarget.length > 0).toSorted(),
      others,
    );
    assert.deepEqual(await readdir(target).catch(() => []), inTarget);
    assert.equal(await readFile(join(root, "elsewhere"), "utf8"), canary);
  };

  it("by its signed names is refused before anything is written", async () => {
    const forgeries = hostileNames.flatMap((name): Forgery[] => [
      { head: (head) => ({ ...head, pipeline: name }) },
      { head: (head) => ({ ...head, run: name }) },
      { head: (head) => ({ ...head, layers: { ...head.layers, extension: name } }) },
    ]);
    for (const forgery of forgeries) {
      await forge(forgery);
      await refused(restore(), /^integrity-failed$/);
    }
    await untouched();
  });

  it("by the names of its pages is refused, though its signer meant them", async () => {
    for (const name of hostileNames) {
      const text = (manifest: string) =>
        manifest.replace('"name":"00000001.ndjson.zst"', `"name":${JSON.stringify(name)}`);
      await forge({ text });
      await refused(restore(), /^integrity-failed$/);
    }
    await untouched();
  });

  it("by prototypes in its manifest changes none", async () => {
    const before = Object.getOwnPropertyNames(Object.prototype).length;
    for (const evil of ['"__proto__":{"evil":1},', '"constructor":{"prototype":{"evil":1}},']) {
      await forge({ text: (manifest) => manifest.replace('"totals"', `${evil}"totals"`) });
      await refused(restore(), /^integrity-failed$/);
    }
    assert.equal(Object.getOwnPropertyNames(Object.prototype).length, before);
    assert.equal("evil" in {}, false);
  });

  it("by pages that are links, pipes or folders is refused, and what they lead to is not read", async () => {
    const page = join(made.folder, made.names[1]!);
    const replacements: readonly (readonly [() => Promise<unknown> | Buffer, RegExp])[] = [
      [() => symlink(join(root, "elsewhere"), page), /^destination-refused$/],
      [() => symlink("/dev/zero", page), /^destination-refused$/],
      [() => symlink(page, page), /^destination-refused$/],
      [() => execFileSync("mkfifo", [page]), /^integrity-failed$/],
      [() => mkdir(page), /^integrity-failed$/],
      [() => link(join(root, "elsewhere"), page), /^integrity-failed$/],
    ];
    for (const [replace, codes] of replacements) {
      await rm(page, { recursive: true });
      await replace();
      await refused(restore(), codes);
    }
    await untouched();
  });

  it("with objects nobody signed restores to the signed rows alone; verify names them", async () => {
    const foreign = ["evil.sh", "00000099.ndjson.zst", "a/b/observations.ndjson", "-rf"];
    await mkdir(join(made.folder, "a", "b"), { recursive: true });
    for (const name of foreign) await writeFile(join(made.folder, name), canary);
    await symlink(join(root, "elsewhere"), join(made.folder, "link"));
    assert.equal(await restore(), rows);
    await untouched(["observations.ndjson"]);
    const { problems } = await verifyExport(made.folder, { level: "bytes" });
    const named = problems.map(({ object }) => object);
    for (const name of foreign) assert.ok(named.includes(name), name);
  });

  it("never writes over what is there, or through it, whatever it is", async () => {
    const file = join(target, "observations.ndjson");
    const taken: readonly (() => Promise<unknown> | Buffer)[] = [
      () => writeFile(file, "mine"),
      () => symlink(join(root, "elsewhere"), file),
      () => symlink(join(root, "nowhere"), file),
      () => symlink("/dev/null", file),
      () => execFileSync("mkfifo", [file]),
      () => mkdir(file),
    ];
    for (const take of taken) {
      await rm(target, { recursive: true, force: true });
      await mkdir(target);
      await take();
      await refused(restore(), /^config-invalid$/);
      await untouched(["observations.ndjson"]);
    }
  });

  describe("in a tar file", () => {
    const bundle = () => join(root, "bundle.tar");
    /** The export as a tar file, between entries of somebody else's. */
    const bundled = async (add: (archive: Pack) => void, replaced?: string) => {
      const archive = pack();
      add(archive);
      for (const name of await readdir(made.folder)) {
        if (name === replaced) continue;
        const place = `observations/${basename(made.folder)}/${name}`;
        archive.entry({ name: place }, await readFile(join(made.folder, name)));
      }
      archive.finalize();
      await writeFile(
        bundle(),
        Buffer.concat(await Array.fromAsync(archive as AsyncIterable<Buffer>)),
      );
      return `tar:${bundle()}`;
    };

    it("with entries that climb, link or are devices restores to the signed rows alone", async () => {
      const url = await bundled((archive) => {
        for (const name of hostileNames.filter((name) => name !== "" && !name.includes("\0")))
          archive.entry({ name }, canary);
        for (const type of ["symlink", "link"] as const) {
          archive.entry({ name: `by-${type}`, type, linkname: join(root, "elsewhere") });
          archive.entry({ name: `observations/by-${type}`, type, linkname: "../../../elsewhere" });
        }
        for (const type of ["character-device", "block-device", "fifo", "directory"] as const)
          archive.entry({ name: `a-${type}`, type, devmajor: 1, devminor: 3 });
      });
      assert.equal(await restore(url), rows);
      await untouched(["observations.ndjson"]);
    });

    it("with a link or other bytes in a page's place is refused", async () => {
      const [page = ""] = made.names;
      const name = `observations/${basename(made.folder)}/${page}`;
      const whole = await readFile(join(made.folder, page));
      const other = Buffer.from(whole).fill(1);
      const others: readonly ((archive: Pack) => void)[] = [
        (archive) => archive.entry({ name, type: "symlink", linkname: join(root, "elsewhere") }),
        (archive) => archive.entry({ name, type: "link", linkname: join(root, "elsewhere") }),
        (archive) => archive.entry({ name }, other),
      ];
      for (const add of others) {
        await refused(restore(await bundled(add, page)), /^integrity-failed$/);
        await untouched();
      }
    });

    it("that is itself a link, a pipe or no tar is refused", async () => {
      const others: readonly (() => Promise<unknown> | Buffer)[] = [
        () => symlink(join(root, "elsewhere"), bundle()),
        () => execFileSync("mkfifo", [bundle()]),
        () => writeFile(bundle(), Buffer.alloc(4096, 7)),
        () => mkdir(bundle()),
      ];
      for (const make of others) {
        await rm(bundle(), { recursive: true, force: true });
        await make();
        await refused(restore(`tar:${bundle()}`), /^(destination-\w+|integrity-failed|not-found)$/);
      }
      await untouched();
    });
  });
});
