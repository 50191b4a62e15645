/**
 * What a server says of itself over HTTP: that it lives, that it serves, and its slots. No rows, no paths, no addresses, no
 * secrets; there is nothing to change here either.
 */
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { PipelineError, systemCode } from "../../errors.ts";
import type { ServerStatus } from "./server.ts";

export interface Health {
  /** As one would type it: `http://127.0.0.1:9470`. */
  readonly url: string;
  close(): Promise<void>;
}

/** A client that says nothing is not waited for. */
const clientMillis = 5000;

/**
 * Listens at `address`, such as `127.0.0.1:9470`.
 * @throws PipelineError `config-invalid` where nobody can listen
 */
export async function listenForHealth(
  address: string,
  status: () => ServerStatus,
): Promise<Health> {
  const [, host, port] = /^(?:\[?([\w.:-]+?)\]?:)?(\d{1,5})$/.exec(address) ?? [];
  if (port === undefined || Number(port) > 65_535) throw refused("is no address");
  const server = createServer(
    { requestTimeout: clientMillis, headersTimeout: clientMillis, keepAliveTimeout: clientMillis },
    answer(status),
  );
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once("error", (error) => reject(refused(`cannot be had (${systemCode(error)})`)));
  server.listen({ host: host ?? "127.0.0.1", port: Number(port) }, resolve);
  await promise;
  const { address: at, port: given, family } = server.address() as AddressInfo;
  return {
    url: `http://${family === "IPv6" ? `[${at}]` : at}:${given}`,
    async close() {
      const closed = Promise.withResolvers<void>();
      server.close(() => closed.resolve());
      server.closeAllConnections();
      await closed.promise;
    },
  };
}

const refused = (what: string): PipelineError =>
  new PipelineError(
    "config-invalid",
    `--listen: the address ${what}; expected host:port of this machine, such as 127.0.0.1:9470`,
  );

const answer =
  (status: () => ServerStatus): RequestListener =>
  (request, response) => {
    const [code, body] = reply(request.method ?? "", request.url ?? "", status());
    response.writeHead(code, {
      "content-type": "application/json",
      "cache-control": "no-store",
      "x-content-type-options": "nosniff",
      ...(code === 405 && { allow: "GET, HEAD" }),
    });
    response.end(request.method === "HEAD" ? undefined : `${JSON.stringify(body)}\n`);
  };

function reply(method: string, url: string, status: ServerStatus): readonly [number, object] {
  if (method !== "GET" && method !== "HEAD") return [405, { error: "expected GET" }];
  const { ready } = status;
  switch (url.split("?")[0]) {
    case "/healthz":
      return [200, { alive: true }];
    case "/readyz":
      return [ready ? 200 : 503, { ready }];
    case "/status":
      return [200, status];
    default:
      return [404, { error: "expected /healthz, /readyz or /status" }];
  }
}
