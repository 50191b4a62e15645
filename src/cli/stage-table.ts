/** Where the time of a run goes, stage by stage, for people. */
import type { StageSummary } from "../pipeline/summary.ts";
import { formatBytes } from "../stages/atoms.ts";
import { alignColumns, formatCount } from "./screen.ts";
import type { Paint } from "./verb.ts";

export function stageTable(stages: readonly StageSummary[], { dim, cyan }: Paint): string[] {
  const work = stages.reduce((sum, { busySeconds }) => sum + busySeconds, 0);
  const head = ["Stage", "Works", "Share", "Waits before", "Waits after", "Rows", "Bytes"];
  const seconds = (value: number) => `${value.toFixed(2)} s`;
  const lines = stages.map((stage) => [
    cyan(stage.name),
    seconds(stage.busySeconds),
    work === 0 ? "-" : `${Math.round((100 * stage.busySeconds) / work)} %`,
    seconds(stage.starvedSeconds),
    seconds(stage.blockedSeconds),
    formatCount(stage.rows),
    formatBytes(stage.bytes),
  ]);
  return alignColumns([head.map(dim), ...lines], { right: [1, 2, 3, 4, 5, 6] });
}
