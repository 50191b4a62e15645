/**
 * Which destination a URL means. Each scheme is loaded when it is first opened, so that what a run does not use
 * costs it no memory; checking a URL loads nothing and touches no network.
 */
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { PipelineError } from "../../errors.ts";
import type { Finding } from "../finding.ts";
import { staysOnThisMachine } from "../this-machine.ts";
import type {
  Destination,
  DestinationOptions,
  OpenDestination,
  ProbeDestination,
  ProbeOptions,
} from "./destination.ts";
import { folderSegmentsOf } from "./object-names.ts";
import { pathIdentity } from "./path-identity.ts";

interface Scheme {
  /** Whether its URL names a user and says how to connect. */
  readonly isServer?: true;
  /** Whether pages become rows there, so that it must be able to read them. */
  readonly takesRows?: true;
  readonly check: (url: URL) => void;
  readonly load: () => Promise<OpenDestination>;
  readonly loadProbe: () => Promise<ProbeDestination>;
}

const schemes: Record<string, Scheme> = {
  "file:": {
    check: checkPath,
    load: async () => (await import("./file.ts")).openFile,
    loadProbe: async () => (await import("./file-probe.ts")).probeFile,
  },
  "s3:": {
    check: checkBucket,
    load: async () => (await import("./s3.ts")).openS3,
    loadProbe: async () => (await import("./s3-probe.ts")).probeS3,
  },
  "tar:": {
    check: checkPath,
    load: async () => (await import("./tar.ts")).openTar,
    loadProbe: async () => (await import("./file-probe.ts")).probeTar,
  },
  "azblob:": {
    check: checkContainer,
    load: async () => (await import("./azblob.ts")).openAzblob,
    loadProbe: async () => (await import("./azblob-probe.ts")).probeAzblob,
  },
  "https:": {
    check: checkWeb,
    load: async () => (await import("./https.ts")).openHttps,
    loadProbe: async () => (await import("./https-probe.ts")).probeHttps,
  },
  "sftp:": {
    isServer: true,
    check: checkSsh,
    load: async () => (await import("./sftp.ts")).openSftp,
    loadProbe: async () => (await import("./sftp-probe.ts")).probeSftp,
  },
  "postgres:": {
    isServer: true,
    takesRows: true,
    check: checkDatabase,
    load: async () => (await import("./postgres.ts")).openPostgres,
    loadProbe: async () => (await import("./postgres-table-probe.ts")).probeTable,
  },
  "sqlite:": {
    takesRows: true,
    check: checkPath,
    load: async () => (await import("./sqlite.ts")).openSqlite,
    loadProbe: async () => (await import("./sqlite-probe.ts")).probeSqlite,
  },
};

/** Their URLs are paths of this machine. */
const pathSchemes: ReadonlySet<string> = new Set(["file:", "tar:", "sqlite:"]);

/** The schemes in the order people should read them: `file:`, `s3:`, `tar:`, …; `http:` is one for this machine alone. */
const destinationSchemes: readonly string[] = Object.keys(schemes);

/** Whether pages become rows at the destination that a URL, or the summary of a run, names. */
export const takesRows = (url: string): boolean =>
  schemes[/^[a-z]+:/.exec(url)?.[0] ?? ""]?.takesRows === true;

/**
 * Opens the destination a URL or bare path names.
 * @throws PipelineError `config-invalid` as `checkDestinationUrl` does, and what the scheme itself throws.
 */
export async function openDestination(
  url: string,
  options: DestinationOptions,
): Promise<Destination> {
  const checked = checkDestinationUrl(url);
  const open = await schemeOf(checked.protocol).load();
  return open(checked, options);
}

/**
 * Looks at the destination a URL or bare path names, before a run.
 * @throws PipelineError `config-invalid` as `checkDestinationUrl` does; the signal's reason when it fires.
 */
export async function* probeDestination(
  url: string,
  options: ProbeOptions,
): AsyncGenerator<Finding> {
  const checked = checkDestinationUrl(url);
  const probe = await schemeOf(checked.protocol).loadProbe();
  yield* probe(checked, options);
}

/**
 * Checks the text of a destination and gives its URL: `file:///path`, `s3://bucket/prefix`, `tar:///path/x.tar`;
 * `./path`, `file:./path` and `tar:./x.tar` are taken from the working folder.
 * @throws PipelineError `config-invalid`. The message never repeats the text, which may hold a password.
 */
