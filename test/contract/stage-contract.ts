/**
 * The contract every stage keeps, as mocha tests. A stage's own test file calls `checkStageContract` once and then
 * holds only what is special about that stage:
 *
 *     describe("chunk", () => {
 *       checkStageContract({
 *         stage: chunk,                                  // what `defineStage` gave
 *         config: () => ({ size: "64KiB" }),             // as a user writes it; called inside tests
 *         required: [],                                  // fields that must be there
 *         wrong: { size: "big" },                        // a value per field that must be refused
 *         makeInput: (pieces, ctx) => records(pieces),   // the same data in so many batches; last one has `end`
 *         context: () => ({ pool }),                     // only what the stage needs beyond signal and lease
 *         empty: { input: () => records(0), check: (items) => assert.equal(items.length, 1) },
 *       });
 *     });
 *
 * A source has no `makeInput`; its `config` names the input, and `empty.config` an empty one. Output is compared by
 * what it says, not by how it is cut into batches: see `contentOf`; `contentOf` of your own replaces it.
 * `testContext`, `collect` and `releaseAll` are useful in a stage's own tests too.
 */
import assert from "node:assert/strict";
import * as v from "valibot";
import type { Kind } from "../../src/stages/nouns.ts";
import { type StageCheck, pageBytes } from "./stage-check.ts";
import { checkEnds } from "./stage-ends.ts";
import { checkOutput } from "./stage-output.ts";

export { type TestContext, collect, pageBytes, releaseAll, testContext } from "./stage-check.ts";

/** Registers the contract's tests; call inside `describe`. */
export function checkStageContract<Takes extends Kind, Gives extends Kind>(
  check: StageCheck<Takes, Gives>,
): void {
  describe("keeps the stage contract", () => {
    checkConfig(check);
    checkOutput(check);
    describe("whatever ends it", () => checkEnds(check));
  });
}

function checkConfig<T extends Kind, G extends Kind>(check: StageCheck<T, G>): void {
  const { stage, config, required = [], wrong = {} } = check;
  const pathsOf = (input: unknown) => {
    const result = v.safeParse(stage.config, input);
    assert.equal(result.success, false, "the config is accepted");
    return (result.issues ?? []).map((issue) => v.getDotPath(issue));
  };

  it("accepts the config it is checked with", () => {
    assert.deepEqual(v.safeParse(stage.config, config()).issues, undefined);
  });
  it("refuses an unknown key with its path", () => {
    assert.deepEqual(pathsOf({ ...config(), nonsense: 1 }), ["nonsense"]);
  });
  for (const key of required) {
    it(`refuses a config without ${key} with its path`, () => {
      const { [key]: _, ...rest } = config();
      assert.deepEqual(pathsOf(rest), [key]);
    });
  }
  for (const [key, value] of Object.entries(wrong)) {
    it(`refuses a wrong ${key} with its path`, () => {
      const paths = pathsOf({ ...config(), [key]: value });
      assert.ok(
        paths.length > 0 && paths.every((path) => path?.split(".")[0] === key),
        paths.join(),
      );
    });
  }
  it("describes every field and promises a whole number of bytes", () => {
    const { entries = {} } = stage.config as { entries?: Record<string, v.GenericSchema> };
    for (const [key, schema] of Object.entries(entries)) {
      assert.ok(describes(schema), `${key} has no description`);
    }
    const held = stage.holds(v.parse(stage.config, config()), pageBytes, 2);
    assert.ok(Number.isSafeInteger(held) && held >= 0, `holds ${held}`);
  });
}

function describes(schema: v.GenericSchema): boolean {
  return v.getDescription(schema) !== undefined;
}
