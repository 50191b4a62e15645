/** `assembly/` → the text of `machine-bytes.ts`, by the AssemblyScript compiler. */
import { main as compile } from "assemblyscript/asc";

const options =
  "assembly/records.ts -O3 --noAssert --runtime stub --importMemory --use abort= " +
  "--enable simd --enable bulk-memory --outFile machine.wasm";

/** @throws Error with the compiler's own words when the assembly does not compile */
export async function compileMachine(): Promise<string> {
  let machine: Uint8Array = new Uint8Array(0);
  const { error } = await compile(options.split(" "), {
    stderr: process.stderr,
    writeFile: (_name, content) => void (machine = Buffer.from(content)),
  });
  if (error) throw error;
  return `/** The module that \`assembly/\` compiles to; written by scripts/generate.ts. */
const base64 =
  "${Buffer.from(machine).toString("base64")}";

export const machineBytes = (): Buffer<ArrayBuffer> => Buffer.from(base64, "base64");
`;
}
