/**
 * Where a MySQL or MariaDB server is and how it is reached, as a URL says it.
 *
 * TLS as with the servers' own clients: `ssl-mode=verify_identity` (certificate and host name), `required` (encrypted,
 * unverified) or `disabled`, and `ssl-ca=<file>`. Where nothing is said it is verified, but for a server on this machine.
 */
import { readFile } from "node:fs/promises";
import { PipelineError } from "../../errors.ts";
import { staysOnThisMachine } from "../this-machine.ts";

export interface MysqlPlace {
  readonly host: string;
  readonly port: number;
  /** Path of a socket, instead of host and port. */
  readonly socketPath?: string;
  readonly user: string;
  readonly password: string;
  readonly database?: string;
  readonly tls: TlsMode;
  /** Certificates (PEM) of the authorities to trust; the system's where none are given. */
  readonly ca?: string;
}

type TlsMode = "verify_identity" | "required" | "disabled";

const modes: ReadonlySet<string> = new Set(["verify_identity", "required", "disabled"]);
const known: ReadonlySet<string> = new Set(["ssl-mode", "ssl-ca", "socket"]);
const defaultPort = 3306;

/** @throws PipelineError `config-invalid`; neither message nor cause quotes the URL, which may hold a password */
export async function readMysqlUrl(url: string): Promise<MysqlPlace> {
  const parts = URL.canParse(url) ? new URL(url) : undefined;
  if (!parts) throw unreadable("it is no URL");
  const { searchParams: asked } = parts;
  for (const name of asked.keys())
    if (!known.has(name)) throw unreadable("it knows ssl-mode, ssl-ca and socket alone");
  const socketPath = asked.get("socket");
  const host = decode(parts.hostname).replace(/^\[|\]$/g, "") || "localhost";
  const isHere = socketPath !== null || staysOnThisMachine(host);
  const tls =
    asked.get("ssl-mode") ?? (isHere && !asked.has("ssl-ca") ? "disabled" : "verify_identity");
  if (!modes.has(tls)) throw unreadable("ssl-mode must be verify_identity, required or disabled");
  const database = decode(parts.pathname.slice(1));
  const authorities = asked.get("ssl-ca");
  return {
    host,
    port: parts.port === "" ? defaultPort : Number(parts.port),
    ...(socketPath !== null && { socketPath }),
    user: decode(parts.username),
    password: decode(parts.password),
    ...(database !== "" && { database }),
    tls: tls as TlsMode,
    ...(authorities !== null && { ca: await readAuthorities(authorities) }),
  };
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw unreadable("a `%` in it must be written `%25`");
  }
}

async function readAuthorities(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch {
    throw unreadable("the file of its ssl-ca cannot be read");
  }
}

const unreadable = (why: string): PipelineError =>
  new PipelineError(
    "config-invalid",
    `\`url\` cannot be read: ${why}; expected mysql://user:password@host:port/database?ssl-mode=…`,
  );
