import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { startOtlpReceiver, type OtlpReceiver } from "../servers/otlp-receiver.ts";

const MiB = 1024 * 1024;

interface Weight {
  readonly peakRssBytes: number;
  readonly droppedSpans: number;
  readonly millis: number;
}

async function weigh(mode: string, receiver: OtlpReceiver, pages: number): Promise<Weight> {
  const program = join(import.meta.dirname, "weigh.ts");
  const args = ["--max-semi-space-size=1", program, mode, receiver.url, String(pages)];
  const start = performance.now();
  const { stdout } = await promisify(execFile)(process.execPath, args);
  return { ...JSON.parse(stdout), millis: performance.now() - start };
}

/** The smaller of two: other processes add noise, never take it away. */
async function weighTwice(mode: string, receiver: OtlpReceiver, pages: number): Promise<number> {
  const weights: number[] = [];
  for (let trial = 0; trial < 2; trial += 1) {
    weights.push((await weigh(mode, receiver, pages)).peakRssBytes);
  }
  return Math.min(...weights);
}

describe("the weight of telemetry", () => {
  let receiver: OtlpReceiver;
  beforeEach(async () => {
    receiver = await startOtlpReceiver();
  });
  afterEach(() => receiver.close());

  it("is at most 10 MiB with `light`, the spans of 300 pages included", async function () {
    this.timeout(60_000);
    const off = await weighTwice("off", receiver, 300);
    const light = await weighTwice("light", receiver, 300);
    assert.ok(receiver.spans.length > 1200);
    const addedMiB = (light - off) / MiB;
    assert.ok(addedMiB < 10, `${addedMiB.toFixed(1)} MiB`);
  });

  it("lets the process end at once after the shutdown, even before a mute collector", async () => {
    const mute = await startOtlpReceiver({ mute: true });
    try {
      const { millis, droppedSpans } = await weigh("light", mute, 10);
      assert.ok(droppedSpans > 0);
      assert.ok(millis < 6000, `${millis}`);
    } finally {
      await mute.close();
    }
  });
});
