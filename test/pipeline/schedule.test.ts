import assert from "node:assert/strict";
import { planPipeline } from "../../src/pipeline/plan.ts";
import { parsePipeline } from "../../src/pipeline/load.ts";
import { slotsOf, type Slots } from "../../src/pipeline/schedule.ts";

const slots = (cron: string, timezone = "Europe/Berlin"): Slots =>
  slotsOf({ cron, timezone, overlap: "skip" });

/** The first `count` slots after `from`. */
function following(cron: string, from: string, count: number, timezone?: string): string[] {
  const asked = slots(cron, timezone);
  const found: string[] = [];
  for (let at = new Date(from); found.length < count;) {
    at = asked.after(at)!;
    found.push(at.toISOString().replace(":00.000Z", "Z"));
  }
  return found;
}

const yaml = (schedule: string, to = "./out") =>
  parsePipeline(
    `name: rows\nstages:\n  - ndjson: rows.ndjson\n  - serialize: ndjson\n  - chunk\n  - compress: none\n  - encrypt: none\n  - spool\n  - upload: ${to}\nschedule: ${schedule}\n`,
    "nightly.yaml",
  );
const planned = async (schedule: string, to?: string) =>
  await planPipeline(yaml(schedule, to), { resolve: "none" });

describe("schedule", () => {
  it("means the hours of its time zone", () => {
    const winter = slots("30 2 * * *").after(new Date("2026-01-10T12:00:00Z"));
    const summer = slots("30 2 * * *").after(new Date("2026-07-10T12:00:00Z"));
    assert.equal(winter?.toISOString(), "2026-01-11T01:30:00.000Z");
    assert.equal(summer?.toISOString(), "2026-07-11T00:30:00.000Z");
  });

  it("comes once, later, on the day that lacks its hour", () => {
    assert.deepEqual(following("30 2 * * *", "2026-03-28T12:00:00Z", 2), [
      "2026-03-29T01:30Z",
      "2026-03-30T00:30Z",
    ]);
    // Each of several, in the order in which they come, beside one that the clock shows at the same time.
    assert.deepEqual(following("0,45 2,3 * * *", "2026-03-28T12:00:00Z", 3), [
      "2026-03-29T01:00Z",
      "2026-03-29T01:45Z",
      "2026-03-30T00:00Z",
    ]);
    assert.deepEqual(following("45 2,14 * * *", "2026-03-29T01:10:00Z", 2), [
      "2026-03-29T01:45Z",
      "2026-03-29T12:45Z",
    ]);
    assert.deepEqual(following("15 0 * * *", "2026-09-05T12:00:00Z", 2, "America/Santiago"), [
      "2026-09-06T04:15Z",
      "2026-09-07T03:15Z",
    ]);
  });

  it("comes once, the first time, on the day that has its hour twice", () => {
    assert.deepEqual(following("30 2 * * *", "2026-10-24T12:00:00Z", 2), [
      "2026-10-25T00:30Z",
      "2026-10-26T01:30Z",
    ]);
    assert.deepEqual(following("30 1-3 * * *", "2026-10-24T12:00:00Z", 4), [
      "2026-10-24T23:30Z",
      "2026-10-25T00:30Z",
      "2026-10-25T02:30Z",
      "2026-10-26T00:30Z",
    ]);
  });

  it("comes every hour that passes, on both days", () => {
    for (const midnight of ["2026-03-28T23:30:00Z", "2026-10-24T22:30:00Z"]) {
      const hours = following("0 * * * *", midnight, 26).map((slot) => Date.parse(slot));
      for (const [at, hour] of hours.entries())
        if (at > 0) assert.equal(hour - hours[at - 1]!, 3_600_000);
    }
  });

  it("finds the last slot, the present moment included, across both changes", () => {
    const last = (moment: string) => slots("30 2 * * *").upTo(new Date(moment))?.toISOString();
    assert.equal(last("2026-10-25T00:30:00Z"), "2026-10-25T00:30:00.000Z");
    assert.equal(last("2026-10-25T01:45:00Z"), "2026-10-25T00:30:00.000Z");
    assert.equal(last("2026-03-29T12:00:00Z"), "2026-03-29T01:30:00.000Z");
    assert.equal(last("2026-03-29T01:29:59Z"), "2026-03-28T01:30:00.000Z");
  });

  it("has slots forwards and backwards that are the same ones", () => {
    const crons = ["30 2 * * *", "15 */6 * * 1-5", "0 3 1 * *", "0,30 1-3 * * *", "5 2,14 * * 0"];
    for (const cron of crons) {
      for (const from of ["2026-03-26T00:00:00Z", "2026-10-22T00:00:00Z"]) {
        let last: Date | undefined;
        for (const slot of following(cron, from, 24)) {
          const moment = new Date(slot);
          assert.equal(slots(cron).upTo(moment)?.getTime(), moment.getTime(), `${cron} ${slot}`);
          const before = new Date(moment.getTime() - 1);
          assert.equal(slots(cron).after(before)?.getTime(), moment.getTime(), `${cron} ${slot}`);
          if (last) assert.deepEqual(slots(cron).upTo(before), last, `${cron} ${slot}`);
          last = moment;
        }
      }
    }
  });

  const refusals: readonly [schedule: string, told: RegExp][] = [
    [`{ cron: "61 * * * *" }`, /^nightly\.yaml:10:19: schedule\.cron: no pattern that ever comes/],
    [`{ cron: "0 0 30 2 *" }`, /no pattern that ever comes/],
    [`{ cron: "2026-01-01T00:00:00" }`, /no pattern that ever comes/],
    [`{ cron: "0 0 * * *", timezone: Mars/Olympus }`, /schedule\.timezone: no such time zone/],
    [`{ cron: "0 0 * * *", overlap: queue }`, /expected skip, wait or replace/],
    [`{ cron: "0 0 * * *", keep: { runs: 0 } }`, /at least 1/],
    ["{}", /missing key "cron"/],
  ];
  for (const [schedule, told] of refusals) {
    it(`refuses ${schedule} with its place`, async () => {
      await assert.rejects(planned(schedule), { code: "config-invalid", message: told });
    });
  }

  it("refuses to keep some exports where single ones cannot be removed", async () => {
    const keeping = planned(`{ cron: "0 0 * * *", keep: { runs: 3 } }`, "tar:./out.tar");
    await assert.rejects(keeping, {
      code: "config-invalid",
      message: /^nightly\.yaml:10:38: schedule\.keep: a destination tar:/,
    });
  });

  it("is told by the plan, with what stays", async () => {
    const { report } = await planned(`{ cron: "0 3 * * *", keep: { runs: 3, days: 30 } }`);
    const notes = report.notes.join("\n");
    assert.match(notes, /runs it at `0 3 \* \* \*`, UTC/);
    assert.match(notes, /the newest 3 and those of the last 30 days stay/);
  });
});
