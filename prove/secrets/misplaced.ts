/** Secrets in the places of other things: what people paste wrongly is refused, and not repeated. */
import type { Drafting } from "./drafts.ts";
import type { Scene } from "./scene.ts";
import type { SecretCase } from "./secret-case.ts";

export async function misplaced(
  scene: Scene,
  draft: (name: string, drafting?: Drafting) => Promise<string>,
): Promise<SecretCase[]> {
  const secret = scene.of("misplaced");
  const url = (text: string): Drafting => ({
    source: { postgres: { url: text, query: "select 1" } },
  });
  const drafts: Readonly<Record<string, Drafting>> = {
    "a size": { chunk: secret },
    "a word": { compress: secret },
    "a database address": url("${file:./misplaced}"),
    "a password in an address": url(`postgres://me:${secret}@db/x`),
    "a passphrase": { encrypt: { passphrase: secret } },
    "an identity for a public key": { encrypt: { to: `AGE-SECRET-KEY-1${secret}` } },
    "a public key": { encrypt: { to: `age1${secret.toLowerCase()}` } },
    "a destination": { upload: `s3://me:${secret}@bucket/x` },
    "a bucket": { upload: `s3://${secret}_/x` },
    "a store's address": { upload: { to: "s3://bucket", endpoint: `https://me:${secret}@store` } },
    "a store's secret": { upload: { to: "s3://bucket", secretAccessKey: secret } },
    "a collector": { more: { telemetry: { otlp: "${file:./misplaced}" } } },
    "a port": { more: { telemetry: { prometheus: secret } } },
    "a signing key": { more: { sign: "${file:./misplaced}" } },
    "a reference": { chunk: `\${${secret}}` },
    "an unknown setting": { more: { password: secret } },
    "a number": { upload: { to: "out", concurrency: secret } },
  };
  const broken = await scene.put(
    "syntax.yaml",
    `name: x\nstages:\n  - a: "${secret}" b: ${secret}\n`,
  );
  await draft("node", { more: { telemetry: { sdk: "node" } } });
  const cases: SecretCase[] = [
    { name: "broken YAML", args: ["check", broken, "--json", "--debug"], exit: 2 },
  ];
  for (const [index, [what, drafting]] of Object.entries(drafts).entries()) {
    const path = await draft(`misplaced-${index}`, drafting);
    const verb = /collector|database|signing/.test(what) ? "run" : "check";
    const args = [verb, path, "--json", "--debug"];
    const isFew = what === "a password in an address" ? { isFew: true as const } : {};
    cases.push({ name: `a secret for ${what}`, args, exit: 2, ...isFew });
  }
  return cases;
}
