import assert from "node:assert/strict";
import { FolderNames } from "../../../src/stages/destinations/folder-names.ts";
import { compareNames } from "../../../src/stages/destinations/object-names.ts";
import { seededRandom } from "../../../prove/seeded.ts";

function inOrder(names: Iterable<string>): string[] {
  const folder = new FolderNames();
  for (const name of names) folder.add(name);
  return [...folder.inOrder()];
}

/** As bytes, which is what name order means. */
const sorted = (names: readonly string[]) =>
  names.toSorted((one, other) => Buffer.compare(Buffer.from(one), Buffer.from(other)));

const page = (number: number, ending = ".ndjson.zst.age") =>
  `${String(number).padStart(8, "0")}${ending}`;

describe("folder-names", () => {
  it("gives pages and all else back in the order of their bytes", () => {
    const names = [
      ...[0, 1, 7, 8, 9, 65_535, 65_536, 70_000, 99_999_999].map((number) => page(number)),
      page(7, ".csv"),
      page(8, ".a/"),
      "0000000.x",
      "000000000.x",
      "00000007",
      "00000007.",
      "SHA256SUMS",
      "manifest.json",
      "éa",
      "\u{1f600}.x",
      "\uffee.x",
    ];
    assert.deepEqual(inOrder(names.toReversed()), sorted(names));
    assert.deepEqual(inOrder([]), []);
  });

  it("gives back what was added, whatever it was", () => {
    const random = seededRandom(31);
    const below = (count: number) => Math.floor(random() * count);
    for (let round = 0; round < 200; round += 1) {
      const names = new Set<string>();
      for (let count = below(60); count > 0; count -= 1) {
        const number = below(4) === 0 ? below(100_000_000) : below(30);
        const endings = [".a", ".b", ".c.d", ".e", ".f", ".é", "", "/"];
        names.add(page(number, endings[below(endings.length)]));
      }
      assert.deepEqual(inOrder(names), sorted([...names]));
    }
  });

  it("compares names as their bytes compare", () => {
    const names = ["", "a", "b", "Z", "é", "\uffee", "\u{1f600}", "a\u007f", "a\u0080", "ab"];
    for (const one of names) {
      for (const other of names) {
        const expected = Buffer.compare(Buffer.from(one), Buffer.from(other));
        assert.equal(Math.sign(compareNames(one, other)), expected, `${one} ${other}`);
      }
    }
  });
});
