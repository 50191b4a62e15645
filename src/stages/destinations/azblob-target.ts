/**
 * Where and as whom Azure Blob requests go: account, container, prefix, endpoint and credentials, from the URL, the
 * options and the variables Azure's own tools read.
 */
import { PipelineError } from "../../errors.ts";
import type { AzblobOptions } from "./destination.ts";

/** An account's key signs each request; a shared access signature is a query that goes with each. */
export type AzblobCredentials = { readonly key: Buffer } | { readonly sas: string };

export interface AzblobTarget {
  readonly account: string;
  /** Scheme, host and port that requests are sent to. */
  readonly origin: URL;
  /** Path of the container: `/container`, behind the account's where the endpoint has it in its path. */
  readonly basePath: string;
  /** Prefix of every name, ending in `/` unless empty. */
  readonly keyPrefix: string;
  readonly credentials: AzblobCredentials;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** @throws PipelineError `config-invalid` when credentials are missing or the endpoint is not usable. */
export function targetOf(url: URL, options: AzblobOptions, environment: Environment): AzblobTarget {
  const account = url.hostname;
  const [container = "", ...prefix] = segmentsOf(url);
  const endpoint = endpointOf(
    options.endpoint || environment.AZURE_STORAGE_SERVICE_ENDPOINT,
    account,
  );
  return {
    account,
    origin: new URL(endpoint.origin),
    basePath: `${endpoint.pathname.replace(/\/$/, "")}/${container}`,
    keyPrefix: prefix.map((segment) => `${segment}/`).join(""),
    credentials: credentialsOf(options, environment),
  };
}

const segmentsOf = ({ pathname }: URL): string[] =>
  decodeURIComponent(pathname)
    .split("/")
    .filter((segment) => segment !== "");

function endpointOf(given: string | undefined, account: string): URL {
  const url = URL.parse(given ?? `https://${account}.blob.core.windows.net`);
  const plain =
    url !== null &&
    (url.protocol === "https:" || url.protocol === "http:") &&
    url.username === "" &&
    url.password === "" &&
    url.search === "" &&
    url.hash === "";
  if (plain) return url;
  throw new PipelineError(
    "config-invalid",
    "the Azure endpoint is not usable; expected https://host[:port] (or http://), with /account behind it for an emulator",
  );
}

function credentialsOf(options: AzblobOptions, environment: Environment): AzblobCredentials {
  const fromOptions = options.accountKey !== undefined || options.sas !== undefined;
  const key = fromOptions ? options.accountKey : environment.AZURE_STORAGE_KEY;
  const sas = fromOptions ? options.sas : environment.AZURE_STORAGE_SAS_TOKEN;
  if (key) return { key: keyOf(key) };
  if (sas) return { sas: sas.replace(/^\?/, "") };
  throw new PipelineError(
    "config-invalid",
    "Azure credentials are missing; expected `accountKey` or `sas`, or the variables AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN",
  );
}

function keyOf(text: string): Buffer {
  const key = Buffer.from(text, "base64");
  if (key.length > 0 && key.toString("base64") === text.trim()) return key;
  throw new PipelineError(
    "config-invalid",
    "the Azure account key is not usable; expected base64, as the portal shows it",
  );
}
