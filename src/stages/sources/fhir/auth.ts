/**
 * How a FHIR server knows us: a fixed token, a password, or tokens of its own issuer by client credentials (RFC 6749)
 * or a signed assertion (RFC 7523, as SMART Backend Services profiles it). Secrets leave only towards `url` and `tokenUrl`.
 */
import { createPrivateKey, randomUUID, sign, type KeyObject } from "node:crypto";
import * as v from "valibot";
import { PipelineError } from "../../../errors.ts";
import { secret, text } from "../../atoms.ts";
import { retryAfterMillis, TryAgain } from "../../destinations/retry.ts";
import { type Exchange, type Outgoing, transient } from "./exchange.ts";
import { parseJson } from "./parse-json.ts";

export const httpUrl = v.pipe(
  text,
  v.check(
    (url) => /^https?:\/\//.test(url) && URL.canParse(url) && new URL(url).username === "",
    "expected https://host/path, without a login",
  ),
);

const fields = {
  token: "bearer token",
  user: "user of HTTP basic authentication, with `password`",
  password: "password of `user`",
  clientSecret: "secret of the client, for OAuth 2 client credentials",
  key: "private key of the client, for SMART Backend Services: JWK or PEM, RSA (RS384) or P-384 (ES384)",
};
const by = (field: keyof typeof fields) =>
  v.pipe(v.optional(secret), v.description(`${fields[field]}; by reference only`));
/** What a header may hold of it. */
const isSendable = (token: string): boolean => /^[\x20-\x7e]+$/.test(token);

export const auth = v.pipe(
  v.strictObject({
    token: v.pipe(
      by("token"),
      v.check(
        (token) => token === undefined || isSendable(token),
        "expected a token of printable ASCII (is there a line end behind it?)",
      ),
    ),
    user: v.pipe(v.optional(text), v.description(fields.user)),
    password: by("password"),
    tokenUrl: v.pipe(v.optional(httpUrl), v.description("token endpoint of the server's issuer")),
    clientId: v.pipe(v.optional(text), v.description("what the issuer knows this client by")),
    clientSecret: by("clientSecret"),
    key: by("key"),
    keyId: v.pipe(v.optional(text), v.description("`kid` of `key`; a JWK's own when absent")),
    scope: v.pipe(v.optional(text), v.description("scopes to ask for, such as `system/*.rs`")),
  }),
  v.check(
    (given) => isOneWay(given),
    "expected one of: `token`; `user` with `password`; `tokenUrl` and `clientId` with `clientSecret` or `key`",
  ),
);
export type AuthConfig = v.InferOutput<typeof auth>;

function isOneWay(given: Readonly<Record<string, unknown>>): boolean {
  const has = (...names: string[]) => names.every((name) => given[name] !== undefined);
  const isClient = has("tokenUrl", "clientId");
  const ways = [
    has("token"),
    has("user", "password"),
    isClient && has("clientSecret"),
    isClient && has("key"),
  ];
  const count = Object.values(given).filter((value) => value !== undefined).length;
  return ways.filter(Boolean).length === 1 && (isClient || count === (has("token") ? 1 : 2));
}

export interface Credentials {
  /** Value of the `authorization` header; undefined where nothing is asked for. */
  header(signal: AbortSignal): Promise<string | undefined>;
  /** The server did not take this one. True when another one may be made. */
  forget(header: string | undefined): boolean;
}

export function createCredentials(config: AuthConfig | undefined, exchange: Exchange): Credentials {
  if (config?.tokenUrl === undefined) {
    const header = fixedHeader(config);
    return { header: () => Promise.resolve(header), forget: () => false };
  }
  return issuedCredentials(config, exchange);
}

function fixedHeader(config: AuthConfig | undefined): string | undefined {
  if (config?.token !== undefined) return `Bearer ${config.token}`;
  if (config?.user === undefined) return undefined;
  return `Basic ${Buffer.from(`${config.user}:${config.password}`).toString("base64")}`;
}

/** A token is asked for again so long before it ends. */
const marginMillis = 30_000;
const assertionSeconds = 240;
const usualSeconds = 300;

