/** TLS as `sslmode` says, with a certificate made for the test. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { RunningPostgres } from "../../../src/cli/demo-postgres.ts";
import { openSource, ownPostgres, readSource, runSql } from "../../servers/postgres.ts";

describe("postgres over TLS", () => {
  let server: RunningPostgres;
  let folder = "";

  before(async function () {
    folder = await mkdtemp(join(tmpdir(), "spillway-tls-"));
    const out = ["-keyout", join(folder, "key.pem"), "-out", join(folder, "cert.pem")];
    const subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"];
    const command = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"];
    try {
      execFileSync("openssl", [...command, ...subject, ...out], { stdio: "ignore" });
    } catch {
      this.skip();
    }
    server = await ownPostgres({
      settings: {
        ssl: "on",
        ssl_cert_file: join(folder, "cert.pem"),
        ssl_key_file: join(folder, "key.pem"),
      },
    });
  });
  after(async () => {
    await server?.stop();
    await rm(folder, { recursive: true, force: true });
  });

  const query =
    "select ssl, g from pg_stat_ssl, generate_series(1, 50000) g where pid = pg_backend_pid()";
  const urlWith = (mode: string, host = "localhost") =>
    `${server.url.replace("127.0.0.1", host)}?sslmode=${mode}`;
  const trusted = () => `verify-full&sslrootcert=${join(folder, "cert.pem")}`;

  it("reads through a verified connection", async () => {
    const batches = await readSource({ url: urlWith(trusted()), query });
    assert.deepEqual(batches[0]?.rows[0], ["t", "1"]);
    assert.equal(batches.at(-1)?.end?.rows, 50_000);
  });

  it("refuses a certificate nobody vouches for, and one for another host", async () => {
    const unknown = {
      code: "source-refused",
      message: /TLS could not be agreed \(DEPTH_ZERO_SELF_SIGNED_CERT\)/,
    };
    await assert.rejects(readSource({ url: urlWith("verify-full"), query }), unknown);
    const elsewhere = { code: "source-refused", message: /ERR_TLS_CERT_ALTNAME_INVALID/ };
    await assert.rejects(readSource({ url: urlWith(trusted(), "127.0.0.1"), query }), elsewhere);
  });

  it("takes any certificate when told not to verify", async () => {
    const batches = await readSource({ url: urlWith("no-verify"), query });
    assert.deepEqual(batches[0]?.rows[0], ["t", "1"]);
  });

  it("cancels a busy server over TLS", async () => {
    const stop = new AbortController();
    const slow = "select 'tls-busy', count(*) from generate_series(1, 10000000000)";
    const reading = openSource({ url: urlWith(trusted()), query: slow }, stop.signal).next();
    const backends =
      "select count(*) from pg_stat_activity where query like '%''tls-busy''%' and pid <> pg_backend_pid()";
    while ((await runSql(server.url, backends))[0]?.[0] === "0") await sleep(20);
    stop.abort(new Error("enough"));
    await assert.rejects(reading, /enough/);
    await sleep(100);
    assert.deepEqual(await runSql(server.url, backends), [["0"]]);
  });
});
