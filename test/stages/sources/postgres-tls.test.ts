/** TLS as `sslmode` says, with a certificate made for the test. */
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { getCACertificates, setDefaultCACertificates } from "node:tls";
import type { RunningPostgres } from "../../../src/cli/demo-postgres.ts";
import { isSilentlyPlain } from "../../../src/stages/sources/postgres-tls.ts";
import { formats, openRecords, writeRecords } from "./postgres-wire/wire-records.ts";
import { makeCertificate } from "../../servers/certificate.ts";
import { openSource, ownPostgres, readSource, runSql } from "../../servers/postgres.ts";

describe("postgres over TLS", () => {
  let server: RunningPostgres;
  let folder = "";

  before(async function () {
    folder = await mkdtemp(join(tmpdir(), "spillway-tls-"));
    const made = makeCertificate(folder);
    if (!made) this.skip();
    const files = { ssl_cert_file: made.certificate, ssl_key_file: made.key };
    server = await ownPostgres({ settings: { ssl: "on", ...files } });
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

  const firstRow = async (url: string) => (await readSource({ url, query }))[0]?.rows[0];

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

  it("verifies a server elsewhere when nothing is said, and says how to say otherwise", async () => {
    const elsewhere = server.url.replace("127.0.0.1", "0.0.0.0");
    const refused = { code: "source-refused", message: /SELF_SIGNED_CERT.*\?sslmode=disable/ };
    await assert.rejects(readSource({ url: elsewhere, query }), refused);
    await assert.rejects(readSource({ url: `${elsewhere}?sslmode=`, query }), refused);
    const odd = { code: "config-invalid", message: /sslmode=disable/ };
    await assert.rejects(readSource({ url: `${elsewhere}?ssl=`, query }), odd);
    const usual = getCACertificates("default");
    try {
      setDefaultCACertificates([await readFile(join(folder, "cert.pem"), "utf8")]);
      assert.deepEqual(await firstRow(elsewhere), ["t", "1"]);
    } finally {
      setDefaultCACertificates(usual);
    }
  });

  it("goes without TLS where that is said, and on this machine where nothing is", async () => {
    const elsewhere = server.url.replace("127.0.0.1", "0.0.0.0");
    assert.deepEqual(await firstRow(`${elsewhere}?sslmode=disable`), ["f", "1"]);
    assert.deepEqual(await firstRow(server.url), ["f", "1"]);
    for (const [mode, ssl] of [
      ["disable", "f"],
      ["no-verify", "t"],
    ] as const) {
      process.env["PGSSLMODE"] = mode;
      try {
        assert.deepEqual(await firstRow(elsewhere), [ssl, "1"]);
      } finally {
        delete process.env["PGSSLMODE"];
      }
    }
  });

  it("knows which hosts are this machine", () => {
    const isPlain = (host: string) =>
      isSilentlyPlain({ host, ssl: false }, `postgres://${host}`, {});
    for (const host of ["127.0.0.1", "127.9.9.9", "::1", "localhost", "/run/postgresql"])
      assert.equal(isPlain(host), false, host);
    for (const host of ["db.example", "127.0.0.1.example", "localhost.example", "10.0.0.1", "::2"])
      assert.equal(isPlain(host), true, host);
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

  it("makes the same records without row objects, also of rows wider than a page", async () => {
    const wide =
      "select g, repeat('é\"', g * 100000) as t, array[g] as a from generate_series(0, 6) g union all " +
      "select g, md5(g::text), null from generate_series(10, 50000) g";
    for (const format of formats) {
      const config = { url: urlWith(trusted()), query: wide };
      const wire = await writeRecords(config, format);
      const plain = await writeRecords(config, format, { apart: true });
      assert.ok(wire.text === plain.text, format);
      assert.equal(wire.last.end?.rows, 49_998);
    }
  });

  it("ends fast reads on failure, abort and leave, and stops the server", async () => {
    const tag = "tls-records";
    const endless = `select '${tag}', generate_series(1, 100000000), repeat('x', 100)`;
    const count = `select count(*) from pg_stat_activity where query like '%''${tag}''%' and pid <> pg_backend_pid()`;
    const stop = new AbortController();
    const config = { url: urlWith(trusted()), query: endless };
    const harms = [
      () => Promise.resolve(stop.abort(new Error("enough"))),
      () =>
        runSql(
          server.url,
          `select pg_terminate_backend(pid) from pg_stat_activity where query like '%''${tag}''%' and pid <> pg_backend_pid()`,
        ),
    ];
    const leaving = openRecords(config, "csv");
    for (let taken = 0; taken < 3; taken += 1) await leaving.next();
    await leaving.return(undefined);
    for (const [index, harm] of harms.toReversed().entries()) {
      const source = openRecords(config, "csv", { signal: stop.signal });
      for (let taken = 0; taken < 3; taken += 1) await source.next();
      await harm();
      const read = async () => {
        for await (const batch of source) assert.equal(batch.end, undefined);
      };
      await assert.rejects(read, index === 0 ? { code: "source-failed" } : /enough/);
    }
    let left: unknown;
    // A server that is told to stop takes a moment.
    for (let tries = 0; left !== "0" && tries < 100; tries += 1) {
      [[left]] = (await runSql(server.url, count)) as [[string]];
      if (left !== "0") await sleep(25);
    }
    assert.equal(left, "0");
  });
});
