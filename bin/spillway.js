#!/usr/bin/env node
/**
 * Starts the command line on a Node that can run it: this one, or the one that lies in node_modules.
 * Plain JavaScript that every Node since 14 can parse; everything else is in dist/ (or src/, in a changed checkout).
 */
// SIGUSR2 asks a run for a profile; to come before it listens, or to another command, must end nothing.
process.on("SIGUSR2", () => {});

const args = process.argv.slice(2);
const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);

// An export keeps to its budget: a young generation of 1 MiB, one malloc arena, and no compiler but for WebAssembly are
// 35 MB less at the peak; for a collector within reach, no context is made to get at it. Where JavaScript works on rows,
// the command calls one of the compilers back. The heap is small enough to be collected in one go (15 ms): while V8 marks it
// piece by piece, it grows by 2 to 5 MB.
const isExport = args.find((arg) => !arg.startsWith("-")) === "run";
const leanFlags = isExport
  ? [
      "--max-semi-space-size=1",
      "--expose-gc",
      "--optimize-for-size",
      "--no-incremental-marking",
      "--no-short-builtin-calls",
      "--no-opt",
      "--no-maglev",
      "--no-sparkplug",
    ]
  : [];
// V8 writes the profile of each thread as it ends.
const profiles = isExport ? valueOf("--profile") : undefined;
if (profiles) leanFlags.push("--cpu-prof", `--cpu-prof-dir=${profiles}`);
// One arena, and page-sized memory stays in it when it is freed: given back to the kernel, it would be cleared and mapped
// anew for each page.
const leanAllocator = {
  MALLOC_ARENA_MAX: "1",
  MALLOC_MMAP_THRESHOLD_: String(32 * 2 ** 20),
  MALLOC_TRIM_THRESHOLD_: String(64 * 2 ** 20),
};
const leanEnv = isExport ? { ...leanAllocator, ...process.env } : process.env;

if (major < 22 || (major === 22 && minor < 18)) {
  const node = await bundledNode();
  if (node) await startOn(node);
  else giveUp();
} else {
  // With flags of their own (a debugger, a profiler), users get what they ask for.
  const canRestart = process.platform !== "win32" && typeof process.execve === "function";
  if (isExport && canRestart && process.execArgv.length === 0) {
    const { execPath } = process;
    process.execve(execPath, [execPath, ...leanFlags, process.argv[1], ...args], leanEnv);
  }
  // The allocator has read them by now; what a stage of one's own starts has work of another kind.
  if (isExport)
    for (const [name, value] of Object.entries(leanAllocator))
      if (process.env[name] === value) delete process.env[name];
  // Until the command listens for itself: nothing has begun, and the same command begins it.
  if (isExport)
    for (const name of ["SIGINT", "SIGTERM"]) process.once(name, () => process.exit(75));
  // The lock of a spool is SQLite's, of which Node warned on standard error before version 26.
  const { emitWarning } = process;
  process.emitWarning = (warning, ...rest) => {
    if (!String(warning).startsWith("SQLite")) emitWarning.call(process, warning, ...rest);
  };
  // Stacks are of the bundle; its maps are read only by who wants to see them.
  if (args.includes("--debug")) process.setSourceMapsEnabled(true);
  await import(entry().href);
}

/** The value of an option, as `--name value` or `--name=value`. */
function valueOf(name) {
  const at = args.findIndex((arg) => arg === name || arg.startsWith(`${name}=`));
  if (at === -1) return undefined;
  return args[at] === name ? args[at + 1] : args[at].slice(name.length + 1);
}

/**
 * What was built, unless a source file is newer: taking types away at every start costs 35 MB of memory. An export has a
 * command line of its own, without the other verbs.
 */
function entry() {
  const { existsSync, readdirSync, statSync } = process.getBuiltinModule("node:fs");
  const { fileURLToPath } = process.getBuiltinModule("node:url");
  const name = isExport ? "main-run" : "main";
  const built = new URL(`../dist/js/${name}.js`, import.meta.url);
  const source = new URL("../src/", import.meta.url);
  if (!existsSync(source)) return built;
  const folder = fileURLToPath(source);
  const files = readdirSync(folder, { recursive: true }).filter((name) => name.endsWith(".ts"));
  const newest = Math.max(...files.map((name) => statSync(folder + name).mtimeMs));
  const isCurrent = existsSync(built) && newest <= statSync(built).mtimeMs;
  return isCurrent ? built : new URL(`cli/${name}.ts`, source);
}

/** The Node that `npm ci` brings along in a checkout; undefined elsewhere. */
async function bundledNode() {
  const { existsSync } = await import("fs");
  const { createRequire } = await import("module");
  const { dirname, join } = await import("path");
  try {
    const name = `node-${process.platform}-${process.arch}/package.json`;
    const node = join(dirname(createRequire(import.meta.url).resolve(name)), "bin", "node");
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
async function startOn(node) {
  const { spawn } = await import("child_process");
  const { constants } = await import("os");
  const child = spawn(node, [...leanFlags, process.argv[1], ...args], {
    stdio: "inherit",
    env: leanEnv,
  });
  const signals = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"];
  for (const signal of signals) process.on(signal, () => child.kill(signal));
  // Its Node has begun by then; before, this signal would end it.
  setTimeout(() => process.on("SIGUSR2", () => child.kill("SIGUSR2")), 1000).unref();
  child.on("error", (error) => {
    console.error(`spillway: ${node} does not start (${error.code})`);
    process.exit(78);
  });
  child.on("exit", (code, signal) => {
    process.exitCode = code;
    if (signal === null) return;
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
    // Some signals do not end a Node process; the shell's way of saying the same does.
    setTimeout(() => process.exit(128 + constants.signals[signal]), 100);
  });
}
