/** Whether the source can be read: servers are asked, files are opened. */
import { constants } from "node:fs";
import { open } from "node:fs/promises";
import { PipelineError, systemCode } from "../../errors.ts";
import { formatBytes } from "../../stages/atoms.ts";
import { doubt, fault, good, type Finding } from "../../stages/finding.ts";
import { probeFhir } from "../../stages/sources/fhir/probe.ts";
import { fhirBulk } from "../../stages/sources/fhir-bulk.ts";
import { fhir } from "../../stages/sources/fhir.ts";
import { mysql } from "../../stages/sources/mysql.ts";
import { postgres } from "../../stages/sources/postgres.ts";
import { postgresCopy } from "../../stages/sources/postgres-copy.ts";
import { probePostgres, type ProbedQuery } from "../../stages/sources/postgres-probe.ts";
import type { Examined } from "./examine.ts";

export async function* examineSource({ plan, signal }: Examined): AsyncGenerator<Finding> {
  const { name, definition, config } = plan.configured[0]!;
  if (definition === postgres || definition === postgresCopy) {
    const [, next] = plan.configured;
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
    yield doubt(
      "server",
      "a MySQL server is not looked at here",
      "`spillway plan --sample` reads its first rows, as a run would",
    );
    return;
  }
  const { path } = (config ?? {}) as { path?: unknown };
  if (typeof path !== "string")
    yield doubt(
      "stage",
      `${name} is a stage of your own`,
      "what it needs is not looked at here; try it with a small export",
    );
  else if (path === "-") yield good("file", "standard input");
  else yield await describeFile(path);
}

async function describeFile(path: string): Promise<Finding> {
  try {
    await using file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const found = await file.stat();
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
