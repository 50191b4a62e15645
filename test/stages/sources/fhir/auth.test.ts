import assert from "node:assert/strict";
import { createPublicKey, generateKeyPairSync, verify, type KeyObject } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import * as v from "valibot";
import { PipelineError } from "../../../../src/errors.ts";
import { TryAgain } from "../../../../src/stages/destinations/retry.ts";
import { createCredentials } from "../../../../src/stages/sources/fhir/auth.ts";
import { fhir, readFhir } from "../../../../src/stages/sources/fhir.ts";
import { collect, testContext } from "../../../contract/stage-contract.ts";
import {
  makeObservations,
  send,
  sendOutcome,
  startFhir,
  type Interceptor,
} from "../../../servers/fhir.ts";

const resources = makeObservations(30);
const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
const ec = generateKeyPairSync("ec", { namedCurve: "P-384" });

/** What an issuer of tokens is asked, and the tokens it gave; a token is taken for so many requests. */
function createIssuer(
  accepts: (form: URLSearchParams, header: string | undefined) => boolean,
  uses = 1e6,
) {
  const issued: string[] = [];
  let left = 0;
  const intercept: Interceptor = ({ url, body, headers }, response) => {
    if (url.pathname === "/token") {
      if (!accepts(new URLSearchParams(body), headers.authorization)) {
        send(response, 401, '{"error":"invalid_client","error_description":"secret"}', {
          "content-type": "application/json",
        });
        return true;
      }
      issued.push(`token-${issued.length + 1}`);
      left = uses;
      const token = { access_token: issued.at(-1), token_type: "bearer", expires_in: 300 };
      send(response, 200, JSON.stringify(token), { "content-type": "application/json" });
      return true;
    }
    if (headers.authorization === `Bearer ${issued.at(-1)}` && left-- > 0) return false;
    sendOutcome(response, 401, "login");
    return true;
  };
  return { intercept, issued };
}

async function read(
  intercept: Interceptor,
  authOf: (origin: string) => object,
  given: Record<string, unknown> = {},
) {
  const server = await startFhir({ resources }, [intercept]);
  try {
    const auth = authOf(server.origin);
    const config = v.parse(fhir.config, {
      url: server.base,
      search: "Observation",
      count: 10,
      auth,
      ...given,
    });
    const batches = await collect(readFhir(config, testContext()));
    return batches.at(-1)?.end?.rows;
  } finally {
    await server.close();
  }
}

const assertionOf = (form: URLSearchParams) => {
  const [head = "", claims = "", signature = ""] = (form.get("client_assertion") ?? "").split(".");
  const decode = (part: string) =>
    JSON.parse(Buffer.from(part, "base64url").toString()) as Record<string, unknown>;
  return {
    head: decode(head),
    claims: decode(claims),
    signed: `${head}.${claims}`,
    signature: Buffer.from(signature, "base64url"),
  };
};

