/**
 * A module of `assembly/` → the text of the file that holds it, by the AssemblyScript compiler. A process of its own, since
 * the compiler's types would be those of everybody: they say that an array's `at` always finds something.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(import.meta.dirname, "..");
const options =
  "-O3 --noAssert --runtime stub --importMemory --use abort= --enable simd --enable bulk-memory";

/** @throws Error when the assembly does not compile; the compiler has said why */
export function compileMachine(entry: string): string {
  const bin = fileURLToPath(new URL("../bin/asc.js", import.meta.resolve("assemblyscript/asc")));
  const folder = mkdtempSync(join(tmpdir(), "spillway-machine-"));
  try {
    const outFile = join(folder, "machine.wasm");
    const args = [bin, entry, ...options.split(" "), "--outFile", outFile];
    execFileSync(process.execPath, args, { cwd: root, stdio: "inherit" });
    return `/** The module that \`${entry}\` compiles to; written by scripts/generate.ts. */
const base64 =
  "${readFileSync(outFile).toString("base64")}";

export const machineBytes = (): Buffer<ArrayBuffer> => Buffer.from(base64, "base64");
`;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
