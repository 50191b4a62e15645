import assert from "node:assert/strict";
import { TryAgain, persist, retryAfterMillis } from "../../../src/stages/destinations/retry.ts";
import { PipelineError } from "../../../src/errors.ts";

const never = new AbortController().signal;
const policy = { attempts: 4, firstMillis: 1, longestMillis: 40, totalMillis: 2000 };
const failure = new PipelineError("destination-unreachable", "no answer");

function failing(times: number, waitMillis = 0) {
  let attempts = 0;
  return async () => {
    attempts += 1;
    if (attempts <= times) throw new TryAgain(failure, waitMillis);
    return attempts;
  };
}

describe("retry", () => {
  it("gives what a later attempt gives", async () => {
    assert.equal(await persist(failing(3), never, policy), 4);
  });

  it("throws the failure itself when all attempts are used up", async () => {
    await assert.rejects(persist(failing(4), never, policy), (error) => error === failure);
  });

  it("does not repeat other errors", async () => {
    let attempts = 0;
    const broken = new PipelineError("destination-refused", "no");
    const attempt = async () => {
      attempts += 1;
      throw broken;
    };
    await assert.rejects(persist(attempt, never, policy), (error) => error === broken);
    assert.equal(attempts, 1);
  });

  it("waits as long as it was asked to, but not absurdly long", async () => {
    const start = performance.now();
    await persist(failing(1, 30), never, policy);
    assert.ok(performance.now() - start >= 25);
    await persist(failing(1, 86_400_000), never, policy);
    assert.ok(performance.now() - start < 1000);
  });

  it("stops asking when its time is up", async () => {
    const short = { attempts: 1000, firstMillis: 20, longestMillis: 20, totalMillis: 100 };
    const start = performance.now();
    await assert.rejects(persist(failing(1000, 20), never, short), (error) => error === failure);
    assert.ok(performance.now() - start < 1000);
  });

  it("leaves a wait at once when the signal fires, with the signal's reason", async () => {
    const stop = new AbortController();
    const reason = new Error("stop now");
    const patient = { attempts: 3, firstMillis: 1, longestMillis: 60_000, totalMillis: 60_000 };
    setTimeout(() => stop.abort(reason), 10);
    const start = performance.now();
    await assert.rejects(
      persist(failing(9, 60_000), stop.signal, patient),
      (error) => error === reason,
    );
    assert.ok(performance.now() - start < 1000);
  });

  it("reads Retry-After as seconds or as a date", () => {
    assert.equal(retryAfterMillis("7"), 7000);
    assert.equal(retryAfterMillis(undefined), 0);
    assert.equal(retryAfterMillis("soon"), 0);
    assert.equal(retryAfterMillis("Thu, 01 Jan 1970 00:00:00 GMT"), 0);
    const wait = retryAfterMillis(new Date(Date.now() + 60_000).toUTCString());
    assert.ok(wait > 58_000 && wait <= 60_000);
  });
});
