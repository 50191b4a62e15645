import assert from "node:assert/strict";
import { setImmediate as soon } from "node:timers/promises";
import { slotsOf } from "../../../src/pipeline/schedule.ts";
import type { RunEnded } from "../../../src/pipeline/serve/runs.ts";
import type { SlotState } from "../../../src/pipeline/serve/slot-state.ts";
import { Timetable } from "../../../src/pipeline/serve/timetable.ts";
import type { ScheduleConfig } from "../../../src/pipeline/spec.ts";
import type { Clock } from "../../../src/stages/world.ts";

/** A clock that moves when it is told to; what is due is called in its order. */
interface FakeClock extends Clock {
  to(moment: string): Promise<void>;
  /** Sets what it shows, as an administrator would; timers do not notice. */
  set(moment: string): void;
}

function fakeClock(from: string): FakeClock {
  let millis = Date.parse(from);
  let wrong = 0;
  const timers = new Set<{ readonly at: number; readonly work: () => void }>();
  return {
    now: () => millis,
    date: () => new Date(millis + wrong),
    after(wait, work) {
      const timer = { at: millis + wait, work };
      timers.add(timer);
      return () => timers.delete(timer);
    },
    set(moment) {
      wrong = Date.parse(moment) - millis;
    },
    async to(moment) {
      const end = Date.parse(moment) - wrong;
      for (;;) {
        const next = [...timers].toSorted((a, b) => a.at - b.at)[0];
        if (!next || next.at > end) break;
        timers.delete(next);
        millis = next.at;
        next.work();
        await soon();
      }
      millis = end;
    },
  };
}

interface Started {
  readonly slot: string;
  readonly restart: boolean;
  stopped: boolean;
  end(ended?: Partial<RunEnded>): Promise<void>;
}

const midnight = "2026-03-01T00:00:00Z";

function serve(more: Partial<ScheduleConfig> = {}, state: SlotState = {}, from = midnight) {
  const clock = fakeClock(from);
  const schedule: ScheduleConfig = { cron: "0 * * * *", timezone: "UTC", overlap: "skip", ...more };
  const started: Started[] = [];
  const lines: string[] = [];
  const served = { file: "f", name: "rows", schedule, slots: slotsOf(schedule), folder: "x" };
  const timetable = new Timetable({
    served,
    state,
    clock,
    log: (line) => lines.push(line),
    start({ slot, restart }) {
      const { promise: ended, resolve } = Promise.withResolvers<RunEnded>();
      const given = slot.toISOString().replace(".000Z", "Z");
      const committed = { exitCode: 0, code: null, mayHelp: false, runId: "r" };
      const run: Started = {
        slot: given,
        restart,
        stopped: false,
        async end(how = {}) {
          resolve({ ...committed, slot: slot.toISOString(), ...how });
          await soon();
        },
      };
      started.push(run);
      return { ended, stop: () => (run.stopped = true) };
    },
  });
  const slots = () => started.map(({ slot }) => slot.slice(11, 16));
  return { clock, timetable, started, lines, slots, last: () => started.at(-1)! };
}

const stopped = { exitCode: 75, code: "stopped", mayHelp: true };
const elsewhere = { exitCode: 7, code: "already-running", mayHelp: true };
const unreachable = { exitCode: 4, code: "source-unreachable", mayHelp: true };

