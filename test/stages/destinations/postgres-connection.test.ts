import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type AddressInfo, type Socket } from "node:net";
import { openDestination } from "../../../src/stages/destinations/schemes.ts";
import { expectError, listAll, objectOf } from "../../contract/destination-contract.ts";
import { runSql, sharedPostgres } from "../../servers/postgres.ts";

const never = new AbortController().signal;
const open = (url: string, table: string) =>
  openDestination(url, { timeoutMillis: 5000, rows: { table, key: [] } });

describe("a connection of the destination postgres", () => {
  it("is not waited for beyond an abort, and ends when it is closed", async () => {
    const sockets: Socket[] = [];
    const mute = createServer((socket) => void sockets.push(socket.on("error", () => {})));
    mute.listen(0, "127.0.0.1");
    await once(mute, "listening");
    const { port } = mute.address() as AddressInfo;
    const destination = await open(`postgres://u:p@127.0.0.1:${port}/d`, "t");
    const stop = new AbortController();
    const put = destination.put(objectOf("p/r/manifest.json", "{}"), stop.signal);
    await once(mute, "connection");
    const reason = new Error("stop now");
    stop.abort(reason);
    await assert.rejects(put, (error) => error === reason);
    const ended = once(sockets[0]!.resume(), "close");
    await destination.close();
    await ended;
    mute.close();
  });

  it("tells a login that is refused from rows that are", async () => {
    const { url } = await sharedPostgres();
    const put = async (to: string, table: string) => {
      const destination = await open(to, table);
      await expectError(
        "destination-refused",
        destination.put(objectOf("p/r/00000000.ndjson", '{"no":1}\n'), never),
      ).then(({ message }) => messages.push(message));
      await destination.close();
    };
    const messages: string[] = [];
    await put(url.replace(/\/[^/]*$/, "/nosuch"), "t");
    await put(url.replace("postgres@", "nobody@"), "t");
    const login = /refused the login \(SQLSTATE (?:3D|28)000.*expected `to` to name an existing/;
    for (const message of messages) assert.match(message, login);
    assert.equal(messages.length, 2);
  });

  it("says that a server only reads, as a standby does", async () => {
    const { url } = await sharedPostgres();
    const user = "create role reads_only login superuser";
    await runSql(url, user, "alter role reads_only set default_transaction_read_only = on");
    await runSql(url, "create table written_nowhere (id int)");
    const destination = await open(url.replace("postgres@", "reads_only@"), "written_nowhere");
    const { message } = await expectError(
      "destination-refused",
      destination.put(objectOf("p/r/00000000.ndjson", '{"id":1}\n'), never),
    );
    assert.match(message, /\(SQLSTATE 25006\); expected a server and a user that may write/);
    await destination.close();
    await runSql(url, "drop table written_nowhere", "drop role reads_only");
  });

  it("has one piece of work at a time, and lists more names than it looks up at once", async () => {
    const { url } = await sharedPostgres();
    await runSql(
      url,
      "drop schema if exists listed cascade",
      "create schema listed",
      "create table listed.t (id int)",
    );
    const destination = await open(url, "listed.t");
    await destination.put(objectOf("p/r/manifest.json", "{}"), never);
    await runSql(
      url,
      "insert into listed.spillway_objects (name, target, bytes, sha256) select 'p/q/' || g, 0, 1, '' from generate_series(1, 2500) g",
    );
    const puts = ["x", "y"].map((name) => destination.put(objectOf(`p/r/${name}`, name), never));
    const [listed] = await Promise.all([listAll(destination, "p/"), ...puts]);
    const told = listed.map(({ name }) => name);
    assert.ok(told.length >= 2501 && told.length <= 2503);
    assert.deepEqual(told, [...told].sort());
    assert.equal((await listAll(destination, "p/r")).length, 3);
    await destination.close();
    await runSql(url, "drop schema listed cascade");
  });
});
