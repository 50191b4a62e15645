import assert from "node:assert/strict";
import { relative } from "node:path";
import { openDestination } from "../../../src/stages/destinations/schemes.ts";

describe("a destination that is a path", () => {
  const identityOf = async (to: string) => {
    const rows = { table: "t", key: ["id"] };
    const destination = await openDestination(to, { timeoutMillis: 1000, rows });
    await destination.close();
    return destination.identity;
  };

  it("is one, however it is spelled", async () => {
    const place = "/var/out of/x";
    for (const scheme of ["file", "tar", "sqlite"]) {
      const known = await identityOf(`${scheme}://${place}`);
      const here = `${scheme}:${relative(process.cwd(), place)}`;
      const spelled = [here, `${scheme}:///var//./out%20of/y/../%78`, `${scheme}:${place}`];
      for (const to of spelled) assert.equal(await identityOf(to), known, to);
      assert.notEqual(await identityOf(`${scheme}://${place}y`), known);
    }
    const folder = await identityOf(`file://${place}`);
    assert.equal(await identityOf(`file://${place}//`), folder);
    assert.equal(await identityOf(place), folder);
  });
});
