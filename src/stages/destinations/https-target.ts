/** Where requests to a plain web server go: a folder's URL, or a template that says where in it a name belongs. */
import { PipelineError } from "../../errors.ts";
import type { HttpsOptions } from "./destination.ts";
import { type HttpConnection, type HttpRequest, connectTo } from "./http-exchange.ts";
import { escapePath, placeholder } from "./object-names.ts";

export const called = "the web server";

export interface HttpsTarget {
  readonly origin: URL;
  /** What stands before and behind a name in the path. */
  readonly before: string;
  readonly behind: string;
  /** Whether names lie below one folder, which may be asked for them. */
  readonly isFolder: boolean;
  readonly query: string;
  readonly headers: Readonly<Record<string, string>>;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** @throws PipelineError `config-invalid` for credentials that cannot be sent. */
export function targetOf(url: URL, options: HttpsOptions, environment: Environment): HttpsTarget {
  const authorization = options.authorization ?? environment.SPILLWAY_HTTPS_AUTHORIZATION;
  const query = (options.query ?? environment.SPILLWAY_HTTPS_QUERY ?? "").replace(/^\?/, "");
  if (/[^\x21-\x7e]/.test(query) || /[^\x20-\x7e]/.test(authorization ?? ""))
    throw new PipelineError(
      "config-invalid",
      "`authorization` or `query` holds what HTTP cannot carry; expected printable ASCII, the query escaped",
    );
  const [before = "", behind] = url.pathname.split(placeholder);
  return {
    origin: new URL(url.origin),
    before: behind === undefined ? before.replace(/\/*$/, "/") : before,
    behind: behind ?? "",
    isFolder: behind === undefined,
    query,
    headers: authorization ? { authorization } : {},
  };
}

/** Connects lazily; every request may take `timeoutMillis` in all, or that long for each part of a streamed body. */
export const connect = (target: HttpsTarget, timeoutMillis: number): HttpConnection =>
  connectTo({
    origin: target.origin,
    called,
    timeoutMillis,
    address: (request) => addressOf(target, request),
  });

function addressOf(target: HttpsTarget, { name = "", headers }: HttpRequest) {
  const path = `${target.before}${escapePath(name)}${target.behind}`;
  return {
    path: target.query === "" ? path : `${path}?${target.query}`,
    headers: { ...headers, ...target.headers },
  };
}
