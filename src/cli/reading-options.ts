/** What the verbs that read an export share: keys, passphrase, signer and where S3 is. Secrets never come by argv. */
import { constants } from "node:fs";
import { withFile } from "../pipeline/with-file.ts";
import type { ReadOptions } from "../readback/find-run.ts";
import { PipelineError, systemCode } from "../errors.ts";
import type { Call, VerbOption } from "./verb.ts";

export const s3Options: readonly VerbOption[] = [
  { flags: "--endpoint <url>", description: "S3 endpoint; AWS_ENDPOINT_URL when absent" },
  { flags: "--region <name>", description: "S3 region; AWS_REGION when absent" },
  { flags: "--path-style", description: "S3 addresses of the form endpoint/bucket/key" },
];

export const keyOptions: readonly VerbOption[] = [
  {
    flags: "-i, --identity <file>",
    description: "age identity file that opens the pages; may be given several times",
    repeats: true,
  },
  {
    flags: "--passphrase-file <file>",
    description: "file whose first line is the passphrase; SPILLWAY_PASSPHRASE when absent",
  },
  {
    flags: "--signer <key>",
    description: "demand this signer: ed25519:…, or a file with its public key (PEM)",
  },
];

export const s3Note =
  "S3 credentials come from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN.";

/** Reads what the options name. */
export async function readingOptions(call: Call, signal: AbortSignal): Promise<ReadOptions> {
  const identity = await Promise.all(
    call.texts("identity").map((path) => readSecret(path, "an age identity file", "latin1")),
  );
  const passphrase = await readPassphrase(call);
  const signer = await readSigner(call.text("signer"));
  return {
    signal,
    s3: s3Of(call),
    ...(identity.length > 0 && { identity }),
    ...(passphrase !== undefined && { passphrase }),
    ...(signer !== undefined && { signer }),
  };
}

/** True when the call has what opens sealed pages. */
export const hasKey = (call: Call): boolean =>
  call.texts("identity").length > 0 ||
  call.text("passphrase-file") !== undefined ||
  Boolean(call.env["SPILLWAY_PASSPHRASE"]);

function s3Of(call: Call): NonNullable<ReadOptions["s3"]> {
  const endpoint = call.text("endpoint");
  const region = call.text("region");
  return {
    ...(endpoint !== undefined && { endpoint }),
    ...(region !== undefined && { region }),
    ...(call.flag("path-style") && { pathStyle: true }),
  };
}

async function readPassphrase(call: Call): Promise<string | undefined> {
  const path = call.text("passphrase-file");
  if (path === undefined) return call.env["SPILLWAY_PASSPHRASE"] || undefined;
  const [line = ""] = (await readSecret(path, "a file with a passphrase")).split(/\r?\n/, 1);
  if (line !== "") return line;
  throw new PipelineError(
    "config-invalid",
    `${path}: its first line is empty; expected a passphrase`,
  );
}

async function readSigner(signer: string | undefined): Promise<string | undefined> {
  if (signer === undefined || signer.startsWith("ed25519:")) return signer;
  return readText(signer, "ed25519:… or a file with a public key");
}

const mostBytes = 2 ** 20;
const byteOrderMark = Buffer.from("\uFEFF");

/** As ssh does with its keys: what others can read is no secret. An identity that is itself sealed may lie open. */
async function readSecret(path: string, expected: string, encoding: Encoding = "utf8") {
  const { text, mode } = await readOpened(path, expected, encoding);
  const isSealed = /^(?:age-encryption\.org\/|\s*-----BEGIN AGE ENCRYPTED FILE-----)/.test(text);
  if ((mode & 0o077) === 0 || isSealed || process.platform === "win32") return text;
  throw new PipelineError(
    "config-invalid",
    `${path} holds a secret others can read; run: chmod 600 ${path}`,
  );
}

const readText = async (path: string, expected: string): Promise<string> =>
  (await readOpened(path, expected, "utf8")).text;

/** `latin1` is one letter a byte: an identity file that is itself sealed stays what it is. */
type Encoding = "utf8" | "latin1";

async function readOpened(path: string, expected: string, encoding: Encoding) {
  try {
    const { mode, bytes } = await withFile(path, constants.O_RDONLY, async (file) => {
      const { mode } = await file.stat();
      const parts = await Array.fromAsync<Buffer>(file.createReadStream({ end: mostBytes }));
      return { mode, bytes: Buffer.concat(parts) };
    });
    if (bytes.length > mostBytes)
      throw new PipelineError("config-invalid", tooLong(path, expected));
    const isMarked = bytes.subarray(0, byteOrderMark.length).equals(byteOrderMark);
    return { mode, text: bytes.toString(encoding, isMarked ? byteOrderMark.length : 0) };
  } catch (error) {
    if (error instanceof PipelineError) throw error;
    const reason = systemCode(error) ?? "unknown error";
    const what = reason === "ENOENT" ? "no such file" : `cannot be read (${reason})`;
    throw new PipelineError("input-missing", `${path}: ${what}; expected ${expected}`);
  }
}

const tooLong = (path: string, expected: string) =>
  `${path} is larger than 1 MiB; expected ${expected}`;
