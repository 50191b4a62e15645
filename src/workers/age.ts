/**
 * age v1 (https://c2sp.org/age): one page, one file, one fresh random file key.
 *
 * The header (who may open it) is the age-encryption library's; the body is `age-body.ts`. Both directions are
 * checked against the stock `age` binary.
 */
import {
  Decrypter,
  Encrypter,
  Stanza,
  armor,
  generateX25519Identity,
  identityToRecipient as toRecipient,
} from "age-encryption";
import { PipelineError } from "../stages/errors.ts";
import { bodyNonceBytes, damagedAge, openAgeBody, sealAgeBody } from "./age-body.ts";
import {
  maxIdentityFileLogN,
  maxPageLogN,
  unwrapWithPassphrase,
  wrapWithPassphrase,
} from "./age-scrypt.ts";
import type { Recipients } from "./seal.ts";

export { openAgeBody };

/** Who opens: age identities (`AGE-SECRET-KEY-1…`), a passphrase, or both to be tried. */
export interface Identities {
  readonly identities?: readonly string[];
  readonly passphrase?: string;
}

/** A sealed page and what its maker needs to check it once more. */
export interface SealedAge {
  readonly sealed: Uint8Array;
  /** Bytes of `sealed` before the body's nonce. */
  readonly headerBytes: number;
  readonly fileKey: Uint8Array;
}

const maxHeaderBytes = 256 * 1024;
const emptyBodyBytes = bodyNonceBytes + 16;

/**
 * Seals `frame` as one age file; `frame` may lie in shared memory.
 * @throws PipelineError `config-invalid` when a recipient cannot be read or nobody or too many ways are named.
 */
export async function sealAge(frame: Uint8Array, recipients: Recipients): Promise<SealedAge> {
  const encrypter = encrypterFor(recipients);
  let fileKey = new Uint8Array(0);
  // A recipient that wraps nothing learns the fresh file key; the library never gives it out otherwise.
  encrypter.addRecipient({
    wrapFileKey(key) {
      fileKey = Uint8Array.from(key);
      return [];
    },
  });
  const empty = await encrypter.encrypt(new Uint8Array(0));
  const header = empty.subarray(0, empty.length - emptyBodyBytes);
  return { sealed: sealAgeBody(header, frame, fileKey), headerBytes: header.length, fileKey };
}

/** Refuses recipients that cannot be sealed to, before anything is. Texts are not printed: one may be a secret key. */
export function checkRecipients(recipients: Recipients): void {
  encrypterFor(recipients);
}

function encrypterFor({ to, passphrase }: Recipients): Encrypter {
  const encrypter = new Encrypter();
  if ((passphrase === undefined) === (to === undefined || to.length === 0)) {
    throw new PipelineError(
      "config-invalid",
      "encrypt: expected either recipients or one passphrase, not both and not neither",
    );
  }
  if (passphrase !== undefined) {
    encrypter.addRecipient({
      wrapFileKey(fileKey) {
        const { args, body } = wrapWithPassphrase(fileKey, passphrase);
        return [new Stanza([...args], body)];
      },
    });
  }
  for (const [index, recipient] of (to ?? []).entries()) {
    try {
      encrypter.addRecipient(recipient);
    } catch {
      throw new PipelineError(
        "config-invalid",
        `encrypt: recipient ${index + 1} is not an age public key; expected a text that begins with age1`,
      );
    }
  }
  return encrypter;
}

/**
 * Opens one age file whole; nothing is given out before every byte is authenticated.
 * @throws PipelineError `key-wrong` when no identity or passphrase fits, `integrity-failed` when the file is damaged,
 * `config-invalid` when an identity cannot be read.
 */
export async function openAge(sealed: Uint8Array, identities: Identities): Promise<Uint8Array> {
  const headerBytes = headerLength(sealed);
  const fileKey = await unwrap(sealed.subarray(0, headerBytes), identities, maxPageLogN);
  return openAgeBody(sealed, headerBytes, fileKey);
}

