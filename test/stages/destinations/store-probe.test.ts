import assert from "node:assert/strict";
import { wholeOf } from "../../../src/stages/durable-file.ts";
import { PipelineError } from "../../../src/errors.ts";
import type { Finding } from "../../../src/stages/finding.ts";
import { probeStore, type Probed } from "../../../src/stages/destinations/store-probe.ts";

const refused = (status: number) =>
  new PipelineError("destination-refused", `refused with ${status}`, { details: { status } });

/** A store in memory that keeps the rules, but for what a test changes. */
function storeOf(change: (held: Map<string, Uint8Array>) => Partial<Probed>) {
  const held = new Map<string, Uint8Array>();
  const store = {
    async put({ name, bytes }: { name: string; bytes: Uint8Array }) {
      if (held.has(name)) throw new PipelineError("foreign-object", "taken");
      held.set(name, bytes);
    },
    async *list() {
      for (const [name, { length }] of held) yield { name, bytes: length };
    },
    async *get(name: string) {
      yield held.get(name)!;
    },
    async remove(name: string) {
      held.delete(name);
    },
    async close() {},
    ...change(held),
  } as unknown as Probed;
  return { held, store };
}

async function look(store: Probed | Error): Promise<Finding[]> {
  const { signal } = new AbortController();
  const open = async () => {
    if (store instanceof Error) throw store;
    return store;
  };
  const options = { folder: "rows", signal, timeoutMillis: 1000 } as Parameters<
    typeof probeStore
  >[0];
  return await Array.fromAsync(probeStore(options, open));
}

const told = (findings: readonly Finding[]) => JSON.stringify(findings);

describe("a look at a store", () => {
  it("finds nothing wrong with one that keeps the rules, and leaves nothing", async () => {
    const { store, held } = storeOf(() => ({}));
    const findings = await look(store);
    assert(findings.every(({ level }) => level === "ok"));
    const text = told(findings);
    assert.match(text, /a taken name is refused/);
    assert.match(text, /gives at once what was stored/);
    assert.equal(held.size, 0);
  });

  it("asks a full store for no more names than it takes to see that it shows them", async () => {
    let names = 0;
    const { store } = storeOf(() => ({
      async *list() {
        for (; ; names += 1) yield { name: `rows/run/${names}`, bytes: 1 };
      },
    }));
    assert((await look(store)).every(({ level }) => level === "ok"));
    assert.equal(names, 9_999);
  });

  it("says that names are not guarded, or not shown, or may not be listed", async () => {
    const unguarded = storeOf(() => ({ conditional: false }));
    assert.match(told(await look(unguarded.store)), /does not guard names itself/);
    const blind = storeOf(() => ({ async *list() {} }));
    assert.match(told(await look(blind.store)), /does not show what was just stored/);
    let lists = 0;
    const shy = storeOf((held) => ({
      async *list() {
        lists += 1;
        if (lists === 1) throw refused(403);
        for (const [name, { length }] of held) yield { name, bytes: length };
      },
    }));
    assert.match(told(await look(shy.store)), /not allowed/);
  });

  it("finds a store that overwrites, and one that gives other bytes back", async () => {
    const careless = storeOf((held) => ({
      put: async ({ name, bytes }) => void held.set(name, await wholeOf(bytes)),
    }));
    assert.match(told(await look(careless.store)), /a taken name was overwritten/);
    assert.equal(careless.held.size, 0);
    const liar = storeOf(() => ({
      async *get() {
        yield Buffer.from("other");
      },
    }));
    assert.match(told(await look(liar.store)), /other bytes came back/);
    assert.equal(liar.held.size, 0);
  });

  it("stores nothing where it may not remove, unless nobody knows who asks", async () => {
    const keeper = storeOf(() => ({ remove: () => Promise.reject(refused(403)) }));
    assert.match(told(await look(keeper.store)), /may not remove, and a trial would stay/);
    assert.equal(keeper.held.size, 0);
    const stranger = storeOf(() => ({ remove: () => Promise.reject(refused(401)) }));
    assert.match(told(await look(stranger.store)), /refused with 401/);
  });

  it("says what it had to leave behind", async () => {
    let removals = 0;
    const { store, held } = storeOf(() => ({
      async remove() {
        removals += 1;
        if (removals > 1) throw refused(403);
      },
    }));
    assert.match(told(await look(store)), /could not remove .*remove it by hand/);
    assert.equal(held.size, 1);
  });

  it("that cannot be opened says why; what is no failure of the store is thrown", async () => {
    assert.match(told(await look(refused(400))), /refused with 400/);
    await assert.rejects(look(new TypeError("ours")), TypeError);
    const next = () => Promise.reject(refused(401));
    const locked = storeOf(() => ({
      list: () => ({ [Symbol.asyncIterator]: () => ({ next }) }),
    }));
    assert.match(told(await look(locked.store)), /refused with 401/);
  });
});
