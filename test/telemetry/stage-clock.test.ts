import assert from "node:assert/strict";
import { createStageClock } from "../../src/telemetry/stage-clock.ts";

/** A clock that says what time it is only when told. */
function handClock() {
  let time = 0;
  return { now: () => time, pass: (millis: number) => (time += millis) };
}

describe("the stage clock", () => {
  it("counts work between a pull and its item as busy", () => {
    const { now, pass } = handClock();
    const clock = createStageClock(() => 0, now);
    clock.pulled();
    pass(3000);
    clock.gave();
    assert.deepEqual(clock.times(), { busySeconds: 3, starvedSeconds: 0, blockedSeconds: 0 });
  });

  it("counts waiting for input as starved and waiting to be asked as blocked", () => {
    const { now, pass } = handClock();
    const clock = createStageClock(() => 0, now);
    clock.pulled();
    clock.asked();
    pass(1000);
    clock.took();
    pass(2000);
    clock.gave();
    pass(4000);
    clock.pulled();
    clock.closed();
    assert.deepEqual(clock.times(), { busySeconds: 2, starvedSeconds: 1, blockedSeconds: 4 });
  });

  it("counts a stage that reads ahead as busy while something is in flight", () => {
    const { now, pass } = handClock();
    let inFlight = 0;
    const clock = createStageClock(() => inFlight, now);
    clock.pulled();
    clock.asked();
    pass(1000);
    inFlight = 1;
    clock.took();
    clock.asked();
    pass(5000);
    inFlight = 0;
    clock.gave();
    pass(7000);
    assert.deepEqual(clock.times(), { busySeconds: 5, starvedSeconds: 8, blockedSeconds: 0 });
  });

  it("counts a full window that nobody empties as blocked", () => {
    const { now, pass } = handClock();
    const clock = createStageClock(() => 2, now);
    clock.pulled();
    clock.gave();
    clock.asked();
    pass(1000);
    assert.equal(clock.times().blockedSeconds, 1);
  });

  it("counts waiting for page memory as blocked even when the stage is asked", () => {
    const { now, pass } = handClock();
    const clock = createStageClock(() => 0, now);
    clock.pulled();
    clock.waits();
    pass(1000);
    clock.served();
    pass(500);
    clock.gave();
    assert.deepEqual(clock.times(), { busySeconds: 0.5, starvedSeconds: 0, blockedSeconds: 1 });
  });

  it("counts nothing before the first pull and after the end", () => {
    const { now, pass } = handClock();
    const clock = createStageClock(() => 0, now);
    pass(1000);
    clock.pulled();
    pass(1000);
    clock.closed();
    clock.gave();
    pass(1000);
    clock.pulled();
    pass(1000);
    assert.deepEqual(clock.times(), { busySeconds: 1, starvedSeconds: 0, blockedSeconds: 0 });
  });

  it("adds up to the time the stage was open, whatever happens", () => {
    const { now, pass } = handClock();
    let inFlight = 0;
    const clock = createStageClock(() => inFlight, now);
    clock.pulled();
    for (let step = 0; step < 100; step += 1) {
      if (step % 5 === 0) clock.asked();
      if (step % 5 === 1) inFlight += 1;
      if (step % 5 === 2) clock.took();
      if (step % 5 === 3) clock.gave();
      if (step % 5 === 4) clock.pulled();
      if (step % 10 === 9) inFlight = 0;
      pass(10);
    }
    const { busySeconds, starvedSeconds, blockedSeconds } = clock.times();
    assert.ok(Math.abs(busySeconds + starvedSeconds + blockedSeconds - 1) < 1e-9);
  });
});
