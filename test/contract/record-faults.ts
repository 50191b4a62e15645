/**
 * What the network, the server, an administrator and an abort do to a read whose records come straight from PostgreSQL:
 * an error in time, never an end. Run by every way to make them.
 */
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { PipelineError } from "../../src/errors.ts";
import type { RecordBatch } from "../../src/stages/nouns.ts";
import { openSession, type Session } from "../../src/stages/sources/postgres-session.ts";
import type { Walker, WireQuery } from "../../src/stages/sources/postgres-wire/wire-query.ts";
import { type FaultyPostgres, manyRows } from "../servers/postgres-faults.ts";
import { runSql } from "../servers/postgres.ts";

export interface Asked {
  readonly url: string;
  readonly query: string;
  readonly timeout?: string;
}

export interface RecordRead {
  /** Stands in the queries, so that their backends are told from others. */
  readonly tag: string;
  /** Reads as a run does. */
  open(asked: Asked, signal?: AbortSignal): AsyncGenerator<RecordBatch>;
  /** The bytes of records that hold a number each, in the column `g`. */
  textOf(numbers: readonly number[]): string;
  /** Asks a session for `count` records, past the stage. */
  ask(session: Session, count: number): Promise<WireQuery<Walker>>;
}

/** The error that a read ends with, which brings nothing of the server along. */
export async function failureOf(read: AsyncIterable<RecordBatch>): Promise<PipelineError> {
  let error: unknown;
  await Array.fromAsync(read, () => {}).catch((thrown: unknown) => (error = thrown));
  assert.ok(error instanceof PipelineError, String(error));
  assert.equal(error.cause, undefined);
  return error;
}

/** Reads some batches, does harm, and gives the error that the rest of the read ends with. */
async function harmedRead(read: AsyncIterable<RecordBatch>, harm: () => unknown) {
  let records = 0;
  let harmed = 0;
  try {
    for await (const batch of read) {
      records += batch.ends.length;
      assert.equal(batch.end, undefined, "no end is announced");
      if (records < 5000 || harmed > 0) continue;
      harmed = performance.now();
      await harm();
    }
  } catch (error) {
    assert.ok(error instanceof PipelineError, String(error));
    return { error, millis: performance.now() - harmed };
  }
  return assert.fail("the read came to an end");
}

/** Runs the suite against a server that can be cut off. */
export function checkRecordFaults(read: RecordRead, postgres: FaultyPostgres): void {
  const tagged = (what: string) => `${read.tag}-${what}`;
  const openMany = (tag: string, more: Partial<Asked> = {}) =>
    read.open({ url: postgres.url, query: manyRows(tag), timeout: "5s", ...more });

  checkCuts(openMany, tagged, postgres);

  it("fails when the server computes longer than `timeout`, and stops it", async () => {
    const query = `select pg_sleep(60), '${tagged("sleeper")}'`;
    const error = await failureOf(read.open({ url: postgres.url, query, timeout: "300ms" }));
    assert.deepEqual([error.code, error.retriable], ["source-failed", true]);
    await postgres.assertGone(tagged("sleeper"));
  });

  it("ends within a second of an abort, busy or idle, and stops the server", async () => {
    const tag = tagged("abort");
    for (const query of [
      `select '${tag}', count(*) from generate_series(1, 10000000000)`,
      manyRows(tag),
    ]) {
      const stop = new AbortController();
      const source = read.open({ url: postgres.url, query }, stop.signal);
      await source.next();
      const busy = query.includes("count");
      if (!busy) for (let taken = 0; taken < 2; taken += 1) await source.next();
      const reading = busy ? source.next() : undefined;
      reading?.catch(() => {});
      while ((await postgres.backends(tag)).length === 0) await sleep(20);
      const reason = new Error("enough");
      const started = performance.now();
      stop.abort(reason);
      await assert.rejects(reading ?? source.next(), reason);
      assert.ok(performance.now() - started < 1000);
      await postgres.assertGone(tag);
    }
  });

  it("closes the connection when its consumer leaves, before the first row and after", async () => {
    for (const batches of [1, 2, 4]) {
      const source = openMany(tagged("leaves"));
      for (let taken = 0; taken < batches; taken += 1) await source.next();
      await source.return(undefined);
      await postgres.assertGone(tagged("leaves"));
    }
  });

  it("leaves the socket unread and memory flat while its consumer is stuck", async () => {
    const source = openMany(tagged("stuck"));
    for (let taken = 0; taken < 4; taken += 1) await source.next();
    await sleep(300);
    const [bytes, rss] = [postgres.proxy.bytesToClient, process.memoryUsage.rss()];
    await sleep(700);
    assert.equal(postgres.proxy.bytesToClient, bytes);
    assert.ok(process.memoryUsage.rss() - rss < 8 * 2 ** 20);
    const waits = await runSql(
      postgres.direct,
      `select wait_event from pg_stat_activity where query like '%${tagged("stuck")}%' and pid <> pg_backend_pid()`,
    );
    assert.deepEqual(waits, [["ClientWrite"]]);
    await source.return(undefined);
    await postgres.assertGone(tagged("stuck"));
  });

  checkWords(read, postgres);
}

