/** What a snapshot is proved by, on servers that answer as MySQL does, and as little as a login may see. */
import assert from "node:assert/strict";
import { PipelineError } from "../../../src/errors.ts";
import type { Session } from "../../../src/stages/sources/mysql-session.ts";
import { beginSnapshot } from "../../../src/stages/sources/mysql-snapshot.ts";

type Rows = readonly (readonly (string | number | null)[])[];
const refused = new PipelineError("source-refused", "no right to ask that");

/** Answers by a part of the question, the first that fits; what is asked again gets the next answer. */
function sessionOf(answers: readonly (readonly [part: string, ...answers: (Rows | Error)[]])[]) {
  const asked: string[] = [];
  const life = new AbortController();
  const session = {
    life: life.signal,
    async ask(sql: string) {
      const [part, ...given] = answers.find(([part]) => sql.includes(part)) ?? [];
      const before = asked.filter((one) => part !== undefined && one.includes(part)).length;
      asked.push(sql);
      const answer = given[Math.min(before, given.length - 1)] ?? [];
      if (answer instanceof Error) throw answer;
      return answer;
    },
  } as unknown as Session;
  return { session, asked, life };
}

const version = ["version()", [["8.4.0", "2026-01-02T03:04:05.000000Z"]]] as const;
const told = { server: "8.4.0", time: "2026-01-02T03:04:05.000000Z" };
const gtid = "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5";

describe("a snapshot of MySQL", () => {
  const warnings: string[] = [];
  const log = { info() {}, warn: (line: string) => void warnings.push(line) };
  beforeEach(() => (warnings.length = 0));
  const begin = (session: Session, query = "select * from kept") =>
    beginSnapshot(session, query, log);

  it("is placed in the log where the server stood still around it", async () => {
    const { session, asked } = sessionOf([version, ["gtid_executed", [[gtid]]]]);
    assert.deepEqual(await begin(session), { class: "snapshot", proof: { ...told, gtid } });
    const [before, start, after] = ["gtid_executed", "consistent snapshot", "gtid_executed"];
    const at = asked.findIndex((sql) => sql.includes(before));
    const between = asked.findIndex((sql) => sql.includes(start));
    const behind = asked.findLastIndex((sql) => sql.includes(after));
    assert.ok(at < between && between < behind, asked.join("\n"));
  });

  it("is not placed where the server went on, keeps no log, or does not tell", async () => {
    for (const answers of [[[[gtid]], [[`${gtid}-6`]]], [[[""]]], [[[null]]], [[]], [refused]] as (
      Rows | Error
    )[][]) {
      const { session } = sessionOf([version, ["gtid_executed", ...answers]]);
      assert.deepEqual((await begin(session)).proof, told);
    }
  });

  it("is placed where MariaDB says that the transaction stands", async () => {
    const position: Rows = [
      ["Binlog_snapshot_file", "binlog.000001"],
      ["Binlog_snapshot_position", "329"],
    ];
    const { session } = sessionOf([version, ["gtid_executed", refused], ["show status", position]]);
    const { proof } = await begin(session);
    assert.deepEqual(proof, { ...told, binlogFile: "binlog.000001", binlogPosition: 329 });
  });

  it("is none where tables of the query keep none, as far as engines may be asked for", async () => {
    const engines: Rows = [
      ["loose", "MyISAM"],
      ["loose_ends", "MEMORY"],
    ];
    const query = "select * from loose";
    const { session } = sessionOf([version, ["information_schema", engines]]);
    const { class: kind, proof } = await begin(session, query);
    assert.deepEqual([kind, proof["outsideSnapshot"]], ["stream", "loose (MyISAM)"]);
    assert.match(warnings.join(), /^loose \(MyISAM\): the engine of these tables keeps no/);
    const { session: shy } = sessionOf([version, ["information_schema", refused]]);
    assert.equal((await begin(shy, query)).class, "snapshot");
  });

  it("is not begun on a connection that is lost, or by what is no answer", async () => {
    const { session, life } = sessionOf([["gtid_executed", refused]]);
    life.abort();
    await assert.rejects(begin(session), refused);
    const { session: ours } = sessionOf([["gtid_executed", new TypeError("ours")]]);
    await assert.rejects(begin(ours), TypeError);
  });
});
