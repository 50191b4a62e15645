/**
 * What every destination promises when its store fails, as one suite: a script of faults, and what must follow of each.
 * A destination's own test says how its store is brought to a fault, or why it cannot come to it.
 *
 * Whatever happens: no silent success, no other bytes under a name, no second object, an end within the patience it was
 * given, an error that says what to do, and the same put again, once the store is well, makes it good.
 */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import type { Destination } from "../../src/stages/destinations/destination.ts";
import type { ErrorCode } from "../../src/errors.ts";
import { expectError, listAll, objectOf, readAll } from "./destination-contract.ts";

/** Brings the store to a fault; a text says why it cannot come to it. */
export type Way = (() => void | Promise<void>) | string;

/** `stored`: as if nothing were wrong. `mended`: by asking again, where the destination does so; else by the next put. */
type Outcome = "stored" | "mended" | ErrorCode;

interface Case<Ends> {
  readonly ends: Ends;
  /** The store lets wait for ever, so that a deadline must end it. */
  readonly endless?: boolean;
}

interface WriteCase extends Case<Outcome> {
  /** What the same put ends with when the store is well again; `stored` when absent. */
  readonly later?: "foreign-object";
  /** More than sockets buffer, where it matters that somebody still sends. */
  readonly bytes?: number;
}

const writeFaults = {
  "stores and loses the answer": { ends: "mended" },
  "loses the request": { ends: "mended" },
  "breaks off in the middle of the request": { ends: "mended" },
  "ends in the middle of the answer": { ends: "mended" },
  "resets in the middle of the answer": { ends: "mended" },
  "damages the bytes on their way": { ends: "mended" },
  "takes less at a time than it is given": { ends: "stored" },
  "has no room for a while": { ends: "destination-failed" },
  "is busy for a while": { ends: "mended" },
  "is busy for ever, and says for how long": { ends: "destination-unreachable" },
  "is busy for ever": { ends: "destination-unreachable" },
  "is flooded for a while": { ends: "mended" },
  "fails for ever": { ends: "destination-unreachable" },
  "never answers": { ends: "destination-unreachable", endless: true },
  "answers byte by byte": { ends: "destination-unreachable", endless: true },
  "takes the request byte by byte": {
    ends: "destination-unreachable",
    endless: true,
    bytes: 12 * 2 ** 20,
  },
  "refuses before it has read": { ends: "destination-refused", bytes: 12 * 2 ** 20 },
  "says that credentials have expired": { ends: "destination-refused" },
  "says that the clock is off": { ends: "destination-refused" },
  "sends elsewhere": { ends: "destination-refused" },
  "sends elsewhere for a while": { ends: "destination-refused" },
  "says success and an error, and stores nothing": { ends: "mended" },
  "says success with a web page, and stores nothing": { ends: "mended" },
  "says nothing of what it stored": { ends: "mended" },
  "names another digest": { ends: "mended" },
  "answers twice": { ends: "stored" },
  "keeps a part": { ends: "destination-failed", later: "foreign-object" },
  "keeps other bytes": { ends: "destination-failed", later: "foreign-object" },
  "keeps an empty object": { ends: "destination-failed", later: "foreign-object" },
  "shows what it stored only later": { ends: "mended" },
  "ignores conditions": { ends: "stored" },
  "refuses conditions": { ends: "stored" },
} as const satisfies Record<string, WriteCase>;

const readFaults = {
  "gives less at a time than it is asked for": { ends: "stored" },
  "ends in the middle": { ends: "mended" },
  "resets in the middle": { ends: "mended" },
  "is busy for a while": { ends: "mended" },
  "is busy for ever": { ends: "destination-unreachable" },
  "never answers": { ends: "destination-unreachable", endless: true },
  "falls silent in the middle, again and again": { ends: "destination-failed", endless: true },
  "gives a byte at a time": { ends: "destination-failed", endless: true },
  "ends early, again and again": { ends: "destination-failed" },
  "does not say how long it is": { ends: "destination-failed" },
  "changes the object in the middle": { ends: "destination-failed" },
  "says that credentials have expired": { ends: "destination-refused" },
  "sends elsewhere": { ends: "destination-refused" },
} as const satisfies Record<string, Case<Outcome>>;

