/**
 * age v1 (https://c2sp.org/age): one page, one file, one fresh random file key.
 *
 * Public keys (`age1…`) and passphrases are done here, with node:crypto; other kinds of keys are left to the
 * age-encryption library. Both directions are checked against that library and the stock `age` binary.
 */
import { randomBytes } from "node:crypto";
import { PipelineError } from "../errors.ts";
import { ageBodyHolds, damagedAge, openAgeBody, sealAgeBody } from "./age-body.ts";
import {
  checkMac,
  encodeHeader,
  parseHeader,
  unwrapWithKey,
  wrapForKey,
  type AgeHeader,
} from "./age-header.ts";
import { isRecipient, readIdentity, readRecipient } from "./age-keys.ts";
import {
  maxIdentityFileLogN,
  maxPageLogN,
  unwrapWithPassphrase,
  wrapWithPassphrase,
} from "./age-scrypt.ts";

export { ageBodyHolds, openAgeBody };

/** Who may open a page: age recipients, or one passphrase. Never both. */
export interface Recipients {
  readonly to?: readonly string[];
  readonly passphrase?: string;
}

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

const loadLibrary = () => import("./age-library.ts");

/**
 * Seals `frame` as one age file; `frame` may lie in shared memory.
 * @throws PipelineError `config-invalid` when a recipient cannot be read or nobody or too many ways are named.
 */
export async function sealAge(frame: Uint8Array, recipients: Recipients): Promise<SealedAge> {
  const { header, fileKey } = await makeHeader(recipients);
  return { sealed: sealAgeBody(header, frame, fileKey), headerBytes: header.length, fileKey };
}

async function makeHeader({ to = [], passphrase }: Recipients) {
  if ((passphrase === undefined) === (to.length === 0)) {
    throw new PipelineError(
      "config-invalid",
      "encrypt: expected either recipients or one passphrase, not both and not neither",
    );
  }
  const fileKey = randomBytes(16);
  if (passphrase !== undefined) {
    return { header: encodeHeader([wrapWithPassphrase(fileKey, passphrase)], fileKey), fileKey };
  }
  const keys = to.map(readRecipient);
  if (keys.every((key) => key !== undefined)) {
    const stanzas = keys.map((key) => wrapForKey(fileKey, key));
    return { header: encodeHeader(stanzas, fileKey), fileKey };
  }
  checkRecipients({ to });
  return (await loadLibrary()).makeHeader(to);
}

/**
 * Refuses recipients that cannot be sealed to, before anything is. Texts are not printed: one may be a secret key.
 * @throws PipelineError `config-invalid`
 */
export function checkRecipients({ to = [] }: Pick<Recipients, "to">): void {
  for (const [index, recipient] of to.entries()) {
    if (isRecipient(recipient)) continue;
    throw new PipelineError(
      "config-invalid",
      `encrypt: recipient ${index + 1} is not an age public key; expected a text that begins with age1`,
    );
  }
}

/**
 * Opens one age file whole; nothing is given out before every byte is authenticated.
 * @throws PipelineError `key-wrong` when no identity or passphrase fits, `integrity-failed` when the file is damaged,
 * `config-invalid` when an identity cannot be read.
 */
export const openAge = (sealed: Uint8Array, identities: Identities): Promise<Uint8Array> =>
  openWith(sealed, identities, maxPageLogN);

async function openWith(
  sealed: Uint8Array,
  { identities = [], passphrase }: Identities,
  maxLogN: number,
): Promise<Uint8Array> {
  const header = parseHeader(sealed);
  let fileKey: Uint8Array | null = null;
  for (const identity of identities) fileKey ??= await unwrap(sealed, header, identity);
  if (passphrase !== undefined) {
    fileKey ??= unwrapWithPassphrase(header.stanzas, passphrase, maxLogN);
  }
  if (!fileKey) {
    if (identities.length === 0 && passphrase === undefined) {
      throw new PipelineError("input-missing", "the pages are encrypted; give a key to open them");
    }
    throw new PipelineError(
      "key-wrong",
      "no identity or passphrase given opens this page; expected one of those it was sealed to",
    );
  }
  checkMac(header, fileKey);
  return openAgeBody(sealed, header.bytes, fileKey);
}

async function unwrap(
  sealed: Uint8Array,
  header: AgeHeader,
  identity: string,
): Promise<Uint8Array | null> {
  const key = readIdentity(identity);
  if (key) return unwrapWithKey(header.stanzas, key);
  const library = await loadLibrary();
  const opener = library.openerFor(identity);
  if (!opener) throw unreadableIdentity();
  try {
    return await library.openHeader(sealed.subarray(0, header.bytes), opener);
  } catch (cause) {
    throw damagedAge("its header is not authentic", cause);
  }
}

function unreadableIdentity(): PipelineError {
  return new PipelineError(
    "config-invalid",
    "an identity cannot be read; expected a text that begins with AGE-SECRET-KEY-1",
  );
}

/** Makes a new X25519 identity (`AGE-SECRET-KEY-1…`). */
export const generateAgeIdentity = async (): Promise<string> =>
  (await loadLibrary()).generateX25519Identity();

/**
 * The public key (`age1…`) of an identity.
 * @throws PipelineError `config-invalid` when the text is no age identity.
 */
export async function identityToRecipient(identity: string): Promise<string> {
  try {
    return await (await loadLibrary()).identityToRecipient(identity);
  } catch {
    throw unreadableIdentity();
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
  const sealed = armored ? await removeArmor(text) : Buffer.from(text, "latin1");
  return Buffer.from(await openWith(sealed, { passphrase }, maxIdentityFileLogN)).toString();
}

async function removeArmor(text: string): Promise<Uint8Array> {
  const { decodeArmor } = await loadLibrary();
  try {
    return decodeArmor(text);
  } catch {
    throw new PipelineError(
      "config-invalid",
      "the armor of the identity file is damaged; expected what `age -p -a` made, whole",
    );
  }
}
