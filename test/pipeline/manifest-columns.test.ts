import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Placed } from "../../src/pipeline/define.ts";
import { run } from "../../src/pipeline/run.ts";
import type { Row } from "../../src/stages/nouns.ts";
import { map } from "../../src/stages/transforms/map.ts";
import { select } from "../../src/stages/transforms/select.ts";
import {
  column,
  makePipeline,
  sourceOf,
  testEnv,
  tupleBatches,
  useFolder,
} from "../fixtures/pipelines.ts";

const columns = [column("id", "number", "int8"), column("diagnosis")];
const ways: Record<string, Placed> = {
  "by select": select(["id"]),
  "by a function": map({ module: ({ id }: Row) => ({ id }) }),
  "by a value of undefined": map({ module: (row: Row) => ({ ...row, diagnosis: undefined }) }),
};

describe("columns in the manifest", () => {
  const folder = useFolder();

  for (const [way, work] of Object.entries(ways)) {
    for (const rows of [[["1", "x"]], []]) {
      it(`do not name one dropped ${way}, with ${rows.length} rows`, async () => {
        const path = folder.next();
        const source = sourceOf(() => tupleBatches(columns, rows));
        const pipeline = makePipeline({
          source,
          rows: [work],
          dir: join(path, "spool"),
          to: join(path, "out"),
        });
        const { destination } = await run(pipeline, { env: testEnv });
        const text = await readFile(join(new URL(destination).pathname, "manifest.json"), "utf8");
        assert.doesNotMatch(text, /diagnosis/);
        const { schema } = JSON.parse(text) as { schema: unknown };
        assert.deepEqual(schema, { columns: rows.map(() => ({ name: "id", type: "int8" })) });
      });
    }
  }
});
