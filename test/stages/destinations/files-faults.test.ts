/** Destinations `file:` and `tar:` on a disk that fails in every way of the script. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openDestination } from "../../../src/stages/destinations/schemes.ts";
import { objectOf, readAll } from "../../contract/destination-contract.ts";
import { type FaultyStore, comesTo, destinationFaults } from "../../contract/destination-faults.ts";
import {
  type FailingFiles,
  type FileFault,
  type Verb,
  failFiles,
  failure,
} from "../../fixtures/failing-files.ts";

const never = new AbortController().signal;
const unmet = comesTo("nobody answers for a disk");
const noDeadline = "a call to a disk cannot be taken back; the run leaves its stage behind";
const trusted = "what a disk says it has written and synced is believed; `verify` reads it";

for (const scheme of ["file", "tar"] as const) {
  describe(`destination ${scheme} on a failing disk`, () => {
    let base: string;
    let files: FailingFiles;
    const out = () => join(base, "out");
    const url = () => (scheme === "tar" ? `tar://${join(out(), "bundle.tar")}` : out());
    const open = () => openDestination(url(), { timeoutMillis: 5000 });

    before(async () => {
      base = await mkdtemp(join(tmpdir(), "spillway-faults-"));
      files = failFiles(base);
    });
    after(async () => {
      files.restore();
      await rm(base, { recursive: true });
    });

    const once = (on: Verb, play: FileFault["play"], at?: RegExp) => () =>
      void files.faults.push({ on, play, ...(at && { at }) });
    const fails = (code: string) => async () => {
      throw failure(code);
    };
    const thenFails = (code: string, bytes?: number) => async (go: (bytes?: number) => unknown) => {
      await go(bytes);
      throw failure(code);
    };
    const sips = (at: RegExp) => () => {
      for (const bytes of [1, 7, 1000]) once("read", (go) => go(bytes), at)();
    };
    /** What is written of an object: the whole file, or a part of the bundle. */
    const body = scheme === "file" ? /\.incoming-[^/]*$/ : /\.partial$/;
    const folder = scheme === "file" ? /\/r$/ : body;

    const faulty: FaultyStore = {
      persists: false,
      mostAsked: 1000,
      open,
      async stored(name) {
        if (scheme === "file") return readFile(join(out(), name)).catch(() => undefined);
        const destination = await open();
        const found = await readAll(destination, name).catch(() => undefined);
        await destination.close();
        return found;
      },
      async plant(name, bytes) {
        const destination = await open();
        await destination.put(objectOf(name, bytes), never);
        await destination.close();
      },
      came: () => files.faults.length === 0,
      asked: () => files.calls,
      strayed: () => 0,
      heal: () => void (files.faults.length = 0),
      reset: () => rm(out(), { recursive: true, force: true }),
      foldCase: "file systems here do not",
      writing: {
        ...unmet.writing,
        "stores and loses the answer":
          scheme === "file"
            ? once("sync", fails("EIO"), folder)
            : once("sync", thenFails("EIO"), body),
        "loses the request": once("write", fails("EIO"), body),
        "breaks off in the middle of the request": once("write", thenFails("EIO", 300), body),
        "damages the bytes on their way": trusted,
        "takes less at a time than it is given": () => {
          for (const bytes of [1, 7, 1000]) once("write", (go) => go(bytes), body)();
        },
        "has no room for a while": once("write", thenFails("ENOSPC", 300), body),
        "never answers": noDeadline,
        "answers byte by byte": noDeadline,
        "takes the request byte by byte": noDeadline,
        "refuses before it has read": "rights are asked for when a file is opened",
        "sends elsewhere": "symbolic links are refused; the destination's own test shows it",
        "keeps a part": trusted,
        "keeps other bytes": trusted,
        "keeps an empty object": trusted,
        "shows what it stored only later": trusted,
        "ignores conditions": "a hard link and an exclusive file cannot overwrite",
        "refuses conditions": "a file system without hard links is refused",
      },
      reading: {
        ...unmet.reading,
        "gives less at a time than it is asked for": sips(/page$|\.partial$/),
        "ends in the middle": once("read", async () => ({ bytesRead: 0 }), /page$|\.partial$/),
        "resets in the middle": once("read", fails("EIO"), /page$|\.partial$/),
        "never answers": noDeadline,
        "falls silent in the middle, again and again": noDeadline,
        "gives a byte at a time": noDeadline,
        "changes the object in the middle": "readers compare digests",
        "sends elsewhere": "symbolic links are refused; the destination's own test shows it",
      },
      listing: {
        ...unmet.listing,
        "gives less at a time than it is asked for":
          scheme === "tar" ? sips(body) : "names come whole",
        "never answers": noDeadline,
        "answers byte by byte": noDeadline,
      },
    };

    destinationFaults(faulty);
  });
}
