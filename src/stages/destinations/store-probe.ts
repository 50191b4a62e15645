/**
 * What `doctor` asks of a store through the verbs of a run: may we list, store, read and remove, and is a taken name safe.
 *
 * Two small objects with one random name are put below the pipeline's folder, beside its runs; what is stored is removed
 * at once, also after a failure or Ctrl-C. Where removing is not allowed nothing is stored.
 */
import { createHash, randomBytes } from "node:crypto";
import { PipelineError } from "../../errors.ts";
import { gather } from "../durable-file.ts";
import { doubt, fault, good, type Finding } from "../finding.ts";
import { staysOnThisMachine } from "../this-machine.ts";
import type { Destination, ProbeOptions } from "./destination.ts";
import { isLeftover, probeName } from "./probe-name.ts";
import type { RetryPolicy } from "./retry.ts";

const requestMillis = 5000;
const removeMillis = 5000;

/** Who looks does not wait for better times. */
export const probePatience: RetryPolicy = {
  attempts: 2,
  firstMillis: 50,
  longestMillis: 50,
  totalMillis: requestMillis,
};

/** A destination that can be tried without a trace. */
export type Probed = Destination &
  Required<Pick<Destination, "remove">> & { readonly conditional?: boolean | undefined };

/** Opens the destination with short deadlines and looks at it; `describe` says first what is known without asking. */
export async function* probeStore(
  { folder, signal, timeoutMillis, ...options }: ProbeOptions,
  open: (options: Omit<ProbeOptions, "folder" | "signal">) => Promise<Probed>,
): AsyncGenerator<Finding> {
  let store: Probed | undefined;
  const name = probeName(folder);
  let isMade = false;
  try {
    store = await open({ ...options, timeoutMillis: Math.min(requestMillis, timeoutMillis) });
    yield* probeListing(store, folder, signal);
    const refusal = await refusalOf(store.remove(name, signal));
    if (refusal) yield untried(refusal);
    else {
      isMade = true;
      yield* probeWriting(store, name, signal);
    }
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof PipelineError)) throw error;
    yield fault("store", error);
  } finally {
    if (store && isMade)
      isMade = await store.remove(name, AbortSignal.timeout(removeMillis)).then(
        () => false,
        () => true,
      );
    await store?.close();
  }
  if (isMade)
    yield doubt("cleaning up", `could not remove ${name}`, "remove it by hand; no run reads it");
}

/** Whoever stands between sees what a request holds, unless it stays on this machine. */
export function* describeWay(origin: URL): Generator<Finding> {
  if (origin.protocol === "https:" || staysOnThisMachine(origin.hostname)) return;
  yield doubt(
    "TLS",
    "the endpoint is http:",
    "whoever stands between sees names and sizes, and can change answers; use https: where the store has it",
  );
}

async function* probeListing(
  store: Probed,
  folder: string,
  signal: AbortSignal,
): AsyncGenerator<Finding> {
  const asked = Date.now();
  const refusal = await refusalOf(firstOf(store.list(folder, signal)));
  if (refusal && refusal.details.status !== 403) throw refusal;
  yield good("endpoint", `answers in ${Date.now() - asked} ms`);
  if (refusal) yield doubtListing("not allowed");
}

/** What follows where names may not be listed. */
export const doubtListing = (found: string): Finding =>
  doubt(
    "listing",
    found,
    "`ls`, `verify` and `restore` need it; a run reads each page again instead",
  );

async function* probeWriting(
  store: Probed,
  name: string,
  signal: AbortSignal,
): AsyncGenerator<Finding> {
  const [object, other] = [objectOf(name), objectOf(name)];
  await store.put(object, signal);
  yield good("writing", "works");
  const refusal = await refusalOf(store.put(other, signal), "foreign-object");
  if (!refusal) throw untrue("a taken name was overwritten");
  yield store.conditional === false
    ? doubt(
        "no overwriting",
        "the store does not guard names itself (`If-None-Match: *`)",
        "each put is preceded by a question, and what others overwrite in between is found by `verify` only; " +
          "let no one else write below this folder",
      )
    : good("no overwriting", "a taken name is refused");
  const found = await gather(store.get(name, signal));
  if (!found.equals(object.bytes)) throw untrue("other bytes came back than were stored");
  yield good("reading back", "gives at once what was stored");
  const folder = name.slice(0, name.lastIndexOf("/"));
  if (await isShown(store, name, { folder, signal })) return;
  yield doubt(
    "listing",
    "does not show what was just stored",
    "a run reads every page again before it commits; give `verify` and `restore` the URL of a run's folder",
  );
}

/** Runs of years lie before what is looked for; a store that shows so many names shows that one too. */
const namesAtMost = 10_000;

/** On the way there, what a look that was killed could not take back is removed: it lies before what is new. */
async function isShown(
  store: Probed,
  name: string,
  { folder, signal }: Pick<ProbeOptions, "folder" | "signal">,
): Promise<boolean> {
  const left: string[] = [];
  let found = false;
  let names = 0;
  for await (const listed of store.list(folder, signal)) {
    names += 1;
    found = listed.name === name || names === namesAtMost;
    if (found) break;
    if (isLeftover(listed.name, folder)) left.push(listed.name);
  }
  for (const old of left) await store.remove(old, signal);
  return found;
}

function objectOf(name: string) {
  const bytes = randomBytes(64);
  return { name, bytes, sha256: createHash("sha256").update(bytes).digest() };
}

async function firstOf(listed: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of listed) return;
}

/** The refusal that work ends with; other failures are thrown. */
async function refusalOf(
  work: Promise<unknown>,
  code = "destination-refused",
): Promise<PipelineError | undefined> {
  try {
    await work;
    return undefined;
  } catch (error) {
    if (error instanceof PipelineError && error.code === code) return error;
    throw error;
  }
}

function untried(refusal: PipelineError): Finding {
  const { status } = refusal.details;
  if (status === 401) throw refusal;
  return doubt(
    "writing",
    "not tried: may not remove, and a trial would stay",
    "nothing wrong with that; a run finds out with its first page",
  );
}

const untrue = (what: string): PipelineError =>
  new PipelineError(
    "destination-failed",
    `${what}; nothing there can be trusted, use another store`,
  );
