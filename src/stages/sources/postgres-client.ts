/**
 * Clients of `pg` and their sockets: the only file that makes them.
 *
 * Without TLS, reads land where their reader wants them (`postgres-socket.ts`). TLS is verified unless it is declined.
 */
import { Client, Connection, type ConnectionConfig } from "pg";
import type { Socket } from "node:net";
import { PipelineError } from "../../errors.ts";
import { requireBinding, type Unconnected } from "./postgres-channel.ts";
import { guardParser, type Listening } from "./postgres-parser.ts";
import { createDirectSocket, type DirectSocket } from "./postgres-socket.ts";
import { isSilentlyPlain } from "./postgres-tls.ts";

export interface ClientOptions {
  readonly url: string;
  /** Longest wait for the connection to be usable. */
  readonly connectMillis: number;
}

/** What `pg` has but its types leave out. */
export interface ClientParts {
  readonly host: string;
  readonly port: number;
  readonly ssl: boolean | object;
  readonly sslNegotiation: string;
  readonly processID: number | null;
  readonly secretKey: number | null;
  readonly connection: Listening & { readonly stream: Socket };
}
interface Messenger extends Connection, Listening {
  connect(portOrPath: number | string, host?: string): void;
  requestSsl(): void;
  cancel(processID: number, secretKey: number): void;
}

const cancelMillis = 500;
const keepAliveMillis = 10_000;

/**
 * Makes a client that is not connected yet.
 * @throws PipelineError `config-invalid` when the URL cannot be read
 */
export function createClient(options: ClientOptions): MadeClient {
  const made = chooseClient(options);
  requireBinding(made.client as unknown as Unconnected, options.url);
  guardParser((made.client as unknown as ClientParts).connection);
  return made;
}

interface MadeClient {
  readonly client: Client;
  readonly direct?: DirectSocket["direct"];
}

function chooseClient({ url, connectMillis }: ClientOptions): MadeClient {
  const config = {
    connectionString: url,
    fallback_application_name: "spillway",
    connectionTimeoutMillis: connectMillis,
    keepAlive: true,
    keepAliveInitialDelayMillis: keepAliveMillis,
  };
  const isPlain = (client: Client) => isSilentlyPlain(client, url, process.env);
  try {
    const client = new Client(config);
    if (isPlain(client)) {
      // What the URL says goes before `ssl`, so it may be plain even now.
      const verified = new Client({ ...config, ssl: true });
      if (!isPlain(verified)) return { client: verified };
      throw new TypeError("TLS is declined in a spelling that is not ours");
    }
    if ((client as unknown as ClientParts).ssl) return { client };
    const { socket, direct } = createDirectSocket();
    return { client: new Client({ ...config, stream: () => socket }), direct };
  } catch {
    // The cause may quote the URL, which may hold a password.
    throw new PipelineError(
      "config-invalid",
      "`url` cannot be read; expected postgres://user:password@host:port/database (its certificate files must exist; TLS is declined by `sslmode=disable` alone)",
    );
  }
}

/** The password with which a URL logs in, its own or that of the environment; none where it needs none. */
export function passwordOf(url: string): string | undefined {
  const { password } = createClient({ url, connectMillis: 0 }).client;
  return typeof password === "string" && password !== "" ? password : undefined;
}

/**
 * Sends a CancelRequest over a connection of its own, so that a server deep in a sort does not go on without us. A
 * server that waits for us ignores it and ends when our socket closes.
 */
export function cancelBackend(parts: ClientParts): Promise<void> {
  const { processID, secretKey, host, port, ssl, sslNegotiation } = parts;
  if (processID === null || secretKey === null) return Promise.resolve();
  return new Promise((resolve) => {
    const messenger = new Connection({
      ssl,
      sslNegotiation,
    } as ConnectionConfig) as Messenger;
    guardParser(messenger);
    const finish = () => {
      clearTimeout(timer);
      messenger.stream.destroy();
      resolve();
    };
    const timer = setTimeout(finish, cancelMillis);
    const send = () => messenger.cancel(processID, secretKey);
    messenger.on("error", finish);
    messenger.once("end", finish);
    messenger.once("sslconnect", send);
    messenger.once("connect", () => {
      if (!ssl) send();
      else if (sslNegotiation !== "direct") messenger.requestSsl();
    });
    if (host.startsWith("/")) messenger.connect(`${host}/.s.PGSQL.${port}`);
    else messenger.connect(port, host);
  });
}
