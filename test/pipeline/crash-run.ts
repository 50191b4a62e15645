/** Runs one export of counted rows, slowly enough to be killed on the way; the folder is the only argument. */
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { run } from "../../src/pipeline/run.ts";
import { countedRows, makePipeline } from "../fixtures/pipelines.ts";

const path = process.argv[2]!;
const source = countedRows({ rows: 400, onBatch: () => sleep(15) });
const pipeline = makePipeline({ source, dir: join(path, "spool"), to: join(path, "out") });
await run(pipeline, { env: { SIGN_KEY: process.env["SIGN_KEY"] } });
