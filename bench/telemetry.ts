/**
 * What does telemetry cost the whole job: in time, CPU and memory?
 *
 *   node bench/telemetry.ts [--rows n] [--runs 7] [--url postgres://…]
 *
 * The same export four ways, in turns: telemetry switched off; nothing asked for (the API is loaded, and its spans go
 * nowhere); `sdk: light`; `sdk: node`. The last two export traces and metrics by OTLP/HTTP to a receiver in this process,
 * which must get every span of every run. Off and API run the same code, so that their difference is the noise of the table.
 * A span more or less is below what a clock on the wall can tell: CPU seconds are the figure to look at.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { createKey } from "../test/fixtures/keys.ts";
import { startOtlpReceiver, type OtlpReceiver } from "../test/servers/otlp-receiver.ts";
import { contest, medianOf, printTable, ratioOf, type Contender, type Rounds } from "./contest.ts";
import { buildWhenChanged, ndjsonOf, writeJob } from "./job.ts";
import type { Measured } from "./measure.ts";
import { openServer } from "./server.ts";
import { createTable, tableOf } from "./tables.ts";

const MiB = 2 ** 20;
const ways = ["off", "api", "light", "eager", "node"] as const;
type Way = (typeof ways)[number];

const names: Readonly<Record<Way, string>> = {
  off: "off (`OTEL_SDK_DISABLED=true`)",
  api: "nothing asked for: the API alone",
  light: "`sdk: light`",
  eager: "`sdk: light`, metrics every second",
  node: "`sdk: node`",
};

async function contenderOf(
  way: Way,
  place: { folder: string; url: string; to: string },
  receiver: OtlpReceiver,
): Promise<Contender> {
  const silent = way === "off" || way === "api";
  const sdk = way === "node" ? "node" : "light";
  const { script, out } = await writeJob(place.folder, {
    name: way,
    records: ndjsonOf(place.url, "select * from results"),
    to: place.to,
    // The full SDK does not fit the default; the room it gets is not used for anything else.
    memory: "160MiB",
    ...(!silent && { telemetry: { otlp: receiver.url, sdk } }),
  });
  const settings = { off: "OTEL_SDK_DISABLED=true ", eager: "OTEL_METRIC_EXPORT_INTERVAL=1000 " };
  const prefix = way === "off" || way === "eager" ? settings[way] : "";
  return { name: names[way], script: prefix + script, leaves: out };
}

function print(rounds: Rounds<Way>, receivers: ReadonlyMap<Way, OtlpReceiver>, runs: number): void {
  const off = rounds.off;
  const percent = (way: Way, figure: (measured: Measured) => number) =>
    `${(100 * (ratioOf(rounds[way], off, figure) - 1)).toFixed(1)} %`;
  const head = [
    "",
    "wall s",
    "more",
    "client CPU s",
    "more",
    "peak MiB",
    "RssAnon MiB",
    "spans",
    "metric readings",
  ];
  printTable([
    head,
    ...ways.map((way) => {
      const of = (figure: (measured: Measured) => number) => medianOf(rounds[way], figure);
      const { spans = [], metrics = [] } = receivers.get(way) ?? {};
      // The round that warms up exports as well.
      const each = (list: readonly unknown[]) => String(Math.round(list.length / (runs + 1)));
      return [
        names[way],
        of(({ seconds }) => seconds).toFixed(2),
        percent(way, ({ seconds }) => seconds),
        of(({ clientSeconds }) => clientSeconds).toFixed(2),
        percent(way, ({ clientSeconds }) => clientSeconds),
        (of(({ peakRssBytes }) => peakRssBytes) / MiB).toFixed(1),
        (of(({ peakAnonBytes }) => peakAnonBytes) / MiB).toFixed(1),
        each(spans),
        each(metrics),
      ];
    }),
  ]);
  printTable([
    ["goal", "wanted", "time", "CPU"],
    ["`sdk: light` against the API alone", "≤ 3 %", ...againstApi(rounds)],
  ]);
}

function againstApi(rounds: Rounds<Way>): string[] {
  const figures = [
    ({ seconds }: Measured) => seconds,
    // All that works while the job runs: where cores are scarce, that is its time.
    ({ clientSeconds, serverSeconds }: Measured) => clientSeconds + serverSeconds,
  ];
  return figures.map((of) => `${(100 * (ratioOf(rounds.light, rounds.api, of) - 1)).toFixed(1)} %`);
}

const { values } = parseArgs({
  options: {
    rows: { type: "string" },
    runs: { type: "string", default: "7" },
    url: { type: "string" },
  },
});
const runs = Number(values.runs);
buildWhenChanged();
const folder = await mkdtemp(join(tmpdir(), "spillway-telemetry-"));
const server = await openServer(values.url);
const receivers = new Map<Way, OtlpReceiver>();
try {
  const table = tableOf("results", values.rows);
  if (!values.url) await createTable(server.url, table);
  const { recipient } = await createKey();
  const place = { folder, url: server.url, to: recipient };
  const contenders: Partial<Record<Way, Contender>> = {};
  for (const way of ways) {
    const receiver = await startOtlpReceiver();
    receivers.set(way, receiver);
    contenders[way] = await contenderOf(way, place, receiver);
  }
  const options = { server, env: { XDG_STATE_HOME: join(folder, "state") } };
  const rounds = await contest(contenders as Record<Way, Contender>, runs, options);
  process.stdout.write(
    `Medians of ${runs} runs in turns; "more" is the median of each round's share against off; Node ${process.version}.\n\n`,
  );
  print(rounds, receivers, runs);
} finally {
  await server.stop();
  for (const receiver of receivers.values()) await receiver.close();
  await rm(folder, { recursive: true, force: true });
}
