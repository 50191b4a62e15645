/** A compiled module of `assembly/`, started in a memory of its own. */

/** As much of it as is used here; TypeScript knows it of browsers alone. */
declare const WebAssembly: {
  Memory: new (size: { initial: number; maximum: number }) => { readonly buffer: ArrayBuffer };
  Module: new (bytes: Uint8Array) => object;
  Instance: new (
    module: object,
    imports: { env: { memory: object } },
  ) => { readonly exports: object };
};

const memoryPageBytes = 64 * 1024;

/** @param compiledBytes the module; compiled once, whatever is started of it */
export function createStarter(compiledBytes: () => Uint8Array) {
  let compiled: object | undefined;
  return (bytes: number): { exports: object; buffer: ArrayBuffer } => {
    const pages = Math.ceil(bytes / memoryPageBytes);
    const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
    compiled ??= new WebAssembly.Module(compiledBytes());
    const { exports } = new WebAssembly.Instance(compiled, { env: { memory } });
    return { exports, buffer: memory.buffer };
  };
}
