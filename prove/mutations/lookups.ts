/** Bugs planted where a server joins the rows of a lookup: what it must prove first, and what it is asked then. */
import type { Mutation } from "./mutation.ts";

const proofTests = ["test/stages/sources/postgres-join-proof.test.ts"];
const joinTests = ["test/stages/sources/postgres-join.test.ts"];

export const lookupMutations: readonly Mutation[] = [
  {
    bug: "nobody asks whether a key is of one row alone",
    file: "src/stages/sources/postgres-join.ts",
    find: "  await proveUnique(session, asked, found, compared);\n",
    replace: "",
    why: "`limit 1` picks one of several rows, where the lookup refuses",
    caughtBy: proofTests,
  },
  {
    bug: "each join is taken for one that adds no row",
    file: "src/stages/sources/postgres-join-proof.ts",
    find: '["Semi", "Anti"].includes(gives) || node["Inner Unique"] === true;',
    replace: "gives.length > 0;",
    why: "a table whose key is doubled is called proved",
    caughtBy: proofTests,
  },
  {
    bug: "an index that is younger than the snapshot is trusted",
    file: "src/stages/sources/postgres-join-proof.ts",
    find: "    await refuseYounger(session);\n",
    replace: "",
    why: "the snapshot sees two rows with one key, of which the index knows one",
    caughtBy: proofTests,
  },
  {
    bug: "what is set for the proof stays set",
    file: "src/stages/sources/postgres-explain.ts",
    find: '"rollback to savepoint before"',
    replace: '"release savepoint before"',
    why: "the query is planned otherwise than without a lookup, and takes hours",
    caughtBy: joinTests,
  },
  {
    bug: "keys are compared in the collation of the rows",
    file: "src/stages/sources/postgres-join-proof.ts",
    find: "  if (rows[0]) return ` collate ${rows[0][0]}`;",
    replace: '  if (rows[0]) return "";',
    why: "`A` finds what is known of `a`, and no index finds it",
    caughtBy: proofTests,
  },
  {
    bug: "keys are compared as a type that takes several texts for equal",
    file: "src/stages/sources/postgres-join-proof.ts",
    find: '  1082: "date",\n',
    replace: '  1082: "date",\n  1700: "numeric",\n',
    why: "1.0 finds what is known of 1, which the lookup does not",
    caughtBy: proofTests,
  },
  {
    bug: "of several columns of a key the first is compared",
    file: "src/stages/sources/postgres-join.ts",
    find: '${compared.map(compare).join(" and ")} limit 1',
    replace: "${compared.slice(0, 1).map(compare)} limit 1",
    why: "rows get what belongs to others",
    caughtBy: proofTests,
  },
  {
    bug: "a row without a counterpart goes, though it is to be kept",
    file: "src/stages/sources/postgres-join.ts",
    find: '${missing === "keep" ? "left join" : "join"} lateral (',
    replace: "join lateral (",
    why: "an export short of rows",
    caughtBy: joinTests,
  },
  {
    bug: "a joined lookup has no limit",
    file: "src/stages/sources/postgres-join.ts",
    find: " limit 1) as f on true`",
    replace: ") as f on true`",
    why: "the server may take the tables in another order, and the rows come in another one",
    caughtBy: joinTests,
  },
  {
    bug: "the plan of a joined lookup is not looked at",
    file: "src/stages/sources/postgres.ts",
    find: "    refuseSlow(plan, ",
    replace: "    if (steps.length < 0) refuseSlow(plan, ",
    why: "a table is read whole for each row",
    caughtBy: proofTests,
  },
];
