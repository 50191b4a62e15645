/** Whether a server is who it should be: by the fingerprint that is pinned, or by the user's `known_hosts` (sshd(8)). */
import { createHash, createHmac } from "node:crypto";
import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { PipelineError, systemCode } from "../../errors.ts";
import type { SftpTarget } from "./sftp-target.ts";

export interface HostKeys {
  isTrusted(key: Buffer): boolean;
  /** Kinds of keys that are known; all when absent. */
  readonly kinds?: readonly string[];
}

export const fingerprintOf = (key: Buffer): string =>
  `SHA256:${createHash("sha256").update(key).digest("base64").replace(/=+$/, "")}`;

/** @throws PipelineError `config-invalid` where nothing says who the server must be. */
export async function readHostKeys(
  { host, port, hostKey }: SftpTarget,
  path = join(homedir(), ".ssh", "known_hosts"),
): Promise<HostKeys> {
  if (hostKey !== undefined) return { isTrusted: (key) => fingerprintOf(key) === hostKey };
  const text = await readFile(path, "utf8").catch((error: unknown) => {
    if (systemCode(error) === "ENOENT") return "";
    throw error;
  });
  const entries = text
    .split("\n")
    .flatMap((line) => entryOf(line, port === 22 ? host : `[${host}]:${port}`));
  const known = entries.filter(({ isRevoked }) => !isRevoked);
  const revoked = entries.filter(({ isRevoked }) => isRevoked);
  if (known.length === 0)
    throw new PipelineError(
      "config-invalid",
      "nothing says which key the SSH server must have; expected `hostKey: SHA256:…` (or SPILLWAY_SFTP_HOST_KEY), or the host in ~/.ssh/known_hosts",
    );
  const isIn = (list: typeof entries, key: Buffer) => list.some((entry) => entry.key.equals(key));
  return {
    isTrusted: (key) => isIn(known, key) && !isIn(revoked, key),
    kinds: [...new Set(known.flatMap(({ kind }) => signaturesOf(kind)))],
  };
}

/** An RSA key signs with a newer hash than its kind is named for. */
const signaturesOf = (kind: string): readonly string[] =>
  kind === "ssh-rsa" ? ["rsa-sha2-512", "rsa-sha2-256"] : [kind];

function entryOf(line: string, wanted: string) {
  const fields = line.trim().split(/\s+/);
  const marker = fields[0]?.startsWith("@") ? fields.shift() : undefined;
  const [hosts = "", kind = "", key = ""] = fields;
  if (marker === "@cert-authority" || key === "" || hosts.startsWith("#")) return [];
  const isRevoked = marker === "@revoked";
  // Of whichever host: such a key "must not ever be accepted", and its line mostly says `*`.
  const counts = isRevoked || hosts.split(",").some((pattern) => isNamed(pattern, wanted));
  return counts ? [{ kind, key: Buffer.from(key, "base64"), isRevoked }] : [];
}

/** A name as it is, or `|1|salt|hash` of it. Patterns with `*` name nobody here. */
function isNamed(pattern: string, wanted: string): boolean {
  const [, version, salt = "", hash] = pattern.split("|");
  if (version !== "1") return pattern.toLowerCase() === wanted.toLowerCase();
  const hashOf = (name: string) =>
    createHmac("sha1", Buffer.from(salt, "base64")).update(name).digest("base64");
  // ssh(1) hashes it in small letters, whoever writes it how.
  return hashOf(wanted.toLowerCase()) === hash || hashOf(wanted) === hash;
}