function issuedCredentials(config: AuthConfig, exchange: Exchange): Credentials {
  const key = config.key === undefined ? undefined : readKey(config.key);
  let current: Promise<{ header: string; until: number }> | undefined;
  /** Undefined while another one is on its way. */
  let last: string | undefined;
  const renew = async (signal: AbortSignal) => {
    last = undefined;
    const { header, seconds } = await askToken(config, key, exchange, signal);
    last = header;
    return { header, until: Date.now() + Math.max(seconds * 1000 - marginMillis, seconds * 500) };
  };
  return {
    async header(signal) {
      // Whoever asks while a token is on its way shares it; a failure is nobody's later token.
      const asked = (current ??= renew(signal).catch((error: unknown) => {
        current = undefined;
        throw error;
      }));
      const { header, until } = await asked;
      if (Date.now() < until) return header;
      if (current === asked) current = undefined;
      return this.header(signal);
    },
    forget(header) {
      // Requests that are refused together ask for one token: an issuer may end it when it gives another.
      if (header === last) current = undefined;
      return true;
    },
  };
}

interface Signer {
  readonly key: KeyObject;
  readonly algorithm: "RS384" | "ES384";
  readonly keyId: string | undefined;
}

function readKey(given: string): Signer {
  try {
    const jwk = given.trimStart().startsWith("{")
      ? (JSON.parse(given) as { kid?: string; alg?: string })
      : undefined;
    const key = createPrivateKey(jwk ? { key: jwk as never, format: "jwk" } : given);
    const { asymmetricKeyType: type, asymmetricKeyDetails: details } = key;
    if (type === "rsa") return { key, algorithm: "RS384", keyId: jwk?.kid };
    if (type === "ec" && details?.namedCurve === "secp384r1")
      return { key, algorithm: "ES384", keyId: jwk?.kid };
  } catch {
    // The parser's own message may quote the key.
  }
  throw new PipelineError(
    "config-invalid",
    "fhir.auth.key: no private key that can sign; expected a JWK or PEM of RSA or of the curve P-384",
  );
}

const mostTokenBytes = 256 * 1024;

async function askToken(
  config: AuthConfig,
  key: Signer | undefined,
  exchange: Exchange,
  signal: AbortSignal,
): Promise<{ header: string; seconds: number }> {
  const answer = await exchange.send(tokenRequest(config, key), signal);
  const body = readJson(await answer.text(mostTokenBytes));
  const token = body["access_token"];
  if (answer.status === 200 && typeof token === "string" && isSendable(token)) {
    const seconds = Number(body["expires_in"] ?? usualSeconds);
    return {
      header: `Bearer ${token}`,
      seconds: seconds > 0 ? seconds : usualSeconds,
    };
  }
  // OAuth's own codes are words; anything else the issuer says stays with it.
  const given = body["error"];
  const code = typeof given === "string" && /^[a-z_]{1,40}$/.test(given) ? `, ${given}` : "";
  const told = `the token endpoint gave no token (${answer.status}${code}); check \`auth\``;
  if (transient.has(answer.status)) {
    const wait = retryAfterMillis(answer.header("retry-after"));
    throw new TryAgain(new PipelineError("source-unreachable", told), wait);
  }
  throw new PipelineError("source-refused", told);
}

function tokenRequest(config: AuthConfig, key: Signer | undefined): Outgoing {
  const { tokenUrl = "", clientId = "", clientSecret = "", scope } = config;
  const form = new URLSearchParams({ grant_type: "client_credentials" });
  if (scope !== undefined) form.set("scope", scope);
  const headers: Record<string, string> = {
    accept: "application/json",
    "content-type": "application/x-www-form-urlencoded",
  };
  if (key) {
    form.set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    form.set("client_assertion", signAssertion(key, { tokenUrl, clientId, keyId: config.keyId }));
  } else {
    const login = [clientId, clientSecret].map(encodeURIComponent).join(":");
    headers["authorization"] = `Basic ${Buffer.from(login).toString("base64")}`;
  }
  return { method: "POST", url: new URL(tokenUrl), headers, body: form.toString() };
}

function signAssertion(
  { key, algorithm, keyId: ownId }: Signer,
  {
    tokenUrl,
    clientId,
    keyId = ownId,
  }: { tokenUrl: string; clientId: string; keyId?: string | undefined },
): string {
  const encode = (part: object) => Buffer.from(JSON.stringify(part)).toString("base64url");
  const exp = Math.floor(Date.now() / 1000) + assertionSeconds;
  const claims = { iss: clientId, sub: clientId, aud: tokenUrl, exp, jti: randomUUID() };
  const signed = `${encode({ alg: algorithm, typ: "JWT", kid: keyId })}.${encode(claims)}`;
  const signature = sign("sha384", Buffer.from(signed), { key, dsaEncoding: "ieee-p1363" });
  return `${signed}.${signature.toString("base64url")}`;
}

function readJson(text: string): Readonly<Record<string, unknown>> {
  const value = parseJson(text);
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}
