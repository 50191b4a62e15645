/** Where and as whom SSH goes: host, port, user and folder from the URL, keys from the options and SPILLWAY_SFTP_…. */
import { PipelineError } from "../../errors.ts";
import type { SftpOptions } from "./destination.ts";

export interface SftpTarget {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  /** Absolute, or from the user's home; no `/` at its end. */
  readonly root: string;
  /** `SHA256:…`; what `known_hosts` says when absent. */
  readonly hostKey: string | undefined;
  readonly privateKey: string | undefined;
  readonly passphrase: string | undefined;
  readonly password: string | undefined;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** @throws PipelineError `config-invalid` without a key or a password, or for a host key that is none. */
export function targetOf(url: URL, options: SftpOptions, environment: Environment): SftpTarget {
  const fromOptions = options.privateKey !== undefined || options.password !== undefined;
  const privateKey = fromOptions ? options.privateKey : environment.SPILLWAY_SFTP_KEY;
  const password = fromOptions ? options.password : environment.SPILLWAY_SFTP_PASSWORD;
  if (!privateKey && !password)
    throw new PipelineError(
      "config-invalid",
      "SFTP needs `privateKey` or `password`, or the variables SPILLWAY_SFTP_KEY or SPILLWAY_SFTP_PASSWORD",
    );
  const path = decodeURIComponent(url.pathname).replace(/\/+$/, "");
  return {
    host: url.hostname.replace(/^\[|\]$/g, ""),
    port: url.port === "" ? 22 : Number(url.port),
    user: decodeURIComponent(url.username),
    root: /^\/~(?:\/|$)/.test(path) ? path.slice(3) || "." : path || "/",
    hostKey: hostKeyOf(options.hostKey ?? environment.SPILLWAY_SFTP_HOST_KEY),
    privateKey: privateKey || undefined,
    passphrase: options.passphrase ?? environment.SPILLWAY_SFTP_PASSPHRASE,
    password: password || undefined,
  };
}

function hostKeyOf(text: string | undefined): string | undefined {
  if (text === undefined || /^SHA256:[A-Za-z0-9+/]{43}$/.test(text)) return text;
  throw new PipelineError(
    "config-invalid",
    "`hostKey` is no fingerprint; expected SHA256: and 43 letters, as `ssh-keyscan host | ssh-keygen -lf -` shows it",
  );
}
