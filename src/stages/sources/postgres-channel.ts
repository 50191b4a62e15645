/**
 * `channel_binding=require` in a URL: the login proves that the server at this end of the TLS connection is the one that knows
 * the password, so nobody stands between, whatever vouches for the certificate. `pg` binds where a server offers it; that it did, and
 * that the server proved it, is watched here, message by message, before any password goes out.
 * Source: https://www.postgresql.org/docs/current/sasl-authentication.html
 */
import type { EventEmitter } from "node:events";
import type { Socket } from "node:net";
import { PipelineError } from "../../errors.ts";

/** A client of `pg` that has not begun to connect: what listens here hears each message first. */
export interface Unconnected {
  readonly ssl: boolean | object;
  enableChannelBinding: boolean;
  readonly connection: EventEmitter & { readonly stream: Socket };
}

const modes: readonly string[] = ["require", "prefer", "disable"];

/** @throws PipelineError `config-invalid` for a word that is none of them: it may have meant to ask */
function isAsked(url: string): boolean {
  const asked = new URLSearchParams(/\?([^#]*)/.exec(url)?.[1]).getAll("channel_binding");
  if (asked.every((mode) => modes.includes(mode))) return asked.includes("require");
  throw new PipelineError(
    "config-invalid",
    `\`channel_binding\` in \`url\` is none that is known; expected ${modes.join(", ")}`,
  );
}

/**
 * Where `url` asks for it, refuses every login that is not bound.
 * @throws PipelineError `config-invalid` where there is no TLS to be bound to
 */
export function requireBinding(client: Unconnected, url: string): void {
  if (!isAsked(url)) return;
  if (!client.ssl)
    throw new PipelineError(
      "config-invalid",
      "`channel_binding=require` in `url` needs TLS; expected `sslmode=verify-full` beside it",
    );
  client.enableChannelBinding = true;
  const { connection } = client;
  let isProven = false;
  const refuse = () =>
    connection.stream.destroy(
      new PipelineError(
        "source-refused",
        "the server's login is not bound to its TLS connection, as `channel_binding=require` in `url` wants it; expected one by SCRAM-SHA-256-PLUS " +
          "(a password kept as scram-sha-256, and nobody between who ends TLS)",
      ),
    );
  connection.on("authenticationCleartextPassword", refuse);
  connection.on("authenticationMD5Password", refuse);
  connection.on("authenticationSASL", ({ mechanisms }: { mechanisms: readonly string[] }) => {
    if (!mechanisms.includes("SCRAM-SHA-256-PLUS")) refuse();
  });
  // A proof that is wrong ends the connection in `pg`.
  connection.on("authenticationSASLFinal", () => (isProven = true));
  connection.on("authenticationOk", () => {
    if (!isProven) refuse();
  });
}
