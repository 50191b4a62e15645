/** When a connection must be verified TLS although nobody asked for it: the server is elsewhere, and nobody declined. */

import { staysOnThisMachine } from "../this-machine.ts";

export interface Way {
  /** As `pg` understood it, a socket's folder included. */
  readonly host: string;
  readonly ssl: boolean | object;
}

const declinesTls = /[?&](sslmode=disable|ssl=0)(?=[&#]|$)/;

/**
 * Whether `way` leads over a network in plain text without `url` or PGSSLMODE saying so in words. What they say is
 * taken as it is: only silence is not.
 */
export function isSilentlyPlain(way: Way, url: string, env: NodeJS.ProcessEnv): boolean {
  if (way.ssl || staysOnThisMachine(way.host)) return false;
  return !declinesTls.test(url) && env["PGSSLMODE"] !== "disable";
}