const listFaults = {
  "gives less at a time than it is asked for": { ends: "stored" },
  "ends in the middle": { ends: "mended" },
  "is busy for a while": { ends: "mended" },
  "never answers": { ends: "destination-unreachable", endless: true },
  "answers byte by byte": { ends: "destination-unreachable", endless: true },
  "repeats a page": { ends: "destination-failed" },
  "goes round in a circle": { ends: "destination-failed" },
  "cuts a page short": { ends: "destination-failed" },
  "mixes the order": { ends: "destination-failed" },
  "says success and an error": { ends: "destination-failed" },
  "answers with a web page": { ends: "destination-failed" },
  "never ends a page": { ends: "destination-unreachable", endless: true },
  "says that credentials have expired": { ends: "destination-refused" },
  "sends elsewhere": { ends: "destination-refused" },
} as const satisfies Record<string, Case<Outcome>>;

/** Keys of a listing; a scripted store gives fewer than that at once. */
const listedNames = Array.from({ length: 12 }, (_, page) => `p/r/${String(page).padStart(8, "0")}`);

export interface FaultyStore {
  readonly writing: Readonly<Record<keyof typeof writeFaults, Way>>;
  readonly reading: Readonly<Record<keyof typeof readFaults, Way>>;
  readonly listing: Readonly<Record<keyof typeof listFaults, Way>>;
  /** What only a store of its kind can do to a put. */
  readonly ofItsKind?: Readonly<Record<string, WriteCase & { readonly way: () => void }>>;
  /** Makes names that differ in case alone one name. */
  readonly foldCase: Way;
  /** Whether a put or get asks again by itself. */
  readonly persists: boolean;
  /** A destination that tries a few times; `hasty` with short deadlines. */
  open(hasty?: boolean): Promise<Destination>;
  /** What really lies under a name. */
  stored(name: string): Promise<Uint8Array | undefined>;
  /** Lays bytes there, past the destination. */
  plant(name: string, bytes: Uint8Array): Promise<void>;
  /** Ends every fault. */
  heal(): void | Promise<void>;
  /** Whether the fault it was brought to has come. */
  came(): boolean;
  /** Requests so far. */
  asked(): number;
  /** Requests one operation may make at most. */
  readonly mostAsked: number;
  /** Requests that went elsewhere. */
  strayed(): number;
  /** Empties the store. */
  reset(): Promise<void>;
}

type Scripts = Pick<FaultyStore, "writing" | "reading" | "listing">;

/** Says why a store cannot come to any fault; those it can come to are put over it. */
export function comesTo(nothing: string): Scripts {
  const all = <Fault extends string>(faults: Readonly<Record<Fault, unknown>>) =>
    Object.fromEntries(Object.keys(faults).map((fault) => [fault, nothing])) as Record<Fault, Way>;
  return { writing: all(writeFaults), reading: all(readFaults), listing: all(listFaults) };
}

/** Runs the suite against a store that `describe` has made ready. */
export function destinationFaults(store: FaultyStore): void {
  afterEach(async () => {
    await store.heal();
    await store.reset();
    assert.equal(store.strayed(), 0, "nothing goes elsewhere");
  });

  describe("storing, when the store", () => {
    const meets = (fault: string, way: () => void | Promise<void>, expected: WriteCase) => {
      it(fault, () => storing(store, way, expected, false));
      // Where the session has stored before, it asks less.
      if (!expected.endless) it(`${fault}, later`, () => storing(store, way, expected, true));
    };
    for (const [fault, expected] of Object.entries(writeFaults)) {
      const way = store.writing[fault as keyof typeof writeFaults];
      if (typeof way !== "string") meets(fault, way, expected);
    }
    for (const [fault, { way, ...expected }] of Object.entries(store.ofItsKind ?? {}))
      meets(fault, way, expected);

    it("holds the same bytes already", async () => {
      await store.plant("p/r/page", Buffer.from("the same"));
      await using(store, (to) => to.put(objectOf("p/r/page", "the same"), never));
    });

    it("holds other bytes of somebody else under the name", async () => {
      for (const other of ["THE SAME", "longer than that", ""]) {
        await store.plant("p/r/page", Buffer.from(other));
        await using(store, (to) =>
          expectError("foreign-object", to.put(objectOf("p/r/page", "the same"), never)),
        );
        assert.equal(String(await store.stored("p/r/page")), other);
        await store.reset();
      }
    });

    const { foldCase } = store;
    if (typeof foldCase !== "string") {
      it("takes names that differ in case alone for one", async () => {
        await foldCase();
        await using(store, async (to) => {
          await to.put(objectOf("p/r/page", "small"), never);
          await expectError("foreign-object", to.put(objectOf("p/r/PAGE", "LARGE"), never));
        });
        assert.equal(String(await store.stored("p/r/page")), "small");
      });
    }
  });

  describe("reading, when the store", () => {
    for (const [fault, expected] of Object.entries(readFaults)) {
      const way = store.reading[fault as keyof typeof readFaults];
      if (typeof way !== "string") it(fault, () => reading(store, way, expected));
    }
  });

  describe("listing, when the store", () => {
    for (const [fault, expected] of Object.entries(listFaults)) {
      const way = store.listing[fault as keyof typeof listFaults];
      if (typeof way !== "string") it(fault, () => listing(store, way, expected));
    }
  });
}

