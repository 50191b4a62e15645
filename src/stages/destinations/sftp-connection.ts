/**
 * One SSH connection, made when it is first needed and again after it broke. Every call has a deadline; one that passes it
 * ends the connection, for nobody knows what a server does that does not answer.
 */
import { Client, type SFTPWrapper } from "ssh2";
import { PipelineError } from "../../errors.ts";
import { TryAgain } from "./retry.ts";
import { fingerprintOf, readHostKeys } from "./sftp-host-key.ts";
import type { SftpTarget } from "./sftp-target.ts";

type Done<Result> = (error: Error | null | undefined, result?: Result) => void;
type Ask<Result> = (sftp: SFTPWrapper, done: Done<Result>) => void;
type Tell = (sftp: SFTPWrapper, done: (error: Error | null | undefined) => void) => void;

/** Both throw TryAgain, PipelineError, or what the server said (`code`). */
interface Asking {
  /** Asks for a value; a server that says yes and gives none has failed. */
  ask<Result>(work: Ask<Result>, signal: AbortSignal): Promise<Result>;
  /** Has something done. */
  tell(work: Tell, signal: AbortSignal): Promise<void>;
}

/** What is open at the server. It is asked for over the connection it was opened on: others count handles anew. */
export interface Held extends Asking {
  readonly handle: Buffer;
}

export interface SftpConnection extends Asking {
  hold(work: Ask<Buffer>, signal: AbortSignal): Promise<Held>;
  close(): void;
}

interface Live {
  readonly sftp: SFTPWrapper;
  /** Rejects when the connection ends. */
  readonly ended: Promise<never>;
  end(failure: Error): void;
}

export function openConnection(target: SftpTarget, timeoutMillis: number): SftpConnection {
  let live: Promise<Live> | undefined;
  const connected = (): Promise<Live> => {
    if (live) return live;
    const made = connect(target, timeoutMillis);
    // By the time this one ends there may be another.
    const forget = () => void (live = live === made ? undefined : live);
    made.then(({ ended }) => ended.catch(forget), forget);
    return (live = made);
  };
  const asking = (through: () => Promise<Live>): Asking => {
    const ask = async <Result>(work: Ask<Result>, signal: AbortSignal): Promise<Result> => {
      signal.throwIfAborted();
      const stopped = Promise.withResolvers<never>();
      const stop = () => stopped.reject(signal.reason);
      signal.addEventListener("abort", stop);
      let timer: NodeJS.Timeout | undefined;
      try {
        const { sftp, ended, end } = await Promise.race([through(), stopped.promise]);
        timer = setTimeout(() => end(unreachable("ETIMEDOUT")), timeoutMillis);
        return await Promise.race([ended, answerOf(work, sftp), stopped.promise]);
      } finally {
        clearTimeout(timer);
        signal.removeEventListener("abort", stop);
      }
    };
    const tell = async (work: Tell, signal: AbortSignal) =>
      void (await ask<true>((sftp, done) => work(sftp, (error) => done(error, true)), signal));
    return { ask, tell };
  };
  return {
    ...asking(connected),
    async hold(work, signal) {
      const on = connected();
      const held = asking(() => on);
      return { ...held, handle: await held.ask(work, signal) };
    },
    close() {
      void live?.then(
        ({ end }) => end(unreachable("closed")),
        () => {},
      );
    },
  };
}

const answerOf = <Result>(work: Ask<Result>, sftp: SFTPWrapper): Promise<Result> =>
  new Promise((resolve, reject) =>
    work(sftp, (error, found) => {
      if (error) reject(typeof codeOf(error) === "number" ? error : unreachable("ECONNRESET"));
      else if (found === undefined) reject(nonsense());
      else resolve(found);
    }),
  );

const codeOf = (error: Error): unknown => (error as { code?: unknown }).code;

async function connect(target: SftpTarget, timeoutMillis: number): Promise<Live> {
  const { host, port, user, privateKey, passphrase, password } = target;
  const keys = await readHostKeys(target);
  const client = new Client();
  let stranger: string | undefined;
  const timer = setTimeout(() => client.destroy(), timeoutMillis);
  try {
    const { promise: ended, reject: end } = Promise.withResolvers<never>();
    ended.catch(() => client.destroy());
    client.on("error", (error) => end(failureOf(error, stranger)));
    client.on("close", () => end(unreachable("ECONNRESET")));
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
    // Questions are small; without this each would wait for the answer to the one before.
    client.setNoDelay(true);
    await Promise.race([ready, ended]);
    const opened = new Promise<SFTPWrapper>((resolve, reject) =>
      client.sftp((error, sftp) => (error ? reject(noSftp(error)) : resolve(sftp))),
    );
    const sftp = await Promise.race([opened, ended]);
    // Without these, nonsense would end the process, and nobody would answer where the server's program has ended.
    sftp.on("error", () => end(nonsense()));
    sftp.on("close", () => end(unreachable("ECONNRESET")));
    return { sftp, ended, end };
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
  const sign = code ?? level;
  // What the library trips over has neither.
  return sign === undefined ? nonsense() : unreachable(sign);
}

/** What a server says that does not know SFTP, or lies. */
export const nonsense = (): TryAgain =>
  new TryAgain(
    new PipelineError(
      "destination-failed",
      "the SSH server sent what is no answer of SFTP version 3; try again, and if it stays so, ask who runs it",
    ),
  );

const unreachable = (code: string): TryAgain =>
  new TryAgain(
    new PipelineError("destination-unreachable", `the SSH server did not answer (${code})`, {
      details: { code },
    }),
  );
