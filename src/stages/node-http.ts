/** Node's clients of HTTP, loaded when the first connection is made ready. */
import type { Agent, request } from "node:http";
import type { AgentOptions } from "node:https";

export interface HttpClient {
  readonly Agent: new (options: AgentOptions) => Agent;
  readonly request: typeof request;
}

/**
 * Not by `import`: the ES form of these modules evaluates all they export, and so loads all of fetch (6 MB beside the rest).
 * @param protocol of a URL, its colon included
 */
export function httpClient(protocol: string): HttpClient {
  return process.getBuiltinModule(protocol === "https:" ? "node:https" : "node:http");
}

/** The environment, where it asks as Node's own client wants to be asked to go by the proxies that it names. */
export const proxies = (): AgentOptions =>
  process.env["NODE_USE_ENV_PROXY"] === "1" ? { proxyEnv: process.env } : {};
