/** `spillway serve`: runs pipelines at the slots of their `schedule`, for as long as it lives. */
import { once } from "node:events";
import { failureText } from "./failure.ts";
import { interrupted, listenForInterrupt } from "./interrupt.ts";
import { harmless, paintFor } from "./screen.ts";
import type { Call, Verb } from "./verb.ts";
import type { Health } from "../pipeline/serve/health.ts";
import type { StartRun } from "../pipeline/serve/runs.ts";
import type { Server, ServerInit } from "../pipeline/serve/server.ts";

const usualAddress = "127.0.0.1:9470";

export const serve: Verb = {
  name: "serve",
  summary: "Run pipelines at the times of their schedule, for as long as it lives",
  argument: ["<path...>", "pipelines in YAML, or folders of them"],
  options: [
    {
      flags: "--listen <host:port>",
      description: `where /healthz, /readyz and /status answer (default: ${usualAddress})`,
    },
  ],
  examples: ["spillway serve nightly.yaml", "spillway serve /etc/spillway --listen 0.0.0.0:9470"],
  notes: [
    "SIGHUP reads the files again; a run under way goes on, and a broken file stays as it was.",
    "Ctrl-C or SIGTERM stops what runs cleanly; the next start takes it up.",
    "Each run is a process of its own, `spillway run <file> --slot <time>`; docs/nightly.md says more.",
  ],
  async run(call) {
    const tell = (line: string) => call.quiet || say(line);
    const { runProcesses } = await import("./run-process.ts");
    const runs = runProcesses(process.env, (name, line) => tell(`${name}: ${line}`));
    const interrupt = listenForInterrupt(
      interrupted,
      () => tell("stopping; runs are stopped cleanly"),
      runs.kill,
    );
    // Runs have a deadline of their own, and are waited for.
    interrupt.overdue.catch(() => {});
    const address = call.text("listen") ?? usualAddress;
    let health: Health | undefined;
    try {
      const server = await begin(call, tell, runs.start, async (status) => {
        const { listenForHealth } = await import("../pipeline/serve/health.ts");
        health = await listenForHealth(address, status);
      });
      await serveUntil(interrupt.signal, server, health!.url, tell);
      return { document: server.status, text: () => "" };
    } finally {
      await health?.close();
      interrupt.dispose();
    }
  },
};

async function begin(
  call: Call,
  log: (line: string) => void,
  start: StartRun,
  listen: ServerInit["listen"],
): Promise<Server> {
  const { startServer } = await import("../pipeline/serve/server.ts");
  const starting = startServer({
    listen,
    paths: call.operands,
    env: call.env,
    start,
    log,
    onBroken: (error) => say(failureText(error, paintFor(process.stderr), false)),
  });
  // A file may change while the first of them are read.
  process.on("SIGHUP", () => void starting.then((server) => server.reload()).catch(() => {}));
  return starting;
}

async function serveUntil(
  signal: AbortSignal,
  server: Server,
  url: string,
  tell: (line: string) => void,
): Promise<void> {
  try {
    const { pipelines } = server.status;
    tell(`serving ${pipelines.length} pipelines, ${url}/status`);
    for (const { name, next } of pipelines) tell(`${name}: next slot ${next ?? "never"}`);
    if (!signal.aborted) await once(signal, "abort");
  } finally {
    await server.stop();
  }
}

const say = (line: string) =>
  void process.stderr.write(`${new Date().toISOString()} ${harmless(line)}\n`);
