import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import { describeProgress } from "../../src/cli/run-progress.ts";
import {
  alignColumns,
  cut,
  drawBar,
  formatCount,
  formatCounted,
  harmless,
  isLive,
  paintFor,
  textWidth,
} from "../../src/cli/screen.ts";
import { shellWord, stockCommands } from "../../src/cli/stock-commands.ts";
import type { Progress } from "../../src/pipeline/summary.ts";

const plain = paintFor(new PassThrough() as unknown as NodeJS.WriteStream);

describe("what the terminal shows", () => {
  it("counts columns of wide letters and of marks", () => {
    assert.equal(textWidth("größer"), 6);
    assert.equal(textWidth("測定"), 4);
    assert.equal(textWidth("🩺"), 2);
    assert.equal(textWidth("e\u0301"), 1);
    assert.equal(textWidth("\u001b[1mbold\u001b[22m"), 4);
  });

  it("cuts to a width and says so", () => {
    assert.equal(cut("abcdef", 6), "abcdef");
    assert.equal(cut("abcdefg", 6), "abcde…");
    assert.equal(cut("測定済み", 6), "測定…");
    assert.equal(cut("abc", 0), "");
  });

  it("aligns columns, numbers on the right, and keeps lines within the width", () => {
    const lines = alignColumns(
      [
        ["a", "1", "what a long explanation"],
        ["bbb", "100", "short"],
      ],
      {
        right: [1],
        width: 22,
      },
    );
    assert.deepEqual(lines, ["  a      1  what a lo…", "  bbb  100  short"]);
  });

  it("takes away what would move the cursor", () => {
    assert.equal(harmless("a\u001b[2Jb\rc\u009bd"), "a\ufffd[2Jb\ufffdc\ufffdd");
  });

  it("writes counts and bars", () => {
    assert.equal(formatCount(1234567), "1,234,567");
    assert.equal(formatCount(999), "999");
    assert.equal(formatCounted(1, "row"), "1 row");
    assert.equal(formatCounted(1000, "row"), "1,000 rows");
    assert.equal(drawBar(0.5, 4), "██  ");
    assert.equal(drawBar(2, 4), "████");
    assert.equal(drawBar(0.375, 3), "█▏ ");
  });

  it("draws over a line only where a person looks at a terminal that can", () => {
    const [terminal, file] = [true, false].map((isTTY) => ({ isTTY }) as NodeJS.WriteStream);
    assert.equal(isLive(terminal!, { TERM: "xterm" }), true);
    assert.equal(isLive(terminal!, { CI: "1" }), false);
    assert.equal(isLive(terminal!, { TERM: "dumb" }), false);
    assert.equal(isLive(file!, {}), false);
  });

  it("tells rate, time left and memory of a run", () => {
    const describe = describeProgress();
    const progress = (rows: number, elapsedMillis: number): Progress => ({
      phase: "exporting",
      rows,
      expectedRows: 10_000,
      expectedExact: false,
      pages: 4,
      pagesUploaded: 3,
      bytesIn: 0,
      bytesOut: 0,
      rssBytes: 80 * 2 ** 20,
      memoryBudgetBytes: 96 * 2 ** 20,
      spoolBytes: 0,
      elapsedMillis,
      stages: [],
    });
    describe(progress(1000, 1000));
    assert.deepEqual(describe(progress(5000, 3000))(plain), [
      "exporting",
      "~50 %",
      "5,000/~10,000 rows",
      "2,000 rows/s",
      "ETA 3 s",
      "mem 80 MiB of 96 MiB",
      "3/4 pages uploaded",
    ]);
  });

  it("names the stock tools that the layers need", () => {
    const layers = { extension: "csv", compress: "gzip", encrypt: "age" } as const;
    const run = { pipeline: "p", runId: "r", opensWith: "key" } as const;
    const destination = "file:///tmp/it's here/p/r";
    const { enter, restore } = stockCommands({ ...run, destination, layers });
    assert.equal(enter, "cd '/tmp/it'\\''s here/p/r'");
    assert.equal(
      restore,
      'for p in *.csv.gz.age; do age -d -i key.txt "$p" | gzip -dc; done > rows.csv',
    );
    const asked = stockCommands({ ...run, opensWith: "passphrase", destination, layers });
    assert.equal(
      asked.restore,
      'for p in *.csv.gz.age; do age -d "$p" | gzip -dc; done > rows.csv',
    );
    const plain = { extension: "json", compress: "none", encrypt: "none" } as const;
    const tar = stockCommands({ ...run, destination: "tar:///tmp/x.tar", layers: plain });
    assert.equal(tar.enter, "tar -xf /tmp/x.tar && cd p/r");
    assert.equal(tar.restore, 'for p in *.json; do cat "$p"; done > rows.json');
    assert.equal(shellWord("a b"), "'a b'");
  });
});
