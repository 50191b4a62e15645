/** Bugs planted where an export is restored to a file for each value of a member. */
import type { Mutation } from "./mutation.ts";

const scannerTests = ["test/readback/member-scanner.test.ts"];
const filesTests = ["test/readback/restore-files.test.ts"];

export const apartMutations: readonly Mutation[] = [
  {
    bug: "the folder has its name before its records have proven complete",
    file: "src/readback/restore-files.ts",
    find: `    const files = await takeApart(content, new ValueFiles(incoming, by), by, signal);
    await syncFolder(incoming);
    signal.throwIfAborted();
    await giveName(incoming, path);`,
    replace: `    await giveName(incoming, path);
    const files = await takeApart(content, new ValueFiles(path, by), by, signal);
    await syncFolder(path);
    signal.throwIfAborted();`,
    why: "a part of an export, or a changed one, is taken for the whole",
    caughtBy: filesTests,
  },
  {
    bug: "a value is a file's name if it begins as one",
    file: "src/readback/value-files.ts",
    find: "{0,63}$/;",
    replace: "{0,63}/;",
    why: "whoever writes a record chooses where a file lies",
    caughtBy: filesTests,
  },
  {
    bug: "values that differ by case alone become two files",
    file: "src/readback/value-files.ts",
    find: "    this.#names.add(name.toLowerCase());",
    replace: "    this.#names.add(name);",
    why: "to some file systems they are one, and restoring fails there alone",
    caughtBy: filesTests,
  },
  {
    bug: "what waited for its value is left behind",
    file: "src/readback/value-files.ts",
    find: "      await this.#endWaiting(this.#first, signal);\n",
    replace: "      this.#waiting.bytes = 0;\n",
    why: "a record that goes over pages loses its beginning",
    caughtBy: filesTests,
  },
  {
    bug: "files of values are not synced",
    file: "src/readback/value-files.ts",
    find: "    for (const { handle } of files) await handle?.sync();\n",
    replace: "",
    why: "a power cut leaves empty files under names that say they are whole",
    caughtBy: filesTests,
  },
  {
    bug: "the name of a restored folder is not synced",
    file: "src/readback/restore-files.ts",
    find: "    await syncFolder(folder);\n",
    replace: "",
    why: "a power cut takes all of an export that was called restored",
    caughtBy: filesTests,
  },
  {
    bug: "of a member that comes twice, the second value counts",
    file: "src/readback/member-scanner.ts",
    find: "    if (this.#found !== undefined) throw twice(this.record, this.#member);\n",
    replace: "",
    why: "two readers take one record for two things",
    caughtBy: [...scannerTests, ...filesTests],
  },
  {
    bug: "an escape is forgotten where a page ends",
    file: "src/readback/member-scanner.ts",
    find: "    this.#escaped = at > end;",
    replace: "    this.#escaped = false;",
    why: "a quote within a text ends it, and what the text says is taken for members",
    caughtBy: scannerTests,
  },
];
