import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import * as v from "valibot";
import { loadPipeline } from "../../src/pipeline/load.ts";
import { planPipeline } from "../../src/pipeline/plan.ts";
import { serialize } from "../../src/stages/formats/serialize.ts";
import { chunk } from "../../src/stages/pages/chunk.ts";
import { compress } from "../../src/stages/pages/compress.ts";
import { encrypt } from "../../src/stages/pages/encrypt.ts";
import { spool } from "../../src/stages/pages/spool.ts";
import { upload } from "../../src/stages/pages/upload.ts";
import { defineStage } from "../../src/stages/stage.ts";
import { countedRows, defineUnchecked, useFolder } from "../fixtures/pipelines.ts";

const someone = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj";
const other = "age18flwva0yg7g2yea3x9aqmk97gfpk8cfpsq5gp2tjejfc3ds75v3qdymvwf";

describe("what a run is bound to", () => {
  const folder = useFolder();

  /** Writes a pipeline and what it refers to; plans it in full. */
  it("is not how much room a source has, which a run that failed for want of it may be given", async () => {
    const bound = async (room: string) => {
      const yaml = join(folder.path, "room.yaml");
      const rest = `  - serialize: ndjson\n  - chunk\n  - compress: zstd\n  - encrypt: none\n  - spool\n  - upload: ./out\n`;
      const source = `  - duckdb: { query: select 1${room} }\n`;
      await writeFile(yaml, `name: bound\nmemory: 1GiB\nstages:\n${source}${rest}`);
      const options = { resolve: "full", env: {} } as const;
      return (await planPipeline(await loadPipeline(yaml), options)).meaning;
    };
    const meaning = await bound("");
    assert.equal(await bound(", maxBatch: 8MiB, memoryLimit: 96MiB"), meaning);
    assert.notEqual(await bound(", params: [1]"), meaning);
  });

  async function plan(change: Record<string, string> = {}, env: Record<string, string> = {}) {
    const files = {
      "query.sql": "select 1",
      "map.mjs": "export default (row) => row;",
      query: "${file:query.sql}",
      params: "[a]",
      timeout: "60s",
      to: "./out",
      encrypt: '{ to: "${env:RECIPIENT}" }',
      module: "./map.mjs",
      ...change,
    };
    await writeFile(join(folder.path, "query.sql"), files["query.sql"]);
    await writeFile(join(folder.path, "map.mjs"), files["map.mjs"]);
    const yaml = join(folder.path, "export.yaml");
    await writeFile(
      yaml,
      `name: bound
memory: 1GiB
stages:
  - postgres: { url: "\${env:URL}", query: "${files.query}", params: ${files.params}, timeout: ${files.timeout} }
  - map: ${files.module}
  - serialize: ndjson
  - chunk: 1MiB
  - compress: zstd
  - encrypt: ${files.encrypt}
  - spool: ./spool
  - upload: ${files.to}
`,
    );
    const all = { URL: "postgres://me:old-secret@db/x", RECIPIENT: someone, ...env };
    const { meaning, formerMeaning, report } = await planPipeline(await loadPipeline(yaml), {
      resolve: "full",
      env: all,
    });
    return { meaning, formerMeaning, digest: report.configDigest };
  }

  it("is what references lead to: recipients, query files, parameters, modules, the server", async () => {
    const { meaning } = await plan();
    assert.equal((await plan()).meaning, meaning);
    const changes = [
      () => plan({}, { RECIPIENT: other }),
      () => plan({ "query.sql": "select 2" }),
      () => plan({ params: "[b]" }),
      () => plan({ "map.mjs": "export default (row) => ({ ...row });" }),
      () => plan({}, { URL: "postgres://me:old-secret@elsewhere/x" }),
    ];
    for (const change of changes) assert.notEqual((await change()).meaning, meaning);
  });

  it("is the place that a path leads to, however it is spelled", async () => {
    const { meaning, formerMeaning } = await plan();
    const place = join(folder.path, "out");
    const asFile = `file:${relative(folder.path, place)}`;
    for (const to of ["out/", asFile, `file://${place}//`, `FILE:///x/..${place}/.`]) {
      const spelled = await plan({ to });
      assert.equal(spelled.meaning, meaning, to);
      assert.equal(to === "out/" || spelled.formerMeaning !== formerMeaning, true, to);
    }
    for (const to of ["./other", "tar:./out", "s3://out/out"])
      assert.notEqual((await plan({ to })).meaning, meaning, to);
  });

  it("is not how patient it is, or by which password it gets in", async () => {
    const { meaning } = await plan();
    assert.equal((await plan({ timeout: "5s" })).meaning, meaning);
    assert.equal((await plan({}, { URL: "postgres://me:new-secret@db/x" })).meaning, meaning);
    assert.doesNotMatch(meaning, /secret/);
  });

  it("is what columns are called, be that as a setting is", async () => {
    const lookup = (column: string) =>
      plan({
        module: `./map.mjs\n  - lookup: { url: "\${env:URL}", query: select 1, on: { level: ${column} } }`,
      });
    assert.notEqual((await lookup("a")).meaning, (await lookup("b")).meaning);
  });

  it("is all that a stage of one's own is configured with", async () => {
    const own = async (level: number) => {
      const raised = defineStage({
        name: "raised",
        summary: "Gives nothing.",
        config: v.strictObject({ level: v.number() }),
        takes: "nothing",
        gives: "rows",
        holds: () => 0,
        async *open() {},
      });
      const stages = [raised({ level }), serialize("ndjson"), chunk("1MiB"), compress("none")];
      const rest = [encrypt({ mode: "none" }), spool("./spool"), upload("./out")];
      const all = [...stages, ...rest];
      const pipeline = defineUnchecked({ name: "bound", memory: "1GiB", stages: all });
      return (await planPipeline(pipeline, { resolve: "full", env: {} })).meaning;
    };
    assert.notEqual(await own(1), await own(2));
  });

  it("is not by which login it gets in where it goes, but where that is", async () => {
    const to = (more: string) =>
      plan({ to: `{ concurrency: 4, ${more} }` }, { OLD: "b2xk", NEW: "bmV3" });
    const renewed: [string, string][] = [
      ["to: azblob://account/exports", "sas"],
      ["to: azblob://account/exports", "accountKey"],
      ["to: https://host/exports/", "authorization"],
      ["to: https://host/exports/", "query"],
      ["to: sftp://me@host/exports", "password"],
      ["to: sftp://me@host/exports", "privateKey"],
      ["to: sftp://me@host/exports", "passphrase"],
    ];
    for (const [place, key] of renewed) {
      const { meaning, digest } = await to(`${place}, ${key}: "\${env:OLD}"`);
      const anew = await to(`${place}, ${key}: "\${env:NEW}"`);
      assert.deepEqual([anew.meaning, anew.digest], [meaning, digest], key);
      const elsewhere = await to(`${place.replace("exports", "other")}, ${key}: "\${env:OLD}"`);
      assert.notEqual(elsewhere.meaning, meaning);
      assert.notEqual(elsewhere.digest, digest);
    }
  });

  it("tells nobody the password of a table's database", async () => {
    const into = async (to: object) => {
      const stages = [
        countedRows({ rows: 1 }),
        serialize("ndjson"),
        chunk("1MiB"),
        compress("none"),
        encrypt({ mode: "none" }),
        spool("./spool"),
        upload(to as { to: string }),
      ];
      const pipeline = defineUnchecked({ name: "bound", memory: "1GiB", stages });
      const { meaning, report } = await planPipeline(pipeline, { resolve: "full", env: {} });
      assert.doesNotMatch(meaning, /guess/);
      return { meaning, digest: report.configDigest };
    };
    const place = (password: string, table: string) => ({
      to: `postgres://me:${password}@db/x`,
      table,
    });
    const one = await into(place("guess-1", "t"));
    assert.deepEqual(await into(place("guess-2", "t")), one);
    const spelled = (password: string) => ({
      to: `postgres://me@db/x?sslmode=require&password=${password}`,
      table: "t",
    });
    assert.deepEqual(await into(spelled("guess-1")), await into(spelled("guess-2")));
    assert.notEqual((await into(place("guess-1", "u"))).digest, one.digest);
  });

  it("is refused with its stage where a module is not there", async () => {
    await assert.rejects(plan({ module: "./nosuch.mjs" }), {
      code: "config-invalid",
      message: /^map: the module .*nosuch\.mjs cannot be read \(ENOENT\)$/,
    });
  });

  it("is published without addresses, parameters and secrets, so that nobody can try guesses on it", async () => {
    const inline = (passphrase: string, params: string) =>
      plan(
        { encrypt: `{ passphrase: "\${env:${passphrase}}" }`, params },
        { OLD: "hunter2hunter2", NEW: "correct-horse-battery" },
      );
    const { digest } = await inline("OLD", "[patient-1]");
    assert.equal((await inline("NEW", "[patient-2]")).digest, digest);
    assert.notEqual((await plan({ query: "select 3" })).digest, digest);
  });
});
