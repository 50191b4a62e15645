/** Whether the source can be read: servers are asked, files are opened. */
import { PipelineError, systemCode } from "../../errors.ts";
import { formatBytes } from "../../stages/atoms.ts";
import { doubt, fault, good, type Finding } from "../../stages/finding.ts";
import { probeFhir } from "../../stages/sources/fhir/probe.ts";
import { fhirBulk } from "../../stages/sources/fhir-bulk.ts";
import { fhir } from "../../stages/sources/fhir.ts";
import { mysql } from "../../stages/sources/mysql.ts";
import { postgres } from "../../stages/sources/postgres.ts";
import { sqlite, tryQuery } from "../../stages/sources/sqlite.ts";
import { registry } from "../../stages/registry.ts";
import { postgresCopy } from "../../stages/sources/postgres-copy.ts";
import { probePostgres } from "../../stages/sources/postgres-probe.ts";
import type { ProbedQuery } from "../../stages/sources/postgres-query-probe.ts";
import { withFile, withoutWaiting } from "../with-file.ts";
import type { Examined } from "./examined.ts";

export async function* examineSource({ plan, signal }: Examined): AsyncGenerator<Finding> {
  // A lookup that may be pushed is not looked at here.
  const [source, next] = plan.configured[0]!.otherwise ?? plan.configured;
  const { name, definition, config } = source!;
  if (definition === postgres || definition === postgresCopy) {
    const { format } = (next?.config ?? {}) as { format?: unknown };
    // As a run would ask: what COPY prints needs no JSON of the server.
    const isText = definition === postgresCopy || (next?.name === "serialize" && format === "csv");
    yield* probePostgres(config as ProbedQuery, isText ? "text" : "json", signal);
    return;
  }
  if (definition === fhir || definition === fhirBulk) {
    yield* probeFhir(config as Parameters<typeof probeFhir>[0], signal);
    return;
  }
  if (definition === mysql) {
    const { probeMysql } = await import("../../stages/sources/mysql-probe.ts");
    yield* probeMysql(config as Parameters<typeof probeMysql>[0], signal);
    return;
  }
  const { path, query } = (config ?? {}) as { path?: unknown; query?: unknown };
  if (path === "-") yield good("file", "standard input");
  else if (typeof path === "string") {
    const file = await describeFile(path);
    yield file;
    if (file.code !== undefined) return;
  }
  if (definition === sqlite) yield await trySqlite(config as SqliteConfig, signal);
  else if (typeof query === "string")
    yield doubt("query", `that of ${name} is not looked at here`, tryAdvice);
  else if (registry.get(name) !== definition)
    yield doubt(
      "stage",
      `${name} is a stage of your own; what it needs is not looked at here`,
      tryAdvice,
    );
}

const tryAdvice = "`spillway plan --sample` reads its first rows, as a run would";

type SqliteConfig = Parameters<typeof tryQuery>[0];

async function trySqlite(config: SqliteConfig, signal: AbortSignal): Promise<Finding> {
  try {
    const columns = await tryQuery(config, signal);
    return good("query", `gives ${columns} column${columns === 1 ? "" : "s"}`);
  } catch (error) {
    if (error instanceof PipelineError && !signal.aborted) return fault("query", error);
    throw error;
  }
}

async function describeFile(path: string): Promise<Finding> {
  try {
    const found = await withFile(path, withoutWaiting, (file) => file.stat());
    if (found.isFile()) return good("file", `${path}: ${formatBytes(found.size)}`);
    return fault("file", new PipelineError("source-refused", `${path} is no file; expected one`));
  } catch (error) {
    const code = systemCode(error) ?? "unknown error";
    const isMissing = code === "ENOENT";
    return fault(
      "file",
      new PipelineError(
        isMissing ? "input-missing" : "source-refused",
        `${path} ${isMissing ? "does not exist" : `cannot be read (${code})`}; expected a file to read`,
        { cause: error },
      ),
    );
  }
}
