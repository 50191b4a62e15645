import assert from "node:assert/strict";
import type { Session } from "../../../src/stages/sources/postgres-session.ts";
import {
  beginSnapshot,
  commit,
  readConsistency,
} from "../../../src/stages/sources/postgres-snapshot.ts";
import { openSession } from "../../../src/stages/sources/postgres-session.ts";
import { runSql, sharedPostgres } from "../../servers/postgres.ts";

const never = new AbortController().signal;

describe("postgres-transaction", () => {
  const open = async (): Promise<Session> => {
    const { url } = await sharedPostgres();
    const session = await openSession({ url, connectMillis: 10_000, answerMillis: 20_000 }, never);
    await beginSnapshot(session, { timeout: 20_000 });
    return session;
  };

  it("refuses a COMMIT that the server answers with ROLLBACK, for its transaction had failed", async () => {
    const session = await open();
    try {
      await assert.rejects(session.ask("select 1 / 0"));
      await assert.rejects(commit(session), { code: "source-failed", message: /ROLLBACK/ });
    } finally {
      await session.close();
    }
  });

  it("takes the COMMIT of one that had not", async () => {
    const session = await open();
    await commit(session);
    await session.close();
  });

  it("sees what was there at its first look, whatever is committed later, and can change nothing", async () => {
    const { url } = await sharedPostgres();
    await runSql(url, "create table snapshot_rows as select 1 as id");
    const session = await open();
    try {
      await readConsistency(session);
      await runSql(url, "insert into snapshot_rows values (2)");
      const { rows } = await session.ask("select count(*) from snapshot_rows");
      assert.deepEqual(rows, [["1"]]);
      await assert.rejects(session.ask("delete from snapshot_rows"), /25006/);
    } finally {
      await session.close();
    }
  });
});
