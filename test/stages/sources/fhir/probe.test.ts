/** What a look at a FHIR server finds, and what its counts say. */
import assert from "node:assert/strict";
import { countFhir, probeFhir } from "../../../../src/stages/sources/fhir/probe.ts";
import { send, sendOutcome, startFhir, type TestFhirServer } from "../../../servers/fhir.ts";

const never = new AbortController().signal;

describe("a look at a FHIR server", () => {
  let server: TestFhirServer;
  /** The status that the server's own description has. */
  let metadata = 200;
  let count = "{}";
  before(async () => {
    server = await startFhir({ resources: [] }, [
      ({ url }, response) => {
        if (!url.pathname.endsWith("/metadata")) send(response, 200, count);
        else if (metadata === 200) send(response, 200, "{}");
        else sendOutcome(response, metadata, "login");
        return true;
      },
    ]);
  });
  after(() => server.close());
  beforeEach(() => {
    metadata = 200;
    count = "{}";
  });

  const options = () => ({ url: server.base, timeout: 5000 });
  const searches = (...search: string[]) => ({ ...options(), search, post: false });
  const look = async (config: Parameters<typeof probeFhir>[0], signal = never) => {
    const findings = await Array.fromAsync(probeFhir(config, signal));
    return findings.map(({ level, check, found }) => `${level} ${check}: ${found}`);
  };

  it("counts what is searched for, and warns where nobody counts it", async () => {
    count = '{"resourceType":"Bundle","total":7}';
    const two = await look(searches("Patient", "Observation"));
    assert.equal(two.at(-1), "ok search: 14 resources, as the server counts them");
    for (const answer of ["{}", "<html>", '{"resourceType":"Bundle","total":-1}']) {
      count = answer;
      assert.deepEqual(await look(searches("Patient")), [
        "ok server: a FHIR server answers; the login works",
        "warn search: the server gives no totals",
      ]);
    }
  });

  it("asks for no count of an operation, nor of an export", async () => {
    count = '{"resourceType":"Bundle","total":7}';
    const asked = server.requests.length;
    const everything = countFhir(searches("Patient/1/$everything"), never);
    await assert.rejects(everything, { code: "source-refused", message: /gives no total for/ });
    assert.equal((await look(options())).length, 1);
    assert.equal(server.requests.length, asked + 1);
    const counted = await countFhir(searches("Patient"), never);
    assert.deepEqual(counted, { rows: 7, exact: true });
  });

  it("says that the login is refused, and nothing once nobody waits for it", async () => {
    metadata = 403;
    const [only, ...more] = await look(searches("Patient"));
    assert.match(only!, /^fail server: .*refused \(403, error: login\)/);
    assert.deepEqual(more, []);
    const reason = new Error("stopped");
    await assert.rejects(look(searches("Patient"), AbortSignal.abort(reason)), reason);
  });
});
