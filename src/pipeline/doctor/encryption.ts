/** Whether pages will be sealed so that they open again, and whether this machine could open them, which it should not. */
import { readdir } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { PipelineError } from "../../errors.ts";
import { doubt, fault, good, type Finding } from "../../stages/finding.ts";
import { compress, compressWork } from "../../stages/pages/compress.ts";
import { encrypt, encryptWork } from "../../stages/pages/encrypt.ts";
import { identityToRecipient } from "../../workers/age.ts";
import { sealPage, type SealTask } from "../../workers/seal.ts";
import type { Plan } from "../plan-types.ts";
import { findReferences } from "../references.ts";
import { withFile, withoutWaiting } from "../with-file.ts";
import type { Examined } from "./examined.ts";

const content = Buffer.from('{"id":1}\n');
const longestKeyFileBytes = 64 * 1024;
const mostFiles = 500;

export async function* examineEncryption(examined: Examined): AsyncGenerator<Finding> {
  const { encrypt: readers } = workOf(examined.plan);
  if (!readers) {
    yield doubt(
      "readers",
      "`encrypt: none`",
      "whoever can read the spool or the destination reads the rows; name public keys in `encrypt.to` unless that is meant",
    );
    return;
  }
  const count = readers.to?.length ?? 0;
  const who = count > 0 ? `${count} public key${count === 1 ? "" : "s"}` : "a passphrase";
  yield good("readers", who);
  yield await trySealing(examined.plan);
  if (readers.to) yield* findIdentities(examined, new Set(readers.to));
  else
    yield doubt(
      "keys",
      "the exporter knows the passphrase",
      "whoever takes over this machine can read what it wrote; public keys in `encrypt.to` avoid that",
    );
}

/** As `compress` and `encrypt` would ask the worker. */
function workOf({ configured }: Plan): Pick<SealTask, "compress" | "encrypt"> {
  const configOf = (definition: unknown) =>
    configured.find((stage) => stage.definition === definition)?.config as never;
  return { compress: compressWork(configOf(compress)), ...encryptWork(configOf(encrypt)) };
}

/** One page with one record, sealed as a run would, which opens it again to compare. */
async function trySealing(plan: Plan): Promise<Finding> {
  const identity = {
    run: "doctor",
    page: 0,
    records: 1,
    total: 1,
    span: "whole",
    bytes: content.length,
    chain: "0".repeat(64),
    final: true,
  } as const;
  try {
    await sealPage({
      content: Uint8Array.from(content),
      identity,
      ...workOf(plan),
    });
    return good("sealing", "a trial page was sealed, opened again, and was the same");
  } catch (error) {
    if (error instanceof PipelineError) return fault("sealing", error);
    throw error;
  }
}

/** Secret keys beside the pipeline, or referenced by it, that open what is exported. */
async function* findIdentities(
  { pipeline, env }: Examined,
  readers: ReadonlySet<string>,
): AsyncGenerator<Finding> {
  const { baseDir, spec } = pipeline;
  const names = await readdir(baseDir).catch(() => []);
  const files = new Set(names.slice(0, mostFiles).map((name) => join(baseDir, name)));
  const places: (readonly [place: string, text: string])[] = [];
  for (const { kind, name } of findReferences(spec)) {
    if (kind === "env") places.push([`the variable ${name}`, env[name] ?? ""]);
    else files.add(resolve(baseDir, name));
  }
  for (const path of files) places.push([basename(path), await readSmall(path)]);
  const found: string[] = [];
  for (const [place, text] of places) if (await opens(text, readers)) found.push(place);
  if (found.length === 0) {
    yield good("keys", "no key that opens the pages lies beside the pipeline");
    return;
  }
  yield doubt(
    "keys",
    `${[...new Set(found)].join(", ")} opens the pages`,
    "whoever takes over this machine can read what it wrote; keep the key with those who read, and away from here",
  );
}

async function readSmall(path: string): Promise<string> {
  try {
    return await withFile(path, withoutWaiting, async (file) => {
      const found = await file.stat();
      if (!found.isFile() || found.size > longestKeyFileBytes) return "";
      return await file.readFile("latin1");
    });
  } catch {
    // What cannot be read cannot be used either.
    return "";
  }
}

async function opens(text: string, readers: ReadonlySet<string>): Promise<boolean> {
  for (const [identity] of text.matchAll(/AGE-SECRET-KEY-1[0-9A-Z]+/g)) {
    const recipient = await identityToRecipient(identity).catch(() => "");
    if (readers.has(recipient)) return true;
  }
  return false;
}
