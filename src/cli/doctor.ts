/** `spillway doctor`: what would make an export fail or weaken a promise, found before it, and what follows. */
import { errorCodes } from "../errors.ts";
import type { AreaFinding } from "../pipeline/doctor/examine.ts";
import { interrupted, listenForInterrupt } from "./interrupt.ts";
import { formatCounted, harmless } from "./screen.ts";
import type { Paint, Verb } from "./verb.ts";

export const doctor: Verb = {
  name: "doctor",
  summary: "Look for what would make an export fail or weaken a promise, before it runs",
  argument: ["<file>", "pipeline in YAML"],
  examples: ["spillway doctor export.yaml", "spillway doctor export.yaml --json"],
  notes: [
    "Asks the source, tries the spool and the destination (what it stores there is removed at once), reads no row.",
    "Exit codes: 0 when nothing fails, warnings or not; else what a run would end with, such as",
    "2 configuration, 4 source, 5 destination, 7 another run is under way, 75 no room.",
  ],
  async run(call) {
    const interrupt = listenForInterrupt(interrupted, () => {});
    try {
      const { examine } = await import("../pipeline/doctor/examine.ts");
      const { signal } = interrupt;
      const checks = await examine(call.argument, { env: call.env, signal });
      const exitCode = exitCodeOf(checks);
      const shown = call.quiet ? checks.filter(({ level }) => level !== "ok") : checks;
      return {
        document: { ok: exitCode === 0, exitCode, checks },
        text: (paint) => checksText(shown, checks, paint),
        isData: true,
        exitCode,
      };
    } finally {
      interrupt.dispose();
    }
  },
};

/** Of the first failure, as a run would meet it. */
function exitCodeOf(checks: readonly AreaFinding[]): number {
  const first = checks.find(({ code }) => code !== undefined);
  return first?.code === undefined ? 0 : errorCodes[first.code].exit;
}

function checksText(
  shown: readonly AreaFinding[],
  all: readonly AreaFinding[],
  paint: Paint,
): string {
  const width = Math.max(0, ...shown.map(({ check }) => check.length));
  const lines = shown.flatMap((finding, index) => {
    const isFirst = finding.area !== shown[index - 1]?.area;
    return [...(isFirst ? [paint.bold(finding.area)] : []), ...findingLines(finding, width, paint)];
  });
  const count = (level: AreaFinding["level"]) => all.filter((one) => one.level === level).length;
  const verdict = verdictOf(count("fail"), count("warn"), paint);
  return [...lines, ...(lines.length > 0 ? [""] : []), verdict].join("\n");
}

function findingLines(finding: AreaFinding, width: number, paint: Paint): string[] {
  const { level, check, found, advice } = finding;
  const colour = { ok: paint.green, warn: paint.yellow, fail: paint.red }[level];
  const head = `  ${colour(level.padEnd(4))}  ${check.padEnd(width)}  ${harmless(found)}`;
  if (advice === undefined) return [head];
  return [head, `${" ".repeat(width + 10)}${paint.dim(`→ ${harmless(advice)}`)}`];
}

function verdictOf(failures: number, warnings: number, { red, yellow, green }: Paint): string {
  if (failures > 0)
    return red(
      `${formatCounted(failures, "failure")}, ${formatCounted(warnings, "warning")}: a run would not succeed`,
    );
  if (warnings > 0) return yellow(`${formatCounted(warnings, "warning")}; nothing fails`);
  return green("all is well");
}