describe("fhir logs in", () => {
  it("with a bearer token, or with user and password", async () => {
    for (const [auth, header] of [
      [{ token: "abc" }, "Bearer abc"],
      [{ user: "me", password: "p:w" }, `Basic ${Buffer.from("me:p:w").toString("base64")}`],
    ] as const) {
      const guard: Interceptor = ({ headers }, response) => {
        if (headers.authorization === header) return false;
        sendOutcome(response, 401, "login");
        return true;
      };
      assert.equal(await read(guard, () => auth), 30);
      await assert.rejects(
        read(guard, () => ({ token: "wrong" })),
        { code: "source-refused", message: /401, error: login/ },
      );
    }
  });

  it("with no token that HTTP cannot carry, such as one with the line end of its file", () => {
    for (const token of ["secret\n", "secret€"]) {
      const { issues } = v.safeParse(fhir.config, {
        url: "https://h",
        search: "P",
        auth: { token },
      });
      assert.match(String(issues?.[0].message), /^expected a token of printable ASCII/);
    }
  });

  it("with client credentials, one token for all requests, another when it is refused", async () => {
    const login = `Basic ${Buffer.from("app%3A1:s%20ecret").toString("base64")}`;
    for (const [uses, tokens] of [
      [1e6, 1],
      [2, 2],
    ] as const) {
      const { intercept, issued } = createIssuer(
        (form, header) =>
          header === login &&
          form.get("grant_type") === "client_credentials" &&
          form.get("scope") === "system/*.rs",
        uses,
      );
      const auth = (origin: string) => ({
        tokenUrl: `${origin}/token`,
        clientId: "app:1",
        clientSecret: "s ecret",
        scope: "system/*.rs",
      });
      assert.equal(await read(intercept, auth), 30);
      assert.equal(issued.length, tokens);
    }
  });

  it("with an assertion signed by its key, as SMART Backend Services wants it", async () => {
    const keys: [string, string, KeyObject][] = [
      [
        "RS384",
        JSON.stringify({ ...rsa.privateKey.export({ format: "jwk" }), kid: "k1" }),
        rsa.publicKey,
      ],
      ["ES384", ec.privateKey.export({ format: "pem", type: "pkcs8" }).toString(), ec.publicKey],
    ];
    for (const [algorithm, key, publicKey] of keys) {
      const seen = new Set<unknown>();
      let origin = "";
      const { intercept } = createIssuer((form) => {
        const { head, claims, signed, signature } = assertionOf(form);
        assert.deepEqual(head, { alg: algorithm, typ: "JWT", kid: "k1" });
        assert.equal(claims["iss"], "app");
        assert.equal(claims["sub"], "app");
        assert.equal(claims["aud"], `${origin}/token`);
        assert.ok(Number(claims["exp"]) <= Date.now() / 1000 + 300);
        seen.add(claims["jti"]);
        assert.equal(
          form.get("client_assertion_type"),
          "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        );
        return verify(
          "sha384",
          Buffer.from(signed),
          {
            key: createPublicKey(publicKey.export({ format: "pem", type: "spki" })),
            dsaEncoding: "ieee-p1363",
          },
          signature,
        );
      }, 2);
      const auth = (at: string) => ({
        tokenUrl: `${(origin = at)}/token`,
        clientId: "app",
        key,
        ...(algorithm === "ES384" && { keyId: "k1" }),
      });
      assert.equal(await read(intercept, auth), 30);
      assert.equal(seen.size, 2);
    }
  });

  it("and says why not without what is secret", async () => {
    const { intercept } = createIssuer(() => false);
    const auth = (origin: string) => ({
      tokenUrl: `${origin}/token`,
      clientId: "app",
      clientSecret: "hidden",
    });
    await assert.rejects(read(intercept, auth), (error) => {
      assert.ok(error instanceof PipelineError);
      assert.equal(error.code, "source-refused");
      assert.match(error.message, /gave no token \(401, invalid_client\)/);
      assert.doesNotMatch(error.message, /secret|hidden/);
      return true;
    });
    const keyless = (origin: string) => ({
      tokenUrl: `${origin}/token`,
      clientId: "app",
      key: "hidden",
    });
    await assert.rejects(read(intercept, keyless), (error) => {
      assert.ok(error instanceof PipelineError);
      assert.equal(error.code, "config-invalid");
      assert.doesNotMatch(error.message, /hidden/);
      return true;
    });
  });

  /** An issuer that gives these answers one after another, the last one for ever. */
  const issuer = (...answers: readonly (readonly [status: number, body: string])[]) => {
    const asked = { times: 0 };
    const intercept: Interceptor = ({ url, headers }, response) => {
      if (url.pathname !== "/token") {
        if (headers.authorization === "Bearer abc") return false;
        sendOutcome(response, 401, "login");
        return true;
      }
      const [status, body] = answers[Math.min(asked.times, answers.length - 1)]!;
      asked.times += 1;
      send(response, status, body, { "content-type": "application/json" });
      return true;
    };
    return { asked, intercept };
  };
  const byIssuer = (origin: string) => ({
    tokenUrl: `${origin}/token`,
    clientId: "app",
    clientSecret: "hidden",
  });

  it("with an issuer that is busy at first, or says nothing of how long a token lasts", async () => {
    const token = '{"access_token":"abc"}';
    const busy = issuer([503, ""], [200, token]);
    assert.equal(await read(busy.intercept, byIssuer), 30);
    assert.equal(busy.asked.times, 2);
    const vague = issuer([200, '{"access_token":"abc","expires_in":"soon"}']);
    assert.equal(await read(vague.intercept, byIssuer), 30);
    assert.equal(vague.asked.times, 1);
  });

  it("no earlier than a busy issuer says", async () => {
    for (const status of [408, 425, 429, 503]) {
      const answer = {
        status,
        header: (name: string) => (name === "retry-after" ? "7" : undefined),
        text: async () => "",
        async *pieces() {},
        drop() {},
      };
      const exchange = { send: async () => answer, close() {} };
      const credentials = createCredentials(byIssuer("https://issuer"), exchange);
      await assert.rejects(credentials.header(new AbortController().signal), (error) => {
        assert.ok(error instanceof TryAgain);
        assert.equal(error.waitMillis, 7000);
        return true;
      });
    }
  });

  it("anew when its token has ended", async () => {
    const brief = issuer([200, '{"access_token":"abc","expires_in":0.01}']);
    const slowly: Interceptor = async (request, response) => {
      if (request.url.pathname !== "/token") await sleep(20);
      return brief.intercept(request, response);
    };
    assert.equal(await read(slowly, byIssuer), 30);
    assert.ok(brief.asked.times > 2, String(brief.asked.times));
  });

  it("with one new token where several requests are refused at once, for a second may end the first", async () => {
    const issued: string[] = [];
    const refused: (() => void)[] = [];
    const rotating: Interceptor = async ({ url, headers }, response) => {
      if (url.pathname === "/token") {
        issued.push(`token-${issued.length + 1}`);
        const text = JSON.stringify({ access_token: issued.at(-1), token_type: "bearer" });
        // Whoever else asks has asked by then.
        await sleep(50);
        send(response, 200, text, { "content-type": "application/json" });
        return true;
      }
      if (headers.authorization === `Bearer ${issued.at(-1)}` && issued.length > 1) return false;
      await new Promise<void>((all) => {
        refused.push(all);
        if (refused.length >= 3) for (const one of refused) one();
      });
      sendOutcome(response, 401, "login");
      return true;
    };
    const lastUpdated = ["2026-01-01T00:10:00Z", "2026-01-01T00:20:00Z"];
    const given = { lastUpdated, parallel: 3, totals: "none" };
    assert.equal(await read(rotating, byIssuer, given), 30);
    assert.equal(issued.length, 2);
  });

  it("with no issuer that answers in words of its own, which stay there", async () => {
    for (const [status, body] of [
      [200, "null"],
      [200, String.raw`{"access_token":"secret\r\nx: y"}`],
      [400, "<html>secret</html>"],
      [400, '{"error":"secret words"}'],
    ] as const)
      await assert.rejects(read(issuer([status, body]).intercept, byIssuer), {
        code: "source-refused",
        message: `the token endpoint gave no token (${status}); check \`auth\``,
      });
  });

  it("with no key of another curve than servers take", async () => {
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const key = privateKey.export({ format: "pem", type: "pkcs8" }).toString();
    const auth = (origin: string) => ({ tokenUrl: `${origin}/token`, clientId: "app", key });
    await assert.rejects(read(issuer([200, "{}"]).intercept, auth), {
      code: "config-invalid",
      message: /expected a JWK or PEM of RSA or of the curve P-384/,
    });
  });
});
