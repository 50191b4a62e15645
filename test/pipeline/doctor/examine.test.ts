/** How the areas of `doctor` are looked at side by side, whatever one of them does. */
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { PipelineError } from "../../../src/errors.ts";
import { lookSideBySide } from "../../../src/pipeline/doctor/examine.ts";
import { good, type Finding } from "../../../src/stages/finding.ts";
import { untilAborted } from "../../../src/stages/until-aborted.ts";

const never = new AbortController().signal;

describe("looks side by side", () => {
  let undone = 0;
  beforeEach(() => void (undone = 0));

  /** A look that stores something, waits for ever, and takes it back. */
  const silent = async function* (signal: AbortSignal): AsyncGenerator<Finding> {
    try {
      yield good("one", "found");
      await untilAborted(new Promise(() => {}), signal);
    } finally {
      await sleep(5);
      undone += 1;
    }
  };
  const well = async function* (): AsyncGenerator<Finding> {
    yield good("two", "found");
  };

  it("end one that is silent, tell what it had found, and wait until it has undone what it did", async () => {
    const findings = await lookSideBySide(
      [
        ["destination", silent],
        ["spool", well],
      ],
      never,
      50,
    );
    assert.equal(undone, 1);
    assert.deepEqual(
      findings.map(({ area, check, code }) => [area, check, code]),
      [
        ["destination", "one", undefined],
        ["destination", "destination", "destination-unreachable"],
        ["spool", "two", undefined],
      ],
    );
  });

  it("are all ended by a defect in one of them, which is then told", async () => {
    const defect = new TypeError("ours");
    const broken = async function* (): AsyncGenerator<Finding> {
      yield good("one", "found");
      throw defect;
    };
    const looking = lookSideBySide(
      [
        ["source", broken],
        ["destination", silent],
      ],
      never,
    );
    await assert.rejects(looking, (error) => error === defect);
    assert.equal(undone, 1);
  });

  it("are all ended by the caller, with the caller's reason", async () => {
    const stop = new AbortController();
    setTimeout(() => stop.abort(new Error("enough")), 10);
    await assert.rejects(lookSideBySide([["destination", silent]], stop.signal), /enough/);
    assert.equal(undone, 1);
  });

  it("tell a failure of one beside what the others found", async () => {
    const failing = async function* (): AsyncGenerator<Finding> {
      yield good("one", "found");
      throw new PipelineError("spool-failed", "no; do this");
    };
    const findings = await lookSideBySide(
      [
        ["spool", failing],
        ["source", well],
      ],
      never,
    );
    assert.deepEqual(
      findings.map(({ code }) => code),
      [undefined, "spool-failed", undefined],
    );
  });
});