async function unwrap(header: Uint8Array, who: Identities, maxLogN: number): Promise<Uint8Array> {
  const decrypter = new Decrypter();
  for (const identity of who.identities ?? []) addIdentity(decrypter, identity);
  const { passphrase } = who;
  if (passphrase !== undefined) {
    decrypter.addIdentity({
      unwrapFileKey: (stanzas: Stanza[]) => unwrapWithPassphrase(stanzas, passphrase, maxLogN),
    });
  }
  try {
    return await decrypter.decryptHeader(Uint8Array.from(header));
  } catch (cause) {
    if (cause instanceof PipelineError) throw cause;
    if (cause instanceof Error && cause.message.startsWith("no identity matched")) {
      throw new PipelineError(
        "key-wrong",
        "no identity or passphrase given opens this page; expected one of those it was sealed to",
      );
    }
    throw damagedAge("its header is not authentic", cause);
  }
}

function addIdentity(decrypter: Decrypter, identity: string): void {
  try {
    decrypter.addIdentity(identity);
  } catch {
    throw new PipelineError(
      "config-invalid",
      "an identity cannot be read; expected a text that begins with AGE-SECRET-KEY-1",
    );
  }
}

/** Where the header ends: after the line that begins with `---`. */
function headerLength(sealed: Uint8Array): number {
  const start = Buffer.from(sealed.buffer, sealed.byteOffset, sealed.length).subarray(
    0,
    maxHeaderBytes,
  );
  const macAt = start.indexOf("\n--- ");
  const end = macAt < 0 ? -1 : start.indexOf("\n", macAt + 1);
  if (end < 0) throw damagedAge("it has no age header");
  return end + 1;
}

/** Makes a new X25519 identity (`AGE-SECRET-KEY-1…`). */
export const generateAgeIdentity = (): Promise<string> => generateX25519Identity();

/**
 * The public key (`age1…`) of an identity.
 * @throws PipelineError `config-invalid` when the text is no age identity.
 */
export async function identityToRecipient(identity: string): Promise<string> {
  try {
    return await toRecipient(identity);
  } catch {
    throw new PipelineError(
      "config-invalid",
      "an identity cannot be read; expected a text that begins with AGE-SECRET-KEY-1",
    );
  }
}

/**
 * Reads an identity file: one key a line, `#` comments and empty lines between. A file that is itself encrypted with
 * a passphrase (`age -p`, armored or not) is opened with `passphrase`.
 * @throws PipelineError `config-invalid` when it holds no key or something else; `key-wrong` for a wrong passphrase.
 */
export async function parseIdentityFile(
  file: string | Uint8Array,
  passphrase?: string,
): Promise<string[]> {
  const text = await identityText(file, passphrase);
  const keys = text
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"));
  const sound = keys.every((key) => /^AGE-SECRET-KEY-(?:PQ-)?1[0-9A-Z]+$/.test(key));
  if (keys.length === 0 || !sound) {
    throw new PipelineError(
      "config-invalid",
      "the identity file cannot be read; expected one AGE-SECRET-KEY-1… a line and # comments",
    );
  }
  return keys;
}

async function identityText(file: string | Uint8Array, passphrase?: string): Promise<string> {
  const text = typeof file === "string" ? file : Buffer.from(file).toString("latin1");
  const armored = text.trimStart().startsWith("-----BEGIN AGE ENCRYPTED FILE-----");
  if (!armored && !text.startsWith("age-encryption.org/")) return text;
  if (passphrase === undefined) {
    throw new PipelineError(
      "config-invalid",
      "the identity file is encrypted; give its passphrase",
    );
  }
  const sealed = armored ? armor.decode(text) : Buffer.from(text, "latin1");
  const headerBytes = headerLength(sealed);
  const header = sealed.subarray(0, headerBytes);
  const fileKey = await unwrap(header, { passphrase }, maxIdentityFileLogN);
  return Buffer.from(openAgeBody(sealed, headerBytes, fileKey)).toString();
}