const never = new AbortController().signal;

async function using(
  store: FaultyStore,
  work: (to: Destination) => Promise<unknown>,
  hasty = false,
): Promise<void> {
  const destination = await store.open(hasty);
  try {
    await work(destination);
  } finally {
    await destination.close();
  }
}

/** @param warm whether the session has stored something before the fault */
async function storing(
  store: FaultyStore,
  way: () => void | Promise<void>,
  { ends, later, bytes = 300_000, endless = false }: WriteCase,
  warm: boolean,
): Promise<void> {
  const content = randomBytes(bytes);
  const other = objectOf("p/r/other", "of the same run");
  const lent = Buffer.from(content);
  const put = async (to: Destination) => {
    if (warm) await to.put(other, never);
    const before = store.asked();
    await way();
    const putting = to.put(objectOf("p/r/page", lent), never);
    const expected = ends === "mended" && !store.persists ? "destination-failed" : ends;
    const succeeds = expected === "stored" || expected === "mended";
    await (succeeds ? putting : expectError(expected, putting));
    assert.ok(store.came(), "the fault came");
    assert.ok(store.asked() - before <= store.mostAsked, "asks within bounds");
    // Its lender uses the memory again: nobody may still be sending from it.
    lent.fill("S");
    const found = await store.stored("p/r/page");
    if (succeeds) assert.ok(found && content.equals(found));
    else if (!later) assert.ok(found === undefined || content.equals(found), "all or nothing");
  };
  await using(store, put, endless);
  await store.heal();
  await using(store, async (to) => {
    const again = to.put(objectOf("p/r/page", content), never);
    await (later ? expectError(later, again) : again);
    if (later) return;
    await expectError("foreign-object", to.put(objectOf("p/r/page", "another"), never));
    await to.put(other, never);
    const names = (await listAll(to)).map(({ name }) => name);
    assert.deepEqual(names, ["p/r/other", "p/r/page"]);
    assert.ok(content.equals(await readAll(to, "p/r/page")));
  });
}

/** Plays a fault and waits for the work, which must be mended, or end as expected. Gives whether it was mended. */
async function play(
  store: FaultyStore,
  way: () => void | Promise<void>,
  { ends, endless = false }: Case<Outcome>,
  work: (to: Destination) => Promise<void>,
): Promise<boolean> {
  const isMended = ends === "stored" || (ends === "mended" && store.persists);
  const before = store.asked();
  await way();
  const failing = ends === "mended" || ends === "stored" ? "destination-failed" : ends;
  await using(store, (to) => (isMended ? work(to) : expectError(failing, work(to))), endless);
  assert.ok(store.came(), "the fault came");
  assert.ok(store.asked() - before <= 10 * store.mostAsked, "asks within bounds");
  await store.heal();
  return isMended;
}

async function reading(
  store: FaultyStore,
  way: () => void | Promise<void>,
  expected: Case<Outcome>,
): Promise<void> {
  const content = randomBytes(300_000);
  await using(store, (to) => to.put(objectOf("p/r/page", content), never));
  const pieces: Uint8Array[] = [];
  const isMended = await play(store, way, expected, async (to) => {
    for await (const piece of to.get("p/r/page", never)) pieces.push(Uint8Array.from(piece));
  });
  const got = Buffer.concat(pieces);
  assert.ok(content.subarray(0, got.length).equals(got), "gives only what is there");
  if (isMended) assert.equal(got.length, content.length);
  await using(store, async (to) => assert.ok(content.equals(await readAll(to, "p/r/page"))));
}

async function listing(
  store: FaultyStore,
  way: () => void | Promise<void>,
  expected: Case<Outcome>,
): Promise<void> {
  await using(store, async (to) => {
    for (const name of listedNames) await to.put(objectOf(name, name), never);
  });
  const names: string[] = [];
  const isMended = await play(store, way, expected, async (to) => {
    for await (const { name } of to.list("p/r", never)) names.push(name);
  });
  if (isMended) assert.deepEqual(names, listedNames);
  else assert.deepEqual([...new Set(names)].toSorted(), names, "in order, and each once");
  await using(store, async (to) =>
    assert.equal((await listAll(to, "p/r")).length, listedNames.length),
  );
}
