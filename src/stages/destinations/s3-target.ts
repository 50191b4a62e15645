/**
 * Where and as whom S3 requests go: bucket, prefix, endpoint, region, addressing and credentials, from the URL,
 * the options and the variables every S3 tool reads.
 */
import { PipelineError } from "../../errors.ts";
import type { S3Options } from "./destination.ts";

export interface S3Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
}

export interface S3Target {
  /** Scheme, host and port that requests are sent to. */
  readonly origin: URL;
  /** Path in front of every key: `/bucket` in path style, empty in virtual-host style. */
  readonly basePath: string;
  /** Prefix of every key, ending in `/` unless empty. */
  readonly keyPrefix: string;
  readonly region: string;
  readonly credentials: S3Credentials;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** @throws PipelineError `config-invalid` when credentials are missing or the endpoint is no plain origin. */
export function targetOf(url: URL, options: S3Options, environment: Environment): S3Target {
  const bucket = url.hostname;
  const prefix = decodeURIComponent(url.pathname).replace(/^\/|\/$/g, "");
  const region =
    options.region || environment.AWS_REGION || environment.AWS_DEFAULT_REGION || "us-east-1";
  const given = options.endpoint || environment.AWS_ENDPOINT_URL_S3 || environment.AWS_ENDPOINT_URL;
  const origin = given ? endpointOf(given) : new URL(`https://s3.${region}.${domainOf(region)}`);
  // A dot in the bucket's name would not match the wildcard of the endpoint's certificate.
  const pathStyle = options.pathStyle ?? (given !== undefined || bucket.includes("."));
  if (!pathStyle) putBefore(origin, bucket);
  return {
    origin,
    basePath: pathStyle ? `/${bucket}` : "",
    keyPrefix: prefix === "" ? "" : `${prefix}/`,
    region,
    credentials: credentialsOf(options, environment),
  };
}

/** Amazon's clouds in China and in Europe's own hands have domains of theirs; all others that anybody may use share one. */
function domainOf(region: string): string {
  if (region.startsWith("cn-")) return "amazonaws.com.cn";
  return region.startsWith("eusc-") ? "amazonaws.eu" : "amazonaws.com";
}

/** An address of digits has no names below it: assigned, such a host is left as it was, without a word. */
function putBefore(origin: URL, bucket: string): void {
  const hostname = `${bucket}.${origin.hostname}`;
  origin.hostname = hostname;
  if (origin.hostname === hostname) return;
  throw new PipelineError(
    "config-invalid",
    "the S3 endpoint is an address, which has no host for a bucket; expected a name, or `pathStyle: true`",
  );
}

function endpointOf(text: string): URL {
  const url = URL.parse(text);
  const plain =
    url !== null &&
    (url.protocol === "https:" || url.protocol === "http:") &&
    url.username === "" &&
    url.password === "" &&
    url.pathname === "/" &&
    url.search === "" &&
    url.hash === "";
  if (plain) return url;
  throw new PipelineError(
    "config-invalid",
    "the S3 endpoint is not usable; expected https://host[:port] (or http://) and nothing more",
  );
}

function credentialsOf(options: S3Options, environment: Environment): S3Credentials {
  const fromOptions = options.accessKeyId !== undefined || options.secretAccessKey !== undefined;
  const accessKeyId = fromOptions ? options.accessKeyId : environment.AWS_ACCESS_KEY_ID;
  const secretAccessKey = fromOptions ? options.secretAccessKey : environment.AWS_SECRET_ACCESS_KEY;
  const sessionToken = fromOptions ? options.sessionToken : environment.AWS_SESSION_TOKEN;
  if (!accessKeyId || !secretAccessKey) {
    throw new PipelineError(
      "config-invalid",
      "S3 credentials are missing; expected `accessKeyId` and `secretAccessKey`, or the variables " +
        "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    );
  }
  return { accessKeyId, secretAccessKey, ...(sessionToken ? { sessionToken } : {}) };
}
