/** Stores and acknowledges one page, and says so; run under a tracer of system calls. */
import { writeSync } from "node:fs";
import { join } from "node:path";
import { makeSealed, never, openTestSpool } from "../../fixtures/pages.ts";

const spool = await openTestSpool(join(process.argv[2]!, "spool"));
writeSync(1, "SAYS open\n");
const [page] = await makeSealed(1);
const durable = await spool.store(page!, never).durable;
writeSync(1, "SAYS durable\n");
await spool.acknowledge(durable, never);
writeSync(1, "SAYS acknowledged\n");
await spool.close();
