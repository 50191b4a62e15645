#!/usr/bin/env node
/**
 * Starts the command line on a Node that can run it: this one, or the one that lies in node_modules.
 * Plain JavaScript that every Node since 14 can parse; everything else is in dist/ (or src/, in a changed checkout).
 */
import { spawn } from "node:child_process";
import { existsSync, readdirSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { constants } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const here = fileURLToPath(import.meta.url);
const root = join(dirname(here), "..");
const args = process.argv.slice(2);
const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);

// An export keeps to its budget: a young generation of 1 MiB, one malloc arena, and of the compilers only the last are
// 27 MB less at the peak.
const isExport = args.find((arg) => !arg.startsWith("-")) === "run";
const leanFlags = isExport
  ? ["--max-semi-space-size=1", "--optimize-for-size", "--no-maglev", "--no-sparkplug"]
  : [];
const lean = {
  MALLOC_ARENA_MAX: "1",
  MALLOC_MMAP_THRESHOLD_: "131072",
  MALLOC_TRIM_THRESHOLD_: "131072",
};
const leanEnv = isExport ? { ...lean, ...process.env } : process.env;

if (major < 22 || (major === 22 && minor < 18)) {
  if (bundledNode()) startOn(bundledNode());
  else giveUp();
} else {
  // With flags of their own (a debugger, a profiler), users get what they ask for.
  const canRestart = process.platform !== "win32" && typeof process.execve === "function";
  if (isExport && canRestart && process.execArgv.length === 0) {
    const { execPath } = process;
    process.execve(execPath, [execPath, ...leanFlags, here, ...args], leanEnv);
  }
  await import(pathToFileURL(entry()).href);
}

/** What was built, unless a source file is newer: taking types away at every start costs 35 MB of memory. */
function entry() {
  const built = join(root, "dist", "cli", "main.js");
  const source = join(root, "src");
  if (!existsSync(source)) return built;
  const isCurrent = existsSync(built) && newestMillis(source) <= statSync(built).mtimeMs;
  return isCurrent ? built : join(source, "cli", "main.ts");
}

function newestMillis(folder) {
  const files = readdirSync(folder, { recursive: true }).filter((name) => name.endsWith(".ts"));
  return Math.max(...files.map((name) => statSync(join(folder, name)).mtimeMs));
}

/** The Node that `npm ci` brings along in a checkout; undefined elsewhere. */
function bundledNode() {
  try {
    const name = `node-${process.platform}-${process.arch}/package.json`;
    const node = join(dirname(createRequire(here).resolve(name)), "bin", "node");
    return existsSync(node) ? node : undefined;
  } catch {
    return undefined;
  }
}

function giveUp() {
  console.error(
    `spillway needs Node.js 22.18 or newer, this is ${process.versions.node}; ` +
      "install a newer one (https://nodejs.org), or in a checkout run `npm ci`, which brings one along",
  );
  process.exit(78);
}

/** Runs this file again on another Node; signals go to it, and its end becomes ours. */
function startOn(node) {
  const child = spawn(node, [...leanFlags, here, ...args], { stdio: "inherit", env: leanEnv });
  const signals = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"];
  for (const signal of signals) process.on(signal, () => child.kill(signal));
  child.on("error", (error) => {
    console.error(`spillway: ${node} does not start (${error.code})`);
    process.exit(78);
  });
  child.on("exit", (code, signal) => {
    if (signal === null) process.exit(code);
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
    // Some signals do not end a Node process; the shell's way of saying the same does.
    setTimeout(() => process.exit(128 + constants.signals[signal]), 100);
  });
}
