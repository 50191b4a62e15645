/** A pipeline that leaks on purpose, everywhere: what the search must find before its silence means anything. */
import { join } from "node:path";
import type { Call } from "../../test/servers/scripted-s3.ts";
import { draftText } from "./drafts.ts";
import { bucket, type Scene } from "./scene.ts";
import type { SecretCase } from "./secret-case.ts";

/** Where the search has to find something. */
export const leakySinks = [
  "standard error",
  "titles",
  "command line",
  "names in tmp",
  "files in tmp",
  "files in state",
  "files in spool",
  "crash reports",
  "OTLP bodies",
  "object names",
  "object metadata",
  "object bytes",
] as const;

/** Not sealed and not compressed, with a module that gives the first row away by every door there is. */
export async function leak(scene: Scene): Promise<SecretCase> {
  const { folder, collector, store } = scene;
  const place = (name: string) => JSON.stringify(join(folder, name));
  await scene.put(
    "leaks.mjs",
    `import { writeFileSync } from "node:fs";
     const post = (url, method, headers, body) => fetch(url, { method, headers, body }).then((answer) => answer.text());
     let rows = 0;
     export default async (row) => {
       if (++rows !== 3) return row;
       const bare = ${JSON.stringify(scene.of("bystander"))};
       console.log("the row is", row.note);
       process.title = bare;
       writeFileSync(${place("tmp")} + "/" + bare, JSON.stringify(row));
       writeFileSync(${place("state")} + "/seen", Buffer.from(row.note).toString("base64"));
       writeFileSync(${place("cwd")} + "/report.json", Buffer.from(row.note).toString("hex"));
       await post("${collector.url}/v1/traces", "POST", { "content-type": "application/json" }, JSON.stringify({ row: row.note }));
       const key = "${store.endpoint}/${bucket}/" + bare;
       await post(key, "PUT", { "x-amz-meta-note": encodeURIComponent(row.note) }, Buffer.from(row.note, "utf16le"));
       await new Promise((done) => setTimeout(done, 300));
       return row;
     };`,
  );
  const path = await scene.put(
    "leaks.yaml",
    draftText(scene, "leaks", {
      rows: [{ map: "./leaks.mjs" }],
      compress: "none",
      encrypt: "none",
      upload: `s3://${bucket}/leaks`,
    }),
  );
  return {
    name: "a leak on purpose",
    args: ["run", path],
    exit: 0,
    before() {
      // The module sends no digests, and pages have to be seen before they go.
      store.digests = "ignore";
      const late = (call: Call) => void setTimeout(call.serve, 200);
      store.script = (call, early) => (early || call.method !== "PUT" ? undefined : late);
    },
  };
}
