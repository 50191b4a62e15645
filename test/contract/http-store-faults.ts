/**
 * The script of faults for stores that are spoken to over HTTP, played by a scripted one: a kind of store adds its words
 * for what went wrong, and its listings.
 */
import { type Server, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { Destination } from "../../src/stages/destinations/destination.ts";
import type { RetryPolicy } from "../../src/stages/destinations/retry.ts";
import * as http from "../servers/http-faults.ts";
import type { Call, Fault, ScriptedStore } from "../servers/scripted-store.ts";
import { type FaultyStore, type Way, destinationFaults } from "./destination-faults.ts";

const [patientMillis, hastyMillis] = [5000, 120];
export const patience: RetryPolicy = {
  attempts: 3,
  firstMillis: 2,
  longestMillis: 10,
  totalMillis: 3000,
};
const prefix = "some/prefix/";

type Play = Fault["play"];

/** Ways to play faults; `ill` ones go on until the store is healed. */
export interface Stage {
  once(on: Fault["on"], play: Play, times?: number): () => void;
  always(on: Fault["on"], play: Play): () => void;
  redirect(status: number): Play;
  /** An answer with this content in the place of what the store would say. */
  says(content: string): Play;
}

export interface Kind<Store extends ScriptedStore> {
  start(): Promise<Store>;
  open(store: Store, timeoutMillis: number): Promise<Destination>;
  /** Refuses in the words of its kind. */
  refuse(
    call: Call,
    what: "busy" | "broken" | "denied" | "expired" | "skewed" | "damaged" | "missing",
  ): void;
  /** Stores these bytes with what the request says of those it sent; nothing is said where it is absent. */
  keep?(store: Store, call: Call, bytes: Buffer): void;
  /** Success as for these bytes, whatever was sent. */
  accept(call: Call, bytes: Buffer): void;
  /** Whether the bytes fit the digests that came with them. */
  fits(call: Call, bytes: Buffer): boolean;
  /** The header of an answer that tells a digest, and a wrong one. */
  readonly told: { readonly header: string; readonly wrong: string };
  readonly listing: (stage: Stage, prefix: string) => FaultyStore["listing"];
  /** Faults it meets in another way. */
  readonly writing?: (store: () => Store, stage: Stage) => Partial<FaultyStore["writing"]>;
  readonly foldCase?: string;
}

export function httpStoreFaults<Store extends ScriptedStore>(kind: Kind<Store>): void {
  let store: Store;
  let elsewhere: Server;
  let strayed = 0;
  /** Whether an illness was played. */
  let ill = false;
  /** Takes back what a fault did to an object. */
  let undo = () => {};

  before(async () => {
    store = await kind.start();
    elsewhere = createServer((_, response) => {
      strayed += 1;
      response.end();
    }).listen(0, "127.0.0.1");
  });
  after(async () => {
    await store.stop();
    elsewhere.close();
  });

  const once =
    (on: Fault["on"], play: Play, times = 1) =>
    () => {
      for (let i = 0; i < times; i += 1) store.faults.push({ on, play });
    };
  const early = (play: Play) => () => void store.faults.push({ on: "PUT", early: true, play });
  const always =
    (on: Fault["on"], play: Play, isEarly = false) =>
    () => {
      store.script = (call, isBefore) => {
        if (call.method !== on || isBefore !== isEarly) return undefined;
        ill = true;
        return play;
      };
    };
  const refuses = (what: Parameters<Kind<Store>["refuse"]>[1]) => (call: Call) =>
    kind.refuse(call, what);
  const redirect = (status: number) => (call: Call) => {
    const { port } = elsewhere.address() as AddressInfo;
    http.answerWith(status, { location: `http://127.0.0.1:${port}/x` })(call);
  };
  const keeps = (change: (bytes: Buffer) => Buffer) => (call: Call) => {
    const bytes = change(Buffer.from(call.body));
    if (kind.keep) kind.keep(store, call, bytes);
    else store.objects.set(call.key, { bytes, meta: {} });
    kind.accept(call, bytes);
  };
  const flip = (bytes: Buffer) => {
    bytes[7] = bytes[7]! ^ 1;
    return bytes;
  };
  const damage = (call: Call) => {
    if (kind.fits(call, flip(Buffer.from(call.body)))) call.serve();
    else kind.refuse(call, "damaged");
  };
  const says = (content: string) =>
    http.rewrite((text) => {
      const [head = ""] = text.split("\r\n\r\n");
      const kept = head.replace(/\r\n(content-length|transfer-encoding): [^\r]*/gi, "");
      return `${kept}\r\ncontent-length: ${Buffer.byteLength(content)}\r\n\r\n${content}`;
    });
  const { header, wrong } = kind.told;
  const told = new RegExp(`${header}: [^\r]*\r\n`, "gi");
  const untold = http.rewrite((text) => text.replace(told, ""));
  const stage: Stage = { once, always, redirect, says };

  destinationFaults({
    persists: true,
    mostAsked: 4 * patience.attempts,
    open: (hasty = false) => kind.open(store, hasty ? hastyMillis : patientMillis),
    stored: async (name) => store.objects.get(prefix + name)?.bytes,
    plant: async (name, bytes) =>
      void store.objects.set(prefix + name, { bytes: Buffer.from(bytes), meta: {} }),
    came: () => store.faults.length === 0 && (store.script === undefined || ill),
    asked: () => store.requests.length,
    strayed: () => strayed,
    heal() {
      store.faults.length = 0;
      store.script = undefined;
      ill = false;
      undo();
      undo = () => {};
      store.conditions = "honour";
      store.foldsCase = false;
    },
    reset: async () => store.objects.clear(),
    foldCase: kind.foldCase ?? (() => void (store.foldsCase = true)),
    writing: {
      "stores and loses the answer": once("PUT", http.serveUnheard),
      "loses the request": once("PUT", http.hangUp, 2),
      "breaks off in the middle of the request": early(http.cutRequest(100_000)),
      "ends in the middle of the answer": once("PUT", http.cutAnswer(20, "end")),
      "resets in the middle of the answer": once("PUT", http.cutAnswer(20, "reset")),
      "damages the bytes on their way": once("PUT", damage, 2),
      "takes less at a time than it is given": "TCP hides it",
      "has no room for a while": "a full store is a busy one",
      "is busy for a while": once("PUT", refuses("busy"), 2),
      "is busy for ever, and says for how long": always(
        "PUT",
        http.answerWith(503, { "retry-after": "86400" }),
      ),
      "is busy for ever": always("PUT", refuses("busy")),
      "is flooded for a while": once("PUT", http.answerWith(429, { "retry-after": "0" }), 2),
      "fails for ever": always("PUT", refuses("broken")),
      "never answers": always("PUT", http.fallSilent),
      "answers byte by byte": always("PUT", http.dribble(20)),
      "takes the request byte by byte": always("PUT", http.sip(20), true),
      "refuses before it has read": early(refuses("denied")),
      "says that credentials have expired": once("PUT", refuses("expired")),
      "says that the clock is off": once("PUT", refuses("skewed")),
      "sends elsewhere": once("PUT", redirect(301)),
      "sends elsewhere for a while": once("PUT", redirect(307)),
      "says success and an error, and stores nothing": once("PUT", (call) =>
        http.answerWith(200, {}, "<Error><Code>InternalError</Code></Error>")(call),
      ),
      "says success with a web page, and stores nothing": once(
        "PUT",
        http.answerWith(200, {}, webPage),
      ),
      "says nothing of what it stored": once("PUT", untold),
      "names another digest": once(
        "PUT",
        http.rewrite((text) => text.replace(told, `${header}: ${wrong}\r\n`)),
      ),
      "answers twice": once(
        "PUT",
        http.rewrite((text) => text + text),
      ),
      "keeps a part": once(
        "PUT",
        keeps((bytes) => bytes.subarray(0, 1000)),
      ),
      "keeps other bytes": once("PUT", keeps(flip)),
      "keeps an empty object": once(
        "PUT",
        keeps(() => Buffer.alloc(0)),
      ),
      "shows what it stored only later": () => {
        once("PUT", untold)();
        once("HEAD", refuses("missing"), 2)();
      },
      "ignores conditions": () => void (store.conditions = "ignore"),
      "refuses conditions": () => void (store.conditions = "refuse"),
      ...kind.writing?.(() => store, stage),
    },
    reading: readingFaults(
      stage,
      refuses,
      () => store.objects.get(`${prefix}p/r/page`)!.bytes,
      (bytes) => {
        const path = `${prefix}p/r/page`;
        const kept = store.objects.get(path)!;
        store.objects.set(path, { ...kept, bytes });
        undo = () => void store.objects.set(path, kept);
      },
    ),
    listing: kind.listing(stage, prefix),
  });
}

export const webPage = "<html><body>Please sign in</body></html>";

function readingFaults(
  { once, always, redirect }: Stage,
  refuses: (what: "busy" | "expired") => Play,
  page: () => Buffer,
  change: (bytes: Buffer) => void,
): Readonly<Record<keyof FaultyStore["reading"], Way>> {
  return {
    "gives less at a time than it is asked for": "TCP hides it",
    "ends in the middle": once("GET", http.cutAnswer(200_000, "end"), 2),
    "resets in the middle": once("GET", http.cutAnswer(100_000, "reset")),
    "is busy for a while": once("GET", refuses("busy"), 2),
    "is busy for ever": always("GET", refuses("busy")),
    "never answers": always("GET", http.fallSilent),
    "falls silent in the middle, again and again": always("GET", ({ request, response }) => {
      const from = Number(/\d+/.exec(request.headers.range ?? "0")?.[0]);
      const length = { "content-length": 300_000 - from, etag: '"it"' };
      const range = from > 0 ? { "content-range": `bytes ${from}-299999/300000` } : {};
      response.writeHead(from > 0 ? 206 : 200, { ...length, ...range });
      response.write(page().subarray(from, from + 1000));
    }),
    "gives a byte at a time": always("GET", http.dribble(1, 1000)),
    "ends early, again and again": always("GET", http.cutAnswer(2000, "end")),
    "does not say how long it is": once("GET", ({ response }) => {
      response.writeHead(200, { etag: '"x"' }).write("some");
      response.end();
    }),
    "changes the object in the middle": once("GET", (call) => {
      http.cutAnswer(100_000, "end")(call);
      change(Buffer.alloc(page().length, "X"));
    }),
    "says that credentials have expired": once("GET", refuses("expired")),
    "sends elsewhere": once("GET", redirect(307)),
  };
}

/** What any kind's listing may come to, whatever it looks like. */
export function listingFaults(
  { once, always, redirect, says }: Stage,
  on: Fault["on"],
  refusing: { readonly busy: Play; readonly expired: Play },
) {
  return {
    "gives less at a time than it is asked for": "TCP hides it",
    "ends in the middle": once(on, http.cutAnswer(300, "end"), 2),
    "is busy for a while": once(on, refusing.busy, 2),
    "never answers": always(on, http.fallSilent),
    "answers byte by byte": always(on, http.dribble(20)),
    "says success and an error": once(on, says("<Error><Code>InternalError</Code></Error>")),
    "answers with a web page": once(on, says(webPage)),
    "never ends a page": always(on, ({ response }) => {
      response.writeHead(on === "PROPFIND" ? 207 : 200);
      const timer = setInterval(() => response.write(" ".repeat(65_536)), 1);
      response.on("close", () => clearInterval(timer));
    }),
    "says that credentials have expired": once(on, refusing.expired),
    "sends elsewhere": once(on, redirect(301)),
  };
}
