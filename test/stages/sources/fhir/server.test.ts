/** What a FHIR server may answer to one request that is none of the answers asked for. */
import assert from "node:assert/strict";
import { PipelineError, type ErrorCode } from "../../../../src/errors.ts";
import {
  fhirJson,
  openServer,
  type FhirServer,
} from "../../../../src/stages/sources/fhir/server.ts";
import { startFhir, type TestFhirServer } from "../../../servers/fhir.ts";

const never = new AbortController().signal;

describe("one request to a FHIR server", () => {
  let server: TestFhirServer;
  let client: FhirServer;
  before(async () => {
    server = await startFhir({ resources: [] }, [
      ({ url }, response) => {
        const [, , what = "", status] = url.pathname.split("/");
        if (what === "round") response.writeHead(302, { location: "/fhir/round" }).end();
        else if (what === "untyped") response.end("{}");
        else if (what === "capitals") {
          response.writeHead(200, {
            "content-type": "Application/FHIR+JSON",
            "content-encoding": "Identity",
            "transfer-encoding": "Chunked",
          });
          response.end("{}");
        } else if (what === "status") response.writeHead(Number(status)).end("secret words");
        else return false;
        return true;
      },
    ]);
    client = openServer({ url: server.base, timeout: 5000 });
  });
  after(async () => {
    client.close();
    await server.close();
  });

  const refuses = (work: Promise<unknown>, message: RegExp, code: ErrorCode = "source-refused") =>
    assert.rejects(work, (error: unknown) => {
      assert.ok(error instanceof PipelineError, String(error));
      assert.match(error.message, message);
      assert.equal(error.code, code);
      assert.doesNotMatch(error.message, /secret/);
      return true;
    });
  const ask = (path: string, more: object = {}) =>
    client.ask({ url: new URL(`${server.base}/${path}`), ...more }, never);

  it("follows three redirects, and none of what is posted", async () => {
    await refuses(ask("round"), /redirects more than 3 times/);
    assert.equal(server.requests.length, 4);
    await refuses(ask("round", { method: "POST", body: "a=b" }), /redirects a POST; expected its/);
    assert.equal(server.requests.length, 5);
  });

  it("names no media type where the server names none", () =>
    refuses(ask("untyped", { media: fhirJson }), /answered with no content type, utf-8; expected/));

  it("may be answered by names in capitals: of the media type, of the codings", async () => {
    const answer = await client.askJson({ url: new URL(`${server.base}/capitals`) }, 100, never);
    assert.deepEqual(answer.body, {});
  });

  it("is refused by a status alone, with the advice that fits it", async () => {
    await refuses(ask("status/418"), /refused \(418\); check that the server takes what/);
    await refuses(ask("status/404"), /refused \(404\); check `url`/);
    await refuses(ask("status/401"), /refused \(401\); check `auth`/);
  });

  it("goes to no address that is none", () => {
    const own = () => client.own("http://[secret", new URL(server.base));
    assert.throws(own, { code: "source-refused", message: /leads on to an address that is none/ });
  });

  it("never leaves TLS, and takes nothing else for it", async () => {
    const url = server.base.replace("http:", "https:");
    const secure = openServer({ url, timeout: 5000 });
    try {
      await refuses(secure.ask({ url: new URL(server.base) }, never), /that is not https/);
      await refuses(secure.ask({ url: new URL(url) }, never), /^no trusted TLS connection/);
    } finally {
      secure.close();
    }
  });
});
