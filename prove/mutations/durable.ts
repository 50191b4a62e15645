/** Bugs planted where bytes become a file that survives a power cut. */
import type { Mutation } from "./mutation.ts";

const durableTests = ["test/stages/durable-file.test.ts"];

export const durableMutations: readonly Mutation[] = [
  {
    bug: "a file is written and not synced",
    file: "src/stages/durable-file.ts",
    find: "      await file.sync();\n    } finally",
    replace: "    } finally",
    why: "a power cut takes pages that were called durable",
    caughtBy: durableTests,
  },
  {
    bug: "a folder is not synced after names were added",
    file: "src/stages/durable-file.ts",
    find: "    await folder.sync();",
    replace: "",
    why: "a power cut takes the names of pages that were called durable",
    caughtBy: durableTests,
  },
  {
    bug: "a short write is taken as a whole one",
    file: "src/stages/durable-file.ts",
    find: "    at += bytesWritten;\n  }",
    replace: "    at = bytes.length;\n  }",
    why: "pages lose their tail on a disk that takes less than asked",
    caughtBy: durableTests,
  },
  {
    bug: "a short read is taken as a whole one",
    file: "src/stages/durable-file.ts",
    find: "    if (bytesRead === 0) break;\n    at += bytesRead;",
    replace: "    at += bytesRead;\n    break;",
    why: "whole pages look torn and are put aside",
    caughtBy: durableTests,
  },
  {
    bug: "a file that failed to be written stays",
    file: "src/stages/durable-file.ts",
    find: "    await disk.unlink(path).catch(() => {});\n    throw error;\n  }\n}\n\n/**\n * Writes the parts to `incoming`",
    replace: "    throw error;\n  }\n}\n\n/**\n * Writes the parts to `incoming`",
    why: "poisoned files fill the disk, and one may be believed",
    caughtBy: durableTests,
  },
  {
    bug: "files are made readable for all",
    file: "src/stages/durable-file.ts",
    find: "  mode = 0o600,",
    replace: "  mode = 0o666,",
    why: "sealed pages and the run's own key can be read by others",
    caughtBy: durableTests,
  },
  {
    bug: "folders are made for all to enter",
    file: "src/stages/durable-file.ts",
    find: "disk: Disk = realDisk, mode = 0o700)",
    replace: "disk: Disk = realDisk, mode = 0o777)",
    why: "whoever may write there can put pages of his own into the spool",
    caughtBy: durableTests,
  },
  {
    bug: "writing follows a symbolic link that lies in its place",
    file: "src/stages/durable-file.ts",
    find: "constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;",
    replace: "constants.O_CREAT | constants.O_TRUNC;",
    why: "any file of the user's can be overwritten through the spool",
    caughtBy: durableTests,
  },
];
