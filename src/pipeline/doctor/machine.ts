/** Whether this machine lets a run keep its memory: Node, its flags, the container's limit; and what the budget leaves. */
import { PipelineError } from "../../errors.ts";
import { formatBytes } from "../../stages/atoms.ts";
import { doubt, fault, good, type Finding } from "../../stages/finding.ts";
import { pageWeight } from "../../stages/pages/chunk.ts";
import { usefulPages } from "../ledger.ts";
import type { PlanReport } from "../plan-types.ts";

// oxlint-disable-next-line typescript/require-await
export async function* examineMachine({ memoryBytes }: PlanReport): AsyncGenerator<Finding> {
  yield describeNode(process.version, {
    canRestart: typeof process.execve === "function",
    hasFlags: process.execArgv.length > 0 || Boolean(process.env["NODE_OPTIONS"]),
  });
  yield describeLimit(memoryBytes, process.constrainedMemory(), process.availableMemory());
}

export function describeNode(
  version: string,
  { canRestart, hasFlags }: { readonly canRestart: boolean; readonly hasFlags: boolean },
): Finding {
  if (hasFlags)
    return doubt(
      "node",
      `${version} with flags of your own`,
      "the memory promise was measured with spillway's; leave NODE_OPTIONS out for exports",
    );
  if (!canRestart)
    return doubt(
      "node",
      `${version} cannot be restarted with lean flags`,
      "an export weighs about 35 MiB more; use Node 24, or raise `memory`",
    );
  return good("node", version);
}

/**
 * @param limitBytes of the container (cgroup v1 or v2); 0 or more than any machine has when there is none
 * @param availableBytes what the machine could give now
 */
export function describeLimit(
  memoryBytes: number,
  limitBytes: number,
  availableBytes: number,
): Finding {
  const isLimited = limitBytes > 0 && limitBytes < Number.MAX_SAFE_INTEGER;
  const memory = formatBytes(memoryBytes);
  if (isLimited && limitBytes < memoryBytes)
    return fault(
      "memory",
      new PipelineError(
        "budget-too-small",
        `the limit of this container is ${formatBytes(limitBytes)}, below \`memory\` (${memory}); the kernel would end the run, raise the limit or lower \`memory\``,
      ),
    );
  if (availableBytes < memoryBytes)
    return doubt(
      "memory",
      `${formatBytes(availableBytes)} are free now, less than \`memory\` (${memory})`,
      "the run may be ended by the kernel or swap; make room first",
    );
  const limit = isLimited ? `, the limit is ${formatBytes(limitBytes)}` : ", no limit is set";
  return good("memory", `${formatBytes(availableBytes)} are free${limit}`);
}

/** How much of the budget is spoken for, and whether what is left feeds all threads. */
export function describeBudget(report: PlanReport): Finding {
  const { memoryBytes, leaseBytes, pageBytes, threads } = report;
  const used = report.ledger.reduce((sum, { bytes }) => sum + bytes, 0);
  const spare = `${formatBytes(used)} of ${formatBytes(memoryBytes)}, ${formatBytes(memoryBytes - used)} to spare`;
  const pages = Math.floor(leaseBytes / pageWeight(pageBytes));
  if (pages >= usefulPages(threads)) return good("budget", spare);
  return doubt(
    "budget",
    `${spare}; room for ${pages} pages at once`,
    `${usefulPages(threads)} keep all threads busy; raise \`memory\`, or lower \`chunk.size\``,
  );
}
