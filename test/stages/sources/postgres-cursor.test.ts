/** How far the cursor runs ahead, and how fetches follow the width of rows. */
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { atEase } from "../../../src/stages/pressure.ts";
import {
  RowCursor,
  type RowRoom,
  type RowsOfBatch,
} from "../../../src/stages/sources/postgres-cursor.ts";
import { type Session, openSession } from "../../../src/stages/sources/postgres-session.ts";
import { sharedPostgres } from "../../servers/postgres.ts";

type Writable<T> = { -readonly [Key in keyof T]: T[Key] };

const batchBytes = 64 * 1024;
/** What one read from a socket may bring after the cursor has stopped reading. */
const chunkBytes = 64 * 1024;

let session: Session;
/** Changed by a test to press the cursor. */
let pressure: Writable<RowRoom["pressure"]>;

async function open(): Promise<Session> {
  const { url } = await sharedPostgres();
  const signal = new AbortController().signal;
  return openSession({ url, connectMillis: 5000, answerMillis: 5000 }, signal);
}

beforeEach(async () => {
  session = await open();
  pressure = { share: 1, settings: atEase.settings };
});
afterEach(() => session.close());

function startCursor(sql: string): { cursor: RowCursor; batches: AsyncIterator<RowsOfBatch> } {
  const query = { sql, values: [], columns: [] };
  const cursor = new RowCursor(session, query, { batchBytes, pressure }).start();
  return { cursor, batches: cursor[Symbol.asyncIterator]() as AsyncIterator<RowsOfBatch> };
}

describe("postgres cursor", () => {
  for (const [name, width] of [
    ["rows of one width", 1],
    ["rows that widen a hundredfold", 100],
  ] as const) {
    it(`is at most two batches ahead of a stuck consumer: ${name}`, async () => {
      const { cursor, batches } = startCursor(
        `select repeat('x', case when g > 3000 then ${100 * width} else 100 end) from generate_series(1, 100000) g`,
      );
      let taken = 0;
      for (let stop = 0; stop < 40; stop += 1) {
        const { value } = await batches.next();
        taken += (value as RowsOfBatch).rows.length;
        await sleep(10);
        let aheadBytes = 0;
        for (let row = taken + 1; row <= cursor.received; row += 1) {
          aheadBytes += row > 3000 ? 100 * width + 87 : 187;
        }
        assert.ok(aheadBytes <= 2 * batchBytes + chunkBytes, `${aheadBytes} bytes ahead`);
      }
      assert.ok(taken > 3000);
    });
  }

  it("asks for few rows first, for twice as many at most, and for fewer at once when they widen", async () => {
    const { batches } = startCursor(
      "select repeat('x', case when g > 1000 then 3000 else 10 end) from generate_series(1, 2000) g",
    );
    const rows: number[] = [];
    for (let batch = await batches.next(); !batch.done; batch = await batches.next()) {
      rows.push(batch.value.rows.length);
    }
    assert.deepEqual(rows.slice(0, 3), [64, 128, 256]);
    assert.equal(
      rows.reduce((sum, count) => sum + count),
      2000,
    );
    assert.ok(Math.max(...rows.slice(5)) <= 23, rows.join(" "));
  });

  it("gives smaller batches under pressure", async () => {
    pressure.share = 1 / 4;
    const { batches } = startCursor("select repeat('x', 100) from generate_series(1, 20000)");
    const sizes: number[] = [];
    for (let batch = await batches.next(); !batch.done; batch = await batches.next())
      sizes.push(batch.value.bytes);
    assert.ok(Math.max(...sizes) < batchBytes / 4 + 200, `${Math.max(...sizes)}`);
    assert.ok(sizes.filter((bytes) => bytes > batchBytes / 4 - 200).length > sizes.length / 2);
  });

  it("refuses a row that memory has no room for in all its forms, four batches at least", async () => {
    for (const [spareBytes, limit] of [
      [24 * 2 ** 20, "2 MiB"],
      [0, "256 KiB"],
    ] as const) {
      pressure = { share: 1, settings: { ...atEase.settings, spareBytes } };
      const { batches } = startCursor("select repeat('x', 3000000) from generate_series(1, 5)");
      await assert.rejects(batches.next(), {
        code: "source-bad-data",
        message: new RegExp(`^row 1 is 2\\.9 MiB wide; expected at most ${limit}, .*raise `),
      });
      await session.close();
      session = await open();
    }
  });

  it("joins messages that the network cut anywhere", async () => {
    const { cursor, batches } = startCursor(
      "select g::text, repeat('é', g % 997) from generate_series(1, 20000) g",
    );
    let next = 1;
    for (let batch = await batches.next(); !batch.done; batch = await batches.next()) {
      for (const [g, text] of batch.value.rows as string[][]) {
        assert.equal(Number(g), next);
        assert.equal(text?.length, next % 997);
        next += 1;
      }
    }
    assert.equal(cursor.received, 20_000);
  });

  it("notices a row that got lost on the way, whether the fetch was full or the last", async () => {
    for (const lost of [30, 100]) {
      const { cursor, batches } = startCursor("select generate_series(1, 100)");
      const take = cursor.handleDataRow;
      let row = 0;
      cursor.handleDataRow = (message: unknown) => (row += 1) !== lost && take(message);
      const read = async () => {
        for (let batch = await batches.next(); !batch.done; batch = await batches.next());
      };
      await assert.rejects(read, {
        code: "source-failed",
        message: lost === 30 ? /states 64 rows.*brought 63/ : /states 36 rows.*brought 35/,
      });
      await session.close();
      session = await open();
      pressure = { share: 1, settings: atEase.settings };
    }
  });

  it("listens no longer to a server once it was left, whatever is still on its way", async () => {
    const { listen } = session;
    let listening = 0;
    let late = 0;
    (session as Writable<Session>).listen = (rows) => {
      const begun = listen(rows);
      listening += 1;
      if (cursor.destroyed) late += 1;
      return {
        ...begun,
        stop: () => {
          listening -= 1;
          begun.stop();
        },
      };
    };
    const { cursor, batches } = startCursor(
      "select repeat('x', 70000) from generate_series(1, 1000)",
    );
    const suspend = cursor.handlePortalSuspended;
    const suspended = Promise.withResolvers<void>();
    cursor.handlePortalSuspended = () => suspended.resolve();
    for (let row = 0; row < 64; row += 1) await batches.next();
    const rest = batches.next().catch(() => {});
    await suspended.promise;
    cursor.destroy();
    suspend();
    await rest;
    await session.close();
    assert.deepEqual({ listening, late }, { listening: 0, late: 0 });
  });

  it("latches its first error and never reads as an end", async () => {
    const { batches } = startCursor("select 1 / (500 - g) from generate_series(1, 1000) g");
    const failure = { code: "source-refused", details: { rows: 499, sqlstate: "22012" } };
    const read = async () => {
      for (let batch = await batches.next(); !batch.done; batch = await batches.next());
    };
    await assert.rejects(read, failure);
    assert.equal(session.life.aborted, true);
    await assert.rejects(session.ask("select 1"), failure);
  });
});