export function checkDestinationUrl(text: string): URL {
  const match = /^([A-Za-z][A-Za-z0-9+.-]*:)(.*)$/s.exec(text);
  if (text === "" || text.includes("\0")) throw invalid("is empty or holds a NUL byte");
  if (!match) return pathToFileURL(resolve(text));
  const protocol = (match[1] ?? "").toLowerCase().replace("postgresql:", "postgres:");
  const rest = match[2] ?? "";
  const scheme = schemeOf(protocol);
  const isPath = pathSchemes.has(protocol) && !rest.startsWith("//");
  const url = isPath ? pathUrl(protocol, rest) : parse(`${protocol}${rest}`);
  if (!scheme.isServer) refuseExtras(url);
  scheme.check(url);
  return url;
}

/** The one spelling of a destination on this machine; others, and references, as they are written. */
export function spellDestination(text: string): string {
  const isPath = !/^[A-Za-z][A-Za-z0-9+.-]*:/.test(text) || /^(?:file|tar|sqlite):/i.test(text);
  return isPath ? pathIdentity(checkDestinationUrl(text)) : text;
}

function refuseExtras(url: URL): void {
  if (url.username !== "" || url.password !== "") {
    throw invalid(
      "holds a user or password; expected none, give credentials as `${env:…}` instead",
    );
  }
  refuseQuery(url);
}

function refuseQuery(url: URL): void {
  if (url.search !== "" || url.hash !== "") {
    throw invalid(
      "holds `?` or `#`; expected them written as %3F and %23, and the query of an https:// URL as `query: ${env:…}`",
    );
  }
}

function schemeOf(protocol: string): Scheme {
  const name = protocol === "http:" ? "https:" : protocol;
  const scheme = Object.hasOwn(schemes, name) ? schemes[name] : undefined;
  if (scheme) return scheme;
  const known = destinationSchemes.map((name) => `${name}//`).join(", ");
  throw invalid(`has the unknown scheme \`${protocol}\`; expected one of ${known} or a plain path`);
}

function pathUrl(protocol: string, path: string): URL {
  if (path === "") throw invalid(`names no path; expected ${protocol}///path or ${protocol}./path`);
  // Percent escapes belong to URLs; a relative path is read as a shell would read it.
  return new URL(`${protocol}//${pathToFileURL(resolve(path)).pathname}`);
}

function parse(text: string): URL {
  const url = URL.parse(text);
  if (!url) throw invalid("cannot be read as a URL");
  return url;
}

function checkPath(url: URL): void {
  if (url.host !== "") {
    throw invalid(
      `names a host; expected three slashes (${url.protocol}///path) or a path (${url.protocol}./path)`,
    );
  }
  decode(url.pathname);
  if (/%2f|%00/i.test(url.pathname)) throw invalid("holds an escaped slash or NUL");
  if (url.protocol !== "file:" && /\/$|^$/.test(url.pathname)) {
    const example = url.protocol === "tar:" ? "bundle.tar" : "local.db";
    throw invalid(`names a folder; expected a file such as ${url.protocol}./${example}`);
  }
}

function checkBucket(url: URL): void {
  if (!/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(url.hostname) || url.port !== "") {
    throw invalid("names no usable bucket; expected s3://bucket/prefix, the bucket in lower case");
  }
  folderSegmentsOf(decode(url.pathname.replace(/^\//, "")));
}

function checkContainer(url: URL): void {
  const [container = "", ...prefix] = decode(url.pathname.replace(/^\//, "")).split("/");
  const isUsable =
    /^[a-z0-9]{3,24}$/.test(url.hostname) &&
    url.port === "" &&
    /^(?:\$root|\$web|[a-z0-9](?:-?[a-z0-9]){2,62})$/.test(container);
  if (!isUsable) {
    throw invalid(
      "names no usable account and container; expected azblob://account/container/prefix, in lower case",
    );
  }
  folderSegmentsOf(prefix.join("/"));
}

function checkWeb(url: URL): void {
  if (url.protocol === "http:" && !staysOnThisMachine(url.hostname)) {
    throw invalid(
      "is reached without encryption; expected https:// (http:// on this machine only)",
    );
  }
  if (decode(url.pathname).split("{name}").length > 2) {
    throw invalid("holds `{name}` twice; expected it once, or not at all");
  }
}

function checkSsh(url: URL): void {
  if (url.password !== "") throw invalid("holds a password; expected `password: ${env:…}` instead");
  refuseQuery(url);
  if (url.username === "" || url.hostname === "") {
    throw invalid(
      "names no user or host; expected sftp://user@host/folder, or /~/folder below its home",
    );
  }
  folderSegmentsOf(decode(url.pathname.replace(/^\/(~\/)?/, "")));
}

function checkDatabase(url: URL): void {
  if (url.pathname.length < 2)
    throw invalid("names no database; expected postgres://user@host:port/database");
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw invalid("holds a `%` that escapes nothing; expected it written as %25");
  }
}

function invalid(what: string): PipelineError {
  return new PipelineError("config-invalid", `the destination ${what}`);
}
