/**
 * Resources a second from a FHIR server, through pages of a search, through one page of everything, and through a bulk
 * export: against the bytes alone, and against the program one would write first.
 *
 *   node bench/fhir.ts [--resources 100000] [--runs 3]
 */
import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { leanEnv, leanFlags } from "./lean.ts";
import { measure, median, type Measured } from "./measure.ts";

const { values } = parseArgs({
  options: {
    resources: { type: "string", default: "100000" },
    runs: { type: "string", default: "3" },
  },
});
const resources = Number(values.resources);
const at = (name: string) => fileURLToPath(new URL(name, import.meta.url));

const server = spawn(process.execPath, [at("fhir-server.ts"), values.resources, "1000"], {
  stdio: ["ignore", "pipe", "inherit"],
});
const port = await new Promise<string>((ready) =>
  server.stdout.once("data", (text: Buffer) => ready(text.toString().trim())),
);
const base = `http://127.0.0.1:${port}/fhir`;
const folder = await mkdtemp(join(tmpdir(), "bench-fhir-"));
const node = process.execPath;
// As a run starts where JavaScript works on every row.
const lean = leanFlags.filter((flag) => flag !== "--no-opt").join(" ");

const config = (source: string) => `name: bench
memory: 112MiB
stages:
  - ${source}
  - serialize: ndjson
  - chunk: 1MiB
  - compress: zstd
  - encrypt: { to: age1lggyhqrw2nlhcxprm67z43rta597azn8gknawjehu9d9dl0jq3yqqvfafg }
  - spool: ${folder}/spool
  - upload: ${folder}/out
`;
const cases = {
  "search, pages of 1000": { mode: "search", count: 1000 },
  "search, one page of all": { mode: "search", count: Math.min(resources, 100_000) },
  "bulk, 4 files": { mode: "bulk", count: 1000 },
};

try {
  console.log(
    "| read as | client | resources/s | resources per CPU s | × textbook, per CPU s | peak RSS |",
  );
  console.log("| --- | --- | --- | --- | --- | --- |");
  for (const [name, { mode, count }] of Object.entries(cases)) {
    const source =
      mode === "bulk"
        ? `fhir-bulk: { url: "${base}", export: system }`
        : `fhir: { url: "${base}", search: Observation, count: ${count} }`;
    await writeFile(join(folder, `${mode}-${count}.yaml`), config(source));
    const client = (of: string, flags = "") =>
      `${node} ${flags} ${at("fhir-client.ts")} ${of} ${mode} ${base} ${count} 2>> ${folder}/log`;
    const contenders = {
      "transport (bytes to nowhere)": client("transport"),
      "textbook (fetch, JSON.parse, JSON.stringify)": client("textbook"),
      "spillway, records to nowhere": client("spillway", lean),
      "spillway run, sealed to a folder": `${node} ${at("../bin/spillway.js")} run -q ${folder}/${mode}-${count}.yaml`,
    };
    await compare(name, contenders);
  }
} finally {
  server.kill();
  await rm(folder, { recursive: true });
}

/** Contenders take turns; the first round warms up. */
async function compare(name: string, contenders: Readonly<Record<string, string>>): Promise<void> {
  const runs = new Map<string, Measured[]>();
  for (let round = 0; round <= Number(values.runs); round += 1)
    for (const [contender, script] of Object.entries(contenders)) {
      const env = { XDG_STATE_HOME: folder, ...(contender.startsWith("spillway,") && leanEnv) };
      const measured = await measure(script, { env });
      if (round > 0) runs.set(contender, [...(runs.get(contender) ?? []), measured]);
    }
  const rate = (contender: string, of: "seconds" | "clientSeconds") =>
    resources / median(runs.get(contender)!.map((one) => one[of]));
  const [, textbook] = Object.keys(contenders);
  for (const contender of Object.keys(contenders)) {
    const perCpu = rate(contender, "clientSeconds");
    const peak = Math.max(...runs.get(contender)!.map(({ peakRssBytes }) => peakRssBytes));
    console.log(
      `| ${name} | ${contender} | ${Math.round(rate(contender, "seconds"))} | ${Math.round(perCpu)} | ${(perCpu / rate(textbook!, "clientSeconds")).toFixed(2)} | ${(peak / 2 ** 20).toFixed(0)} MiB |`,
    );
  }
}