/** What ends a connection from outside. */
function checkCuts(
  openMany: (tag: string, more?: Partial<Asked>) => AsyncGenerator<RecordBatch>,
  tagged: (what: string) => string,
  postgres: FaultyPostgres,
): void {
  it("fails when its backend is terminated or its connection reset or ended, busy and paused", async () => {
    for (const pause of [0, 300]) {
      for (const harm of ["terminate", "reset", "end"] as const) {
        const tag = tagged(`${harm}-${pause}`);
        const { error, millis } = await harmedRead(openMany(tag), async () => {
          if (harm === "terminate") await postgres.terminate(tag);
          else postgres.proxy[harm]();
          await sleep(pause);
        });
        assert.equal(error.code, "source-failed");
        const isTold = harm === "terminate" && error.message.includes("57P01, operator");
        assert.ok(isTold || /the connection to the server ended/.test(error.message));
        assert.ok(millis < 1000 + pause);
        await postgres.assertGone(tag);
      }
    }
  });

  it("fails when the network swallows everything, after `timeout`", async () => {
    const source = openMany(tagged("swallowed"), { timeout: "500ms" });
    const { error, millis } = await harmedRead(source, () => (postgres.proxy.mode = "black-hole"));
    assert.match(error.message, /the server was silent for 500 ms after \d+ rows; .*`timeout`/);
    assert.ok(millis >= 450 && millis < 1800, `${millis}`);
  });
}

/** What the server says between and behind the rows. */
function checkWords(read: RecordRead, postgres: FaultyPostgres): void {
  it("keeps an error as long as a value to its code", async () => {
    for (const query of [
      "select repeat('secret', 5000000)::int",
      "select repeat(case when g = 3 then 'secret' else '1' end, 1 + (g / 3) * 5000000)::numeric from generate_series(1, 3) g",
    ]) {
      const error = await failureOf(read.open({ url: postgres.url, query }));
      assert.equal(error.code, "source-refused");
      assert.match(error.message, /SQLSTATE 22P02, data exception/);
      assert.doesNotMatch(JSON.stringify([error.message, error.stack, error.details]), /secret/);
    }
  });

  it("reads on through a flood of notices and changed parameters", async () => {
    await runSql(
      postgres.direct,
      `create or replace function ${read.tag}_noise(g int) returns int language plpgsql as $$ begin
         raise notice '% %', g, repeat('noise', case when g % 1000 = 0 then 100000 else 1 end);
         perform set_config('application_name', 'noisy ' || g, true);
         return g;
       end $$`,
    );
    const query = `select ${read.tag}_noise(g) as g from generate_series(1, 5000) g`;
    const parts: Uint8Array[] = [];
    let last: RecordBatch | undefined;
    for await (const batch of read.open({ url: postgres.url, query })) {
      parts.push(batch.bytes.slice());
      last = batch;
    }
    const numbers = Array.from({ length: 5000 }, (_, i) => i + 1);
    assert.equal(Buffer.concat(parts).toString(), read.textOf(numbers));
    assert.equal(last?.end?.rows, 5000);
  });

  it("gives the connection back as it was", async () => {
    const session = await openSession(
      { url: postgres.url, connectMillis: 5000, answerMillis: 5000 },
      new AbortController().signal,
    );
    for (const count of [0, 1, 100_000]) {
      const asked = await read.ask(session, count);
      while (await asked.next()) asked.walker.output.take();
      asked.release();
      assert.equal(asked.walker.output.records, count);
      assert.deepEqual((await session.ask("select 'still', 'here'")).rows, [["still", "here"]]);
    }
    const started = performance.now();
    await session.close();
    assert.ok(performance.now() - started < 300, "it says goodbye");
  });
}
