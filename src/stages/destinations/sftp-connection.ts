/**
 * One SSH connection, made when it is first needed and again after it broke. Every call has a deadline; one that passes it
 * ends the connection, for nobody knows what a server does that does not answer.
 */
import { Client, type SFTPWrapper } from "ssh2";
import { PipelineError } from "../../errors.ts";
import { TryAgain } from "./retry.ts";
import { fingerprintOf, readHostKeys } from "./sftp-host-key.ts";
import type { SftpTarget } from "./sftp-target.ts";

type Done<Result> = (error: Error | null | undefined, result: Result) => void;

export interface SftpConnection {
  /** Calls the server; `undefined` errors end well. @throws TryAgain, PipelineError, or what the server said (`code`). */
  call<Result = void>(
    work: (sftp: SFTPWrapper, done: Done<Result>) => void,
    signal: AbortSignal,
  ): Promise<Result>;
  close(): void;
}

interface Live {
  readonly sftp: SFTPWrapper;
  readonly client: Client;
  /** Rejects when the connection ends. */
  readonly ended: Promise<never>;
}

export function openConnection(target: SftpTarget, timeoutMillis: number): SftpConnection {
  let live: Promise<Live> | undefined;
  const drop = (client: Client) => {
    live = undefined;
    client.destroy();
  };
  const connected = (): Promise<Live> => {
    live ??= connect(target, timeoutMillis).then(
      (made) => {
        made.ended.catch(() => void (live = undefined));
        return made;
      },
      (error: unknown) => {
        live = undefined;
        throw error;
      },
    );
    return live;
  };
  return {
    async call<Result>(
      work: (sftp: SFTPWrapper, done: Done<Result>) => void,
      signal: AbortSignal,
    ): Promise<Result> {
      signal.throwIfAborted();
      const over = Promise.withResolvers<never>();
      const stop = () => over.reject(signal.reason);
      signal.addEventListener("abort", stop);
      let timer: NodeJS.Timeout | undefined;
      try {
        const { sftp, client, ended } = await Promise.race([connected(), over.promise]);
        const late = () => {
          over.reject(unreachable("ETIMEDOUT"));
          drop(client);
        };
        timer = setTimeout(late, timeoutMillis);
        const result = new Promise<Result>((resolve, reject) =>
          work(sftp, (error, found) => (error ? reject(error) : resolve(found))),
        );
        return await Promise.race([result, ended, over.promise]);
      } finally {
        clearTimeout(timer);
        signal.removeEventListener("abort", stop);
      }
    },
    close() {
      void live?.then(
        ({ client }) => drop(client),
        () => {},
      );
    },
  };
}

async function connect(target: SftpTarget, timeoutMillis: number): Promise<Live> {
  const { host, port, user, privateKey, passphrase, password } = target;
  const keys = await readHostKeys(target);
  const client = new Client();
  let stranger: string | undefined;
  const timer = setTimeout(() => client.destroy(), timeoutMillis);
  try {
    const ended = new Promise<never>((_, reject) => {
      client.on("error", (error) => reject(failureOf(error, stranger)));
      client.on("close", () => reject(unreachable("ECONNRESET")));
    });
    ended.catch(() => {});
    const ready = new Promise<void>((resolve) => client.once("ready", resolve));
    client.connect({
      host,
      port,
      username: user,
      readyTimeout: timeoutMillis,
      hostVerifier: (key: Buffer) => {
        if (keys.isTrusted(key)) return true;
        stranger = fingerprintOf(key);
        return false;
      },
      ...(keys.kinds && { algorithms: { serverHostKey: keys.kinds as never } }),
      ...(privateKey !== undefined && { privateKey }),
      ...(passphrase !== undefined && { passphrase }),
      ...(password !== undefined && { password }),
    });
    await Promise.race([ready, ended]);
    // Questions are small; without this each would wait for the answer to the one before.
    client.setNoDelay(true);
    const opened = new Promise<SFTPWrapper>((resolve, reject) =>
      client.sftp((error, sftp) => (error ? reject(noSftp(error)) : resolve(sftp))),
    );
    return { sftp: await Promise.race([opened, ended]), client, ended };
  } catch (error) {
    client.destroy();
    throw error instanceof PipelineError || error instanceof TryAgain ? error : failureOf(error);
  } finally {
    clearTimeout(timer);
  }
}

const noSftp = (cause: Error) =>
  new PipelineError(
    "destination-refused",
    "the SSH server offers no SFTP; expected its subsystem `sftp`",
    { cause },
  );

function failureOf(error: unknown, stranger?: string): Error {
  const { level, code, message } = error as { level?: string; code?: string; message: string };
  const refused = (what: string) =>
    new PipelineError("destination-refused", what, { cause: error });
  if (stranger !== undefined)
    return refused(
      `the SSH server has another key (${stranger}) than expected; make sure who it is before \`hostKey\` or known_hosts is changed`,
    );
  if (level === "client-authentication")
    return refused("the SSH server refused the login; check user, key and password");
  if (/privateKey|private key|passphrase/i.test(message))
    return refused(
      "the private key cannot be used; expected one in OpenSSH or PEM form, and its `passphrase` where it is locked",
    );
  if (/no matching|handshake failed/i.test(message))
    return refused(
      "the SSH server and we know no common algorithm, or it has no host key of the expected kind",
    );
  return unreachable(code ?? level ?? "broken connection");
}

const unreachable = (code: string): TryAgain =>
  new TryAgain(
    new PipelineError("destination-unreachable", `the SSH server did not answer (${code})`, {
      details: { code },
    }),
  );