describe("a pipeline's slots", () => {
  it("begin a run each, at their time", async () => {
    const { clock, slots, last, timetable } = serve();
    assert.equal(timetable.status.next, "2026-03-01T01:00:00.000Z");
    await clock.to("2026-03-01T00:59:59Z");
    assert.deepEqual(slots(), []);
    for (const hour of ["01", "02", "03"]) {
      await clock.to(`2026-03-01T${hour}:00:00Z`);
      await last().end();
    }
    assert.deepEqual(slots(), ["01:00", "02:00", "03:00"]);
    assert.equal(timetable.status.slots.committed, 3);
  });

  it("are run for although a clock that was wrong once left one that has not come", async () => {
    const done = new Date("2031-01-01T00:00:00Z");
    const { started, slots, last, lines } = serve({}, { done });
    assert.deepEqual(slots(), ["00:00"]);
    assert.match(lines.join("\n"), /2031-.* has not come yet: a clock was wrong/);
    await last().end({ slot: done.toISOString() });
    assert.deepEqual(slots(), ["00:00", "00:00"], "that run was not this slot's");
    await last().end();
    assert.equal(started.length, 2);
  });

  it("are run for after a clock that was ahead is set right, while it serves", async () => {
    const { clock, slots, last, lines, timetable } = serve({ overlap: "wait" });
    await clock.to("2026-03-01T01:00:00Z");
    await last().end();
    clock.set("2027-05-01T00:00:00Z");
    await clock.to("2027-05-01T01:30:00Z");
    assert.equal(timetable.status.waiting, "2027-05-01T01:00:00.000Z");
    clock.set("2026-03-01T02:10:00Z");
    await clock.to("2026-03-01T02:11:00Z");
    assert.match(lines.join("\n"), /the clock went back behind slot 2027-05-01T01/);
    assert.equal(timetable.status.waiting, null);
    assert.equal(timetable.status.next, "2026-03-01T03:00:00.000Z");
    await last().end();
    await clock.to("2026-03-01T03:00:00Z");
    assert.deepEqual(slots(), ["01:00", "00:00", "03:00"]);
    assert.equal(last().slot, "2026-03-01T03:00:00Z");
  });

  it("are not run for twice where the clock is set back a little", async () => {
    const { clock, slots, last } = serve();
    await clock.to("2026-03-01T02:00:00Z");
    await last().end();
    clock.set("2026-03-01T01:30:00Z");
    await clock.to("2026-03-01T02:30:00Z");
    await clock.to("2026-03-01T03:00:00Z");
    assert.deepEqual(slots(), ["01:00", "03:00"]);
  });

  it("are skipped while a run goes on, and counted", async () => {
    const { clock, slots, last, timetable, lines } = serve();
    await clock.to("2026-03-01T03:30:00Z");
    assert.deepEqual(slots(), ["01:00"]);
    assert.equal(timetable.status.slots.skipped, 2);
    assert.match(lines.join("\n"), /slot 2026-03-01T02:00:00\.000Z is skipped: the run for slot/);
    await last().end();
    assert.deepEqual(slots(), ["01:00"]);
    await clock.to("2026-03-01T04:00:00Z");
    assert.deepEqual(slots(), ["01:00", "04:00"]);
  });

  it("wait for the run to end, the latest one alone", async () => {
    const { clock, slots, last, started, timetable } = serve({ overlap: "wait" });
    await clock.to("2026-03-01T03:30:00Z");
    assert.equal(timetable.status.waiting, "2026-03-01T03:00:00.000Z");
    await last().end();
    assert.deepEqual(slots(), ["01:00", "03:00"]);
    assert.ok(!started[0]!.stopped && !last().restart);
    assert.equal(timetable.status.slots.skipped, 1);
  });

  it("replace the run, which is stopped first and discarded", async () => {
    const { clock, slots, last, started } = serve({ overlap: "replace" });
    await clock.to("2026-03-01T02:00:00Z");
    assert.deepEqual(slots(), ["01:00"]);
    assert.ok(started[0]!.stopped);
    await last().end(stopped);
    assert.deepEqual(slots(), ["01:00", "02:00"]);
    assert.ok(last().restart);
  });

  it("do not discard a run that goes on elsewhere", async () => {
    const { clock, last, slots } = serve({ overlap: "replace" });
    await clock.to("2026-03-01T02:00:00Z");
    await last().end(elsewhere);
    assert.deepEqual([slots(), last().restart], [["01:00", "02:00"], false]);
  });

  it("do not discard a run that was committed while it was to be replaced", async () => {
    const { clock, last } = serve({ overlap: "replace" });
    await clock.to("2026-03-01T02:00:00Z");
    await last().end();
    assert.deepEqual([last().slot, last().restart], ["2026-03-01T02:00:00Z", false]);
  });

  it("that were missed are run for once, the latest", async () => {
    const done = new Date("2026-02-25T05:00:00Z");
    const { slots, clock, last } = serve({}, { done }, "2026-03-01T07:20:00Z");
    assert.deepEqual(slots(), ["07:00"]);
    await last().end();
    await clock.to("2026-03-01T08:00:00Z");
    assert.deepEqual(slots(), ["07:00", "08:00"]);
  });

  it("that are done, or of a pipeline never run before, are not missed", () => {
    const from = "2026-03-01T07:20:00Z";
    assert.deepEqual(serve({}, { done: new Date("2026-03-01T07:00:00Z") }, from).slots(), []);
    assert.deepEqual(serve({}, {}, from).slots(), []);
  });

  it("that were cut off are gone on with at once", () => {
    const from = "2026-03-01T07:20:00Z";
    const unfinished = new Date("2026-03-01T07:00:00Z");
    const done = new Date("2026-03-01T06:00:00Z");
    assert.deepEqual(serve({}, { done, unfinished }, from).slots(), ["07:00"]);
    // Only the tidying up was cut off.
    assert.deepEqual(serve({}, { done: unfinished, unfinished }, from).slots(), []);
  });

  it("are run for after what an earlier one had left is finished", async () => {
    const { clock, slots, last, lines } = serve();
    await clock.to("2026-03-01T01:00:00Z");
    await last().end({ slot: "2026-02-28T23:00:00.000Z" });
    assert.deepEqual(slots(), ["01:00", "01:00"]);
    assert.match(lines.join("\n"), /what an earlier run had left is committed/);
  });

  it("are begun anew where what is unfinished cannot go on, once", async () => {
    const { clock, started, last } = serve();
    await clock.to("2026-03-01T01:00:00Z");
    const changed = { exitCode: 4, code: "source-changed", mayHelp: false };
    await last().end(changed);
    assert.deepEqual(
      started.map(({ restart }) => restart),
      [false, true],
    );
    await last().end(changed);
    assert.equal(started.length, 2);
  });

  it("are tried again with pauses where that may help, until the next one comes", async () => {
    const { clock, slots, last } = serve();
    await clock.to("2026-03-01T01:00:00Z");
    for (const minute of ["01", "06", "21"]) {
      await last().end(unreachable);
      await clock.to(`2026-03-01T01:${minute}:00Z`);
    }
    await last().end(unreachable);
    assert.deepEqual(slots(), ["01:00", "01:00", "01:00", "01:00"]);
    await clock.to("2026-03-01T01:59:00Z");
    assert.equal(slots().length, 4);
    await clock.to("2026-03-01T02:00:00Z");
    await last().end({ exitCode: 2, code: "config-invalid" });
    await clock.to("2026-03-01T02:59:00Z");
    assert.equal(slots().length, 5);
  });

  it("have failed where the run stopped itself for want of room, and are tried again", async () => {
    const { clock, slots, last, timetable } = serve();
    await clock.to("2026-03-01T01:00:00Z");
    await last().end({ exitCode: 75, code: "disk-full", mayHelp: true });
    assert.equal(timetable.status.last?.outcome, "failed");
    await clock.to("2026-03-01T01:01:00Z");
    await last().end(stopped);
    assert.equal(timetable.status.last?.outcome, "stopped");
    assert.deepEqual(slots(), ["01:00", "01:00"]);
  });

  it("are skipped where a run goes on elsewhere; `wait` looks again", async () => {
    const skipping = serve();
    await skipping.clock.to("2026-03-01T01:00:00Z");
    await skipping.last().end(elsewhere);
    await skipping.clock.to("2026-03-01T01:50:00Z");
    assert.deepEqual(skipping.slots(), ["01:00"]);
    assert.equal(skipping.timetable.status.slots.skipped, 1);
    const waiting = serve({ overlap: "wait" });
    await waiting.clock.to("2026-03-01T01:00:00Z");
    for (let tries = 0; tries < 5; tries += 1) {
      await waiting.last().end(elsewhere);
      await waiting.clock.to(`2026-03-01T01:0${tries + 1}:00Z`);
    }
    await waiting.last().end();
    assert.equal(waiting.slots().length, 6);
    const { committed, skipped } = waiting.timetable.status.slots;
    assert.deepEqual([committed, skipped], [1, 0]);
  });

  it("are skipped, and counted so, where a later one comes before a run elsewhere has ended", async () => {
    const { clock, slots, last, timetable, lines } = serve({ overlap: "wait" });
    await clock.to("2026-03-01T01:00:00Z");
    await last().end(elsewhere);
    assert.equal(timetable.status.waiting, "2026-03-01T01:00:00.000Z");
    for (let quarter = 1; quarter <= 240; quarter += 1) {
      await clock.to(new Date(Date.parse("2026-03-01T01:00:00Z") + quarter * 15_000).toISOString());
      if (quarter < 240) await last().end(elsewhere);
    }
    assert.equal(slots().at(-1), "02:00");
    assert.deepEqual(timetable.status.slots, { committed: 0, skipped: 1, stopped: 0, failed: 0 });
    assert.match(lines.join("\n"), /slot 2026-03-01T01:00:00.000Z is skipped: a later one came/);
    await clock.to("2026-03-01T03:00:00Z");
    assert.equal(timetable.status.waiting, "2026-03-01T03:00:00.000Z");
    await last().end(elsewhere);
    assert.deepEqual([slots().at(-1), timetable.status.slots.skipped], ["03:00", 2]);
    assert.equal(timetable.status.waiting, null);
  });

  it("come once on either day that clocks change", async () => {
    const night: Partial<ScheduleConfig> = { cron: "30 2 * * *", timezone: "Europe/Berlin" };
    for (const day of ["2026-03-29", "2026-10-25"]) {
      const { clock, started, last } = serve(night, {}, `${day}T00:00:00Z`);
      for (let minute = 1; minute < 240; minute += 1) {
        await clock.to(new Date(Date.parse(`${day}T00:00:00Z`) + minute * 60_000).toISOString());
        if (started.length > 0) await last().end();
      }
      assert.equal(started.length, 1, day);
    }
  });

  it("end with the server, which stops its run and waits for it", async () => {
    const { clock, timetable, slots, last } = serve();
    await clock.to("2026-03-01T01:00:00Z");
    let isStopped = false;
    const stopping = timetable.stop().then(() => (isStopped = true));
    assert.ok(last().stopped);
    await soon();
    assert.ok(!isStopped);
    await last().end(stopped);
    await stopping;
    await clock.to("2026-03-01T05:00:00Z");
    assert.deepEqual(slots(), ["01:00"]);
    assert.equal(timetable.status.last?.outcome, "stopped");
  });

  it("follow another schedule after a reload; the run under way goes on", async () => {
    const { clock, timetable, slots, last, started } = serve();
    await clock.to("2026-03-01T01:00:00Z");
    const schedule: ScheduleConfig = { cron: "30 * * * *", timezone: "UTC", overlap: "skip" };
    timetable.reload({ ...timetable.served, schedule, slots: slotsOf(schedule) });
    assert.ok(!started[0]!.stopped);
    await last().end();
    await clock.to("2026-03-01T02:10:00Z");
    assert.deepEqual(slots(), ["01:00", "01:30"]);
  });

  it("of another schedule begin with the reload, those of the same one do not begin anew", async () => {
    const { clock, timetable, slots, last } = serve();
    const schedule: ScheduleConfig = { cron: "30 * * * *", timezone: "UTC", overlap: "skip" };
    const reload = () =>
      timetable.reload({ ...timetable.served, schedule, slots: slotsOf(schedule) });
    await clock.to("2026-03-01T01:00:00Z");
    await last().end();
    await clock.to("2026-03-01T01:40:00Z");
    reload();
    await clock.to("2026-03-01T02:29:50Z");
    assert.deepEqual(slots(), ["01:00"]);
    reload();
    await clock.to("2026-03-01T02:31:00Z");
    assert.deepEqual(slots(), ["01:00", "02:30"]);
  });
});
