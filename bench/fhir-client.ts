/**
 * Clients that read a search or an export of `fhir-server.ts` and put it nowhere: as bytes, as objects, as records. Each
 * loads only what it uses itself, and prints how many resources it saw.
 */
import type { StageContext } from "../src/stages/stage.ts";

type Client = "transport" | "textbook" | "spillway";
const [client, mode, base, count] = process.argv.slice(2) as [Client, string, string, string];
let bytes = 0;
let resources = 0;

interface Bundle {
  readonly link: readonly { readonly relation: string; readonly url: string }[];
  readonly entry?: readonly { readonly resource: object }[];
}

/** Only the bytes, and of them what leads on. */
async function transport(): Promise<void> {
  const drain = async (url: string) => {
    let head = "";
    for await (const piece of (await fetch(url)).body ?? []) {
      if (head === "") head = Buffer.from(piece.subarray(0, 300)).toString();
      bytes += piece.length;
    }
    return /"next","url":"([^"]+)"/.exec(head)?.[1];
  };
  if (mode === "bulk") {
    for (let file = 0; file < 4; file += 1) await drain(`${new URL(base).origin}/files/${file}`);
    return;
  }
  for (
    let url: string | undefined = `${base}/Observation?_count=${count}`;
    url;
    url = await drain(url)
  );
}

/** What one would write first. */
async function textbook(): Promise<void> {
  const print = (resource: unknown) => {
    bytes += Buffer.byteLength(`${JSON.stringify(resource)}\n`);
    resources += 1;
  };
  if (mode === "bulk") {
    for (let file = 0; file < 4; file += 1) {
      const answer = await fetch(`${new URL(base).origin}/files/${file}`);
      for (const line of (await answer.text()).split("\n")) if (line) print(JSON.parse(line));
    }
    return;
  }
  for (let url: string | undefined = `${base}/Observation?_count=${count}`; url;) {
    const bundle = (await (await fetch(url)).json()) as Bundle;
    for (const { resource } of bundle.entry ?? []) print(resource);
    url = bundle.link.find(({ relation }) => relation === "next")?.url;
  }
}

async function spillway(): Promise<void> {
  const v = await import("valibot");
  const { fhirBulk, readFhirBulk } = await import("../src/stages/sources/fhir-bulk.ts");
  const { fhir, readFhir } = await import("../src/stages/sources/fhir.ts");
  const { signal } = new AbortController();
  const spool = { readNote: () => Promise.resolve(undefined), writeNote: () => Promise.resolve() };
  const context = { signal, spool, log: { info() {}, warn() {} } } as unknown as StageContext;
  const records =
    mode === "bulk"
      ? readFhirBulk(v.parse(fhirBulk.config, { url: base, export: "system" }), context)
      : readFhir(
          v.parse(fhir.config, { url: base, search: "Observation", count: Number(count) }),
          context,
        );
  for await (const batch of records) {
    bytes += batch.bytes.length;
    resources += batch.ends.length;
  }
}

const clients = { transport, textbook, spillway };
await clients[client]();
console.log(JSON.stringify({ resources, bytes }));
